"""Records on their way: in order, each once at the centre, and what stands in the way is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from apdu.inprocess import InProcessReaders
from cardlib.client_auth import ClientAuth
from cardlib.terminal_records import RecordBody
from issuance.clock import china_date
from simulators.card import Algorithm
from terminal_agent.centre import CentreRefusedError, CentreUnreachableError
from terminal_agent.hub import Event, EventHub
from terminal_agent.journal import forwarder as forwarder_module
from terminal_agent.journal.desk import JournalDesk
from terminal_agent.journal.forwarder import LONGEST_PAUSE_S, Forwarder
from terminal_agent.journal.store import CLIENT_CHANGED, RESERVE, RecordJournal
from tests.cardlib.driver_stand import INFO, card
from tests.terminal_agent.journal.stand import BookCentre, alarm
from tests.terminal_agent.stand import READER, ScriptedCard, agent_with, readers_with, settings, until
from tests.terminal_agent.test_fall_back import PAY, Office, counter, office, psam  # noqa: F401

LOST = {"kind": "qr_scanner", "port": "/dev/ttyUSB0", "failure": "READER_LOST"}


class Line:
    """A journal, its forwarder and a centre, with short pauses."""

    def __init__(self, folder: Path) -> None:
        self.journal, self.centre, self.hub = RecordJournal(folder), BookCentre(), EventHub()
        self.events = self.hub.subscribe()
        self.forwarder = Forwarder(self.journal, self.centre, self.hub, first_pause_s=0.01, draw=lambda: 1.0)

    def write(self, *names: str) -> None:
        for name in names:
            self.journal.append(alarm(name))

    def taken(self) -> list[str]:
        bodies = [body for journal in self.centre.bodies.values() for body in journal]
        return [RecordBody.from_text(body).payload["port"] for body in bodies]

    async def told(self) -> None:
        await until(lambda: self.journal.standing().waiting == 0)


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    line = Line(tmp_path)
    yield line
    await line.forwarder.stop()
    line.journal.close()


async def test_a_lost_answer_and_a_dead_line(line: Line) -> None:
    """The same records come again, and the pauses grow and end."""
    failing = ["answer", "records", "records", "answer"]

    def mishap(step: str) -> None:
        if failing and failing[0] == step:
            failing.pop(0)
            raise CentreUnreachableError("line cut")

    line.centre.mishap = mishap
    line.write("a", "b")
    line.forwarder.start()
    await line.told()
    assert line.taken() == ["a", "b"]
    assert [len(batch.records) for batch in line.centre.batches] == [2, 2, 2]
    await until(lambda: line.forwarder.state.attempts == 0)
    assert (line.forwarder.state.failure, line.forwarder.state.next_try_at) == (None, None)
    line.write("c")
    await line.told()
    assert line.taken() == ["a", "b", "c"]


async def test_pauses_double_up_to_a_limit_with_jitter(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def until_(event: asyncio.Event, timeout_s: float) -> None:
        pauses.append(timeout_s)
        await asyncio.sleep(0)

    def unreachable(step: str) -> None:
        if len(pauses) < 20:
            raise CentreUnreachableError("no line")

    monkeypatch.setattr("terminal_agent.journal.forwarder.until_set", until_)
    line.forwarder._first_pause_s = 1.0
    line.centre.mishap = unreachable
    line.write("a")
    line.forwarder.start()
    await line.told()
    assert pauses[:4] == [1, 2, 4, 8]
    assert max(pauses[:20]) == LONGEST_PAUSE_S
    await line.forwarder.stop()
    line.forwarder._draw = lambda: 0.0
    await line.forwarder._pause("TIMEOUT", "")
    assert pauses[-1] == 0.5


async def test_what_the_centre_cannot_use_is_set_aside_and_told(line: Line) -> None:
    line.centre.refuses = lambda body: "CONFLICT" if RecordBody.from_text(body).payload["port"][:3] == "bad" else None
    line.write("good", "bad", "after", "bad too")
    line.forwarder.start()
    await line.told()
    assert [(one.sequence, one.failure) for one in line.journal.aside()] == [(4, "CONFLICT"), (2, "CONFLICT")]
    events = [await anext(line.events)]
    line.hub.close()
    events += [event async for event in line.events]
    assert [(event.name, event.data["failure"]) for event in events] == [("journal_alarm", "CONFLICT")], "not one each"


async def test_a_fork_begins_a_new_journal_with_everything(line: Line) -> None:
    def forked(step: str) -> None:
        if step == "records" and len(line.centre.bodies) == 1 and len(line.centre.batches) == 1:
            line.centre.batches.clear()
            raise CentreRefusedError("JOURNAL_FORKED", "record 2 does not follow")

    line.write("a")
    line.forwarder.start()
    await line.told()
    first = line.journal.standing().journal_id
    line.centre.mishap = forked
    line.write("b")
    await until(lambda: len(line.centre.bodies) == 2)
    await line.told()
    standing = line.journal.standing()
    assert (standing.follows, standing.reason, standing.sequence) == (first, "JOURNAL_FORKED", 2)
    assert line.taken() == ["a", "a", "b"], "the centre tells them apart by their keys"


async def test_a_centre_that_was_restored_gets_them_again(line: Line) -> None:
    line.write("a", "b", "c")
    line.forwarder.start()
    await line.told()
    (bodies,) = line.centre.bodies.values()
    del bodies[1:]
    line.write("d")
    await until(lambda: len(bodies) == 4)
    await line.told()
    assert line.taken() == ["a", "b", "c", "d"]


# -- in the agent -----------------------------------------------------------------------------------------------------


@pytest.fixture
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often was tried in vain before: the slower the machine, the longer the pauses would be."""
    monkeypatch.setattr(forwarder_module, "LONGEST_PAUSE_S", 0.2)


