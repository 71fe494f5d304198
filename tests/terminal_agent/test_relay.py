"""A remote card session: commands exactly as given, one request repeated after a network failure, the same card
awaited after it left."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import httpx
import pytest

from apdu.channel import TRAFFIC
from apdu.inprocess import InProcessReaders
from cardlib.wire import BatchCommand, SessionOutcome
from terminal_agent import relay
from terminal_agent.centre import CentreRefusedError, CentreUnreachableError
from tests.terminal_agent.stand import (
    APPLICATION,
    ATR,
    OTHER_ATR,
    READER,
    SESSION,
    ScriptedCard,
    ScriptedCentre,
    agent_with,
    readers_with,
    until,
)

SELECT = BatchCommand(apdu="00A4000002EF05")
CHALLENGE = BatchCommand(apdu="0084000008")
WRITE = BatchCommand(apdu="04DC022C0411223344", is_secret=True)
ORDER = {"reader": READER, "kind": "personalization", "application_id": APPLICATION}


async def started(client: httpx.AsyncClient, **changes: Any) -> str:
    answer = await client.post("/v1/card-sessions", json=ORDER | changes)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    assert answer.headers["location"] == f"/v1/card-sessions/{job_id}"
    return job_id


async def job_in(client: httpx.AsyncClient, job_id: str, *states: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        view: dict[str, Any] = (await client.get(f"/v1/card-sessions/{job_id}")).json()
        return view if view["state"] in states else None

    found: dict[str, Any] = await until(look)
    return found


async def test_batches_reach_the_card_unchanged_and_responses_the_centre() -> None:
    card = ScriptedCard(
        answer=lambda command: bytes.fromhex("0102030405060708 9000") if command[1] == 0x84 else b"\x90\x00"
    )
    centre = ScriptedCentre([SELECT, CHALLENGE], [WRITE])
    async with agent_with(readers_with(card), centre) as client:
        done = await job_in(client, await started(client), "done", "failed")
    assert done["state"] == "done", done
    assert [command.hex().upper() for command in card.seen] == [SELECT.apdu, CHALLENGE.apdu, WRITE.apdu]
    assert centre.starts[0].atr == ATR.hex().upper()
    assert [(a.sequence, a.responses) for a in centre.answers] == [
        (1, ("9000", "01020304050607089000")),
        (2, ("9000",)),
    ]
    assert (done["apdus"], done["bytes_sent"], done["bytes_received"]) == (3, 7 + 5 + 9, 2 + 10 + 2)
    assert (done["network_round_trips"], done["sessions"], done["step"], done["steps"]) == (3, 1, 2, 2)
    assert done["result"] == {"card": "A0000****"}
    assert centre.is_closed


async def test_batch_ends_at_the_first_unexpected_status() -> None:
    card = ScriptedCard(answer=lambda command: b"\x69\x82" if command[1] == 0x84 else b"\x90\x00")
    centre = ScriptedCentre([SELECT, CHALLENGE, WRITE])
    async with agent_with(readers_with(card), centre) as client:
        await job_in(client, await started(client), "done")
    assert centre.answers[0].responses == ("9000", "6982")
    assert len(card.seen) == 2


async def test_expected_refusal_goes_on_and_61xx_is_followed_for_commands_with_le() -> None:
    answers = {0xA4: "6A82", 0xB0: "6104", 0xC0: "AABBCCDD9000", 0xDC: "6108"}
    card = ScriptedCard(answer=lambda command: bytes.fromhex(answers[command[1]]))
    missing = BatchCommand(apdu="00A4000002EF05", expect=("6A82",))
    read = BatchCommand(apdu="00B0950004")
    centre = ScriptedCentre([missing, read, WRITE])
    async with agent_with(readers_with(card), centre) as client:
        done = await job_in(client, await started(client), "done")
    assert centre.answers[0].responses == ("6A82", "AABBCCDD9000", "6108")
    assert done["apdus"] == 4


async def test_failed_outcome_names_failure_and_remedy() -> None:
    outcome = SessionOutcome(session_id=SESSION, status="failed", failure="CARD_STATE", detail="not a blank")
    async with agent_with(readers_with(ScriptedCard()), ScriptedCentre(outcome=outcome)) as client:
        failed = await job_in(client, await started(client), "failed")
    assert failed["failure"]["code"] == "CARD_STATE"
    assert failed["failure"]["remedy_zh"]
    assert failed["failure"]["remedy_en"]


async def test_network_failure_repeats_the_same_request() -> None:
    card, centre = ScriptedCard(), ScriptedCentre([SELECT], [CHALLENGE])
    failures = iter(["start", "answer"])
    pending = next(failures, None)

    def mishap(step: str) -> None:
        nonlocal pending
        if step == pending:
            pending = next(failures, None)
            raise CentreUnreachableError("cable out")

    centre.mishap = mishap
    async with agent_with(readers_with(card), centre) as client:
        done = await job_in(client, await started(client), "done")
    assert len(card.seen) == 2  # no command went to the card twice
    assert done["network_round_trips"] == 3 + 2
    assert len(centre.starts) == 1


async def test_network_that_stays_down_fails_with_its_code() -> None:
    centre = ScriptedCentre([SELECT])

    def mishap(step: str) -> None:
        raise CentreUnreachableError("cable out")

    centre.mishap = mishap
    async with agent_with(readers_with(ScriptedCard()), centre, network_deadline_s=0.1) as client:
        failed = await job_in(client, await started(client), "failed")
    assert failed["failure"]["code"] == "SERVICE_UNREACHABLE"


async def test_refusal_by_the_centre_is_final() -> None:
    centre = ScriptedCentre([SELECT])

    def mishap(step: str) -> None:
        raise CentreRefusedError("BLANK_UNKNOWN", "not in stock")

    centre.mishap = mishap
    async with agent_with(readers_with(ScriptedCard()), centre) as client:
        failed = await job_in(client, await started(client), "failed")
    assert (failed["failure"]["code"], failed["detail"]) == ("BLANK_UNKNOWN", "not in stock")


@pytest.mark.parametrize("leave_after", [1, 2, 3])
async def test_pulled_card_is_awaited_and_the_session_begun_anew(
    leave_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PROBE_S", 60.0)  # however late the monitor sees that the card has gone
    card = ScriptedCard()
    card.leave_after = leave_after
    readers, centre = readers_with(card), ScriptedCentre([SELECT, CHALLENGE], [WRITE])
    async with agent_with(readers, centre) as client:
        job_id = await started(client)
        waiting = await job_in(client, job_id, "awaiting_card")
        assert "同一张卡" in waiting["text_zh"]
        readers.insert(READER, ScriptedCard(OTHER_ATR))
        await until(lambda: _says(client, job_id, "不是刚才那张卡"))
        readers.remove(READER)
        readers.insert(READER, card)
        done = await job_in(client, job_id, "done", "failed")
    assert done["state"] == "done", done
    assert len(centre.starts) == 2
    assert (done["sessions"], done["apdus"]) == (2, leave_after + 3)
    assert {start.atr for start in centre.starts} == {ATR.hex().upper()}


async def _says(client: httpx.AsyncClient, job_id: str, words: str) -> bool:
    return words in (await client.get(f"/v1/card-sessions/{job_id}")).json()["text_zh"]


async def test_card_swapped_in_an_instant_is_noticed() -> None:
    readers, centre = InProcessReaders([READER]), ScriptedCentre([SELECT])
    card = ScriptedCard()
    swapped = False

    def answer(command: bytes) -> bytes:
        nonlocal swapped
        if not swapped:
            swapped = True
            readers.remove(READER)
            readers.insert(READER, card)
        return b"\x90\x00"

    card.answer = answer
    readers.insert(READER, card)
    async with agent_with(readers, centre) as client:
        done = await job_in(client, await started(client), "done", "failed")
    assert (done["state"], done["sessions"]) == ("done", 2)


async def test_card_that_never_comes_back_ends_the_job() -> None:
    card = ScriptedCard()
    card.leave_after = 1
    async with agent_with(readers_with(card), ScriptedCentre([SELECT]), wait_for_card_s=0.1) as client:
        failed = await job_in(client, await started(client), "failed")
        assert failed["failure"]["code"] == "CARD_REMOVED"

        async def is_empty() -> bool:
            return bool((await client.get("/v1/readers")).json()[0]["state"] == "EMPTY")

        await until(is_empty)


async def test_frozen_card_is_a_timeout() -> None:
    card = ScriptedCard()
    gate = threading.Event()
    card.answer = lambda command: (gate.wait(60), b"\x90\x00")[1]
    async with agent_with(readers_with(card), ScriptedCentre([SELECT]), batch_timeout_s=0.1) as client:
        failed = await job_in(client, await started(client), "failed")
        gate.set()
    assert failed["failure"]["code"] == "TIMEOUT"


class SlowCard(ScriptedCard):
    """Keeps each command until `gate` opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.has_begun = threading.Event(), threading.Event()

    def transmit(self, command: bytes) -> bytes:
        self.has_begun.set()
        self.gate.wait(60)
        return super().transmit(command)