@pytest.mark.usefixtures("_short_pauses")
async def test_uses_and_purchases_wait_for_the_centre_and_survive_a_restart(
    office: Office,  # noqa: F811
    tmp_path: Path,
) -> None:
    chip, sam, begun = card(Algorithm.SM4, pin=""), psam(), datetime.now(UTC)
    kept: dict[str, Any] = {"debit_journal": tmp_path / "psam.jsonl", "state_dir": tmp_path / "state"}
    office.lost = "/records"
    async with counter(chip, office, psam=sam, **kept) as at:
        assert (await at("iReadCardBas"))[0] == 0
        assert (await at("iDoDebit", INFO, PAY))[0] == 0
        view = await until(lambda: waiting(at.client, 2))
    assert view["state"] == "waiting"
    assert view["failure"] == "SERVICE_UNREACHABLE"
    assert view["journal"]["kinds"] == {"card_use": 1, "purchase": 1}
    assert datetime.fromisoformat(view["next_try_at"]) > begun
    office.lost, office.unheard = "#", "/records"
    async with counter(chip, office, psam=sam, **kept) as at:
        await until(lambda: waiting(at.client, 2))
        await until(lambda: taken(office, 2))
        office.unheard = "#"
        assert (await at("iDoDebit", INFO, PAY))[0] == 0
        await until(lambda: taken(office, 3))  # its record is written a moment later
        await until(lambda: waiting(at.client, 0))
    report = await of_day(office)
    assert (report["difference"], report["kinds"]) == (0, {"card_use": 1, "purchase": 2})
    (sums,) = report["takings"]
    assert (sums["outcome"], sums["count"], sums["self_paid_fen"], sums["pooling_fen"]) == ("done", 2, 20, 40)


async def waiting(client: Any, count: int) -> dict[str, Any] | None:
    view: dict[str, Any] = (await client.get("/v1/journal")).json()
    standing = view["journal"]
    return view if standing["sequence"] - standing["acknowledged"] == count and view["state"] != "sending" else None


async def taken(office: Office, count: int) -> bool:  # noqa: F811
    report = await of_day(office)
    return sum(report["kinds"].values()) == count


async def of_day(office: Office) -> dict[str, Any]:  # noqa: F811
    transport = httpx.ASGITransport(office.app)
    path = f"/v1/terminals/{office.key.client_id}/reconciliation"
    async with httpx.AsyncClient(transport=transport, base_url="http://centre", auth=ClientAuth(office.key)) as http:
        answer = await http.get(path, params={"day": china_date(datetime.now(UTC)).isoformat()})
        assert answer.status_code == 200, answer.text
        report: dict[str, Any] = answer.json()
        return report


@pytest.mark.usefixtures("_short_pauses")
async def test_a_full_journal_stops_purchases_then_reads(office: Office, tmp_path: Path) -> None:  # noqa: F811
    chip = card(Algorithm.SM4, pin="")
    kept = {"debit_journal": tmp_path / "psam.jsonl", "state_dir": tmp_path / "state"}
    office.lost = "/records"
    async with counter(chip, office, psam=psam(), journal_rows=10, **kept) as at:
        for _ in range(9):
            assert (await at("iReadCardBas"))[0] == 0
        refusal = await at("iDoDebit", INFO, PAY)
        assert "记不下" in refusal[1], "before any money moved"
        assert await at.settlements() == []
        view = (await at.client.get("/v1/journal")).json()
        assert (view["state"], view["failure"]) == ("full", "JOURNAL_FULL")
        assert (await at("iReadCardBas"))[0] == 0
        assert "记不下" in (await at("iReadCardBas"))[1]
        (tmp_path / "state" / RESERVE).unlink()
        office.lost = "#"
        await until(lambda: waiting(at.client, 0))
        assert (await at("iDoDebit", INFO, PAY))[0] == 0


async def test_sessions_and_devices_are_journalled(tmp_path: Path) -> None:
    centre = BookCentre()
    async with agent_with(readers_with(ScriptedCard()), centre, state_dir=tmp_path) as client:
        body = {"reader": READER, "kind": "initialization", "region": "110000"}
        assert (await client.post("/v1/card-sessions", json=body)).status_code == 202
        await until(lambda: centre.bodies)
    ((text,),) = centre.bodies.values()
    body_ = RecordBody.from_text(text)
    assert (body_.kind, body_.payload["session_kind"], body_.payload["state"]) == (
        "issue_result",
        "initialization",
        "done",
    )
    journal = RecordJournal(tmp_path, client="t-another")
    assert journal.standing().reason == CLIENT_CHANGED, "it was begun as the centre's client"
    journal.close()


async def test_a_device_that_comes_and_goes_takes_no_room_from_cards(tmp_path: Path) -> None:
    journal, centre, event = RecordJournal(tmp_path), BookCentre(), Event("1", "device_lost", dict(LOST))
    for number in range(6):
        journal.append(alarm(str(number)))
    desk = JournalDesk(settings(state_dir=tmp_path, journal_rows=10), EventHub(), centre)
    desk._note(event)
    assert journal.standing().sequence == 6
    journal.acknowledge(3)
    desk._note(event)
    desk._note(Event("2", "device_lost", LOST | {"kind": "No Such Word"}))
    assert journal.standing().sequence == 7
    journal.close()
    await desk.stop()


async def test_without_a_folder_or_a_centre_nothing_is_kept(tmp_path: Path) -> None:
    for centre, folder in ((None, tmp_path), (BookCentre(), None)):
        async with agent_with(InProcessReaders([READER]), centre, state_dir=folder) as client:
            view = (await client.get("/v1/journal")).json()
            assert (view["state"], view["journal"]) == ("none", None)
    assert not (tmp_path / "journal.sqlite").exists()