@pytest.mark.parametrize("leave_after", [None, 2])
async def test_cancelled_is_said_when_the_batch_on_the_card_has_ended(leave_after: int | None) -> None:
    card, centre = SlowCard(), ScriptedCentre([SELECT, CHALLENGE], [WRITE])
    card.leave_after = leave_after  # a card that leaves meanwhile is not waited for
    async with agent_with(readers_with(card), centre) as client:
        job_id = await started(client)
        await until(card.has_begun.is_set)
        cancels = [asyncio.create_task(client.delete(f"/v1/card-sessions/{job_id}")) for _ in range(2)]
        await until(lambda: _says(client, job_id, "正在停止"))
        assert (await client.get("/v1/readers")).json()[0]["state"] == "IN_USE"
        assert not any(cancel.done() for cancel in cancels)
        card.gate.set()
        assert [(await cancel).json()["state"] for cancel in cancels] == ["cancelled", "cancelled"]
        assert len(card.seen) == 2
        await asyncio.sleep(0.05)
    assert len(card.seen) == 2
    assert centre.answers == []


async def test_a_job_given_up_sends_nothing_more_to_a_card_that_thaws() -> None:
    card = SlowCard()
    async with agent_with(readers_with(card), ScriptedCentre([SELECT, WRITE]), batch_timeout_s=1) as client:
        job_id = await started(client)
        await until(card.has_begun.is_set)
        ended = (await client.delete(f"/v1/card-sessions/{job_id}")).json()
        assert (ended["state"], ended["failure"]["code"]) == ("failed", "TIMEOUT")
        card.gate.set()
        await until(lambda: card.seen)
        await asyncio.sleep(0.05)
    assert [command.hex().upper() for command in card.seen] == [SELECT.apdu]


async def test_one_session_per_reader_and_reads_are_told_so() -> None:
    gate = asyncio.Event()
    centre = ScriptedCentre([SELECT])
    begin = centre.start

    async def slow(request: Any) -> Any:
        await gate.wait()
        return await begin(request)

    centre.start = slow  # type: ignore[method-assign]
    async with agent_with(readers_with(ScriptedCard()), centre) as client:
        job_id = await started(client)
        second = await client.post("/v1/card-sessions", json=ORDER)
        read = await client.post(f"/v1/readers/{READER}/basic-information", json={})
        assert [second.json()["code"], read.json()["code"]] == ["CARD_BUSY", "CARD_BUSY"]
        assert (await client.get("/v1/readers")).json()[0]["state"] == "IN_USE"
        assert (await client.get("/v1/info")).json()["jobs"] == [job_id]
        gate.set()
        await job_in(client, job_id, "done")
        assert (await client.get("/v1/readers")).json()[0]["state"] == "AWAIT_REMOVAL"


async def test_cancelled_session_frees_reader_and_card() -> None:
    centre = ScriptedCentre([SELECT])

    async def never(request: Any) -> Any:
        await asyncio.Event().wait()

    centre.start = never  # type: ignore[method-assign]
    readers = readers_with(ScriptedCard())
    async with agent_with(readers, centre) as client:
        job_id = await started(client)
        await asyncio.sleep(0.05)
        cancelled = (await client.delete(f"/v1/card-sessions/{job_id}")).json()
        assert cancelled["state"] == "cancelled"
        assert (await client.delete(f"/v1/card-sessions/{job_id}")).json()["state"] == "cancelled"
        centre.start = ScriptedCentre([]).start  # type: ignore[method-assign]
        await job_in(client, await started(client), "done")


async def test_an_agent_that_stops_waits_for_a_slow_card_a_little_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terminal_agent.jobs.STOP_WAIT_S", 0.1)
    card, centre = SlowCard(), ScriptedCentre([SELECT, WRITE])
    async with agent_with(readers_with(card), centre, batch_timeout_s=60) as client:
        await started(client)
        await until(card.has_begun.is_set)
        begun = time.monotonic()
    assert time.monotonic() - begun < 30
    card.gate.set()
    await until(lambda: card.seen)
    await asyncio.sleep(0.05)
    assert len(card.seen) == 1
    assert centre.is_closed


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ({"reader": "Nowhere"}, 404, "READER_NOT_FOUND"),
        ({"kind": "personalization", "application_id": None}, 422, "INPUT_INVALID"),
        ({"application_id": "../x"}, 422, "INPUT_INVALID"),
        ({"kind": "initialization"}, 422, "INPUT_INVALID"),
        ({"kind": "initialization", "region": "11010"}, 422, "INPUT_INVALID"),
        ({"generation": "4.0"}, 422, "INPUT_INVALID"),
        ({"surprise": 1}, 422, "INPUT_INVALID"),
    ],
)
async def test_wrong_orders(order: dict[str, Any], status: int, code: str) -> None:
    async with agent_with(readers_with(ScriptedCard()), ScriptedCentre([SELECT])) as client:
        answer = await client.post("/v1/card-sessions", json=ORDER | order)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_no_card_no_centre_no_job() -> None:
    async with agent_with(readers_with(), ScriptedCentre([SELECT])) as client:
        assert (await client.post("/v1/card-sessions", json=ORDER)).json()["code"] == "CARD_ABSENT"
        assert (await client.get("/v1/card-sessions/none")).json()["code"] == "NOT_FOUND"
    async with agent_with(readers_with(ScriptedCard())) as client:
        assert (await client.post("/v1/card-sessions", json=ORDER)).json()["code"] == "SERVICE_UNREACHABLE"


async def test_secret_commands_appear_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    secret = "5EC2E75EC2E75EC2"
    hidden = BatchCommand(apdu="80D4000008" + secret, is_secret=True)
    with caplog.at_level(TRAFFIC):
        async with agent_with(readers_with(ScriptedCard()), ScriptedCentre([SELECT, hidden])) as client:
            await job_in(client, await started(client), "done")
    text = caplog.text.replace(" ", "").upper()
    assert "00A40000" in text
    assert secret[:6] not in text
    assert "80D40000" not in text
