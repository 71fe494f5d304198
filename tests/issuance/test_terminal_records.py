"""What terminals kept: each record once, whatever comes twice, late, in another order, or was tampered with."""

from __future__ import annotations

import asyncio
import itertools
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardlib.client_auth import ClientKey
from cardlib.terminal_records import (
    CardUse,
    DeviceAlarm,
    IssueResult,
    Payload,
    PurchaseRecord,
    RecordBatch,
    RecordBody,
    RecordInvalidError,
    SentRecord,
    chained,
    genesis,
    head_text,
)
from issuance.privacy.retention import forget
from terminal_agent.journal.forwarder import signed_batch
from terminal_agent.journal.store import RecordJournal
from tests.issuance.conftest import REGION, START, Centre, both_engines, ok, refused

DAY = "2026-01-05"
OTHERS = CardUse(act="read", identification_code="99" * 16, card_number="X00000001")
ALARM = DeviceAlarm(device="qr_scanner", port="/dev/ttyUSB0", state="lost", failure="READER_LOST")
RESULT = IssueResult(
    job="IygZHI4PQjlZJhfk", session_kind="personalization", state="failed", sessions=2, failure="TIMEOUT"
)


def purchase(number: int, fen: int = 100, **change: Any) -> PurchaseRecord:
    facts = {"identification_code": "99" * 16, "card_number": "X00000001", "terminal": "990100000001"}
    sums = {"account_fen": 0, "self_paid_fen": fen, "pooling_fen": 1, "outcome": "done", "tac": "5E6F7081"}
    return PurchaseRecord.model_validate(
        facts | sums | {"number": f"{number:08X}", "time": f"202601050900{number:02d}"} | change
    )


class Terminal:
    """A terminal's real journal; what it sends is under the test's hand."""

    def __init__(self, centre: Centre, folder: Path, name: str = "terminal") -> None:
        self.centre, self.name = centre, name
        self.journal = RecordJournal(folder, clock=centre.clock)

    def write(self, *payloads: Payload) -> list[int]:
        return [self.journal.append(payload) for payload in payloads]

    def batch(self, most: int = 200) -> RecordBatch:
        batch = signed_batch(self.journal, self.journal.batch(most), self.key.sign)
        return batch.model_copy(update={"sent_at": self.centre.clock()})

    @property
    def key(self) -> ClientKey:
        return self.centre.client_keys[self.name]

    async def post(self, batch: RecordBatch) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        content = batch.model_dump_json(exclude_none=True)
        return await self.centre.as_(self.name).post("/v1/terminals/records", content=content, headers=headers)

    async def send(self, batch: RecordBatch | None = None) -> dict[str, Any]:
        """Sends, and takes the answer in as the agent does."""
        taken: dict[str, Any] = ok(await self.post(batch or self.batch()))
        self.journal.acknowledge(taken["acknowledged"])
        return taken

    async def report(self, day: str = DAY) -> dict[str, Any]:
        path = f"/v1/terminals/{self.name}/reconciliation"
        report: dict[str, Any] = ok(await self.centre.as_("operator").get(path, params={"day": day}))
        return report


@pytest.fixture
def terminal(centre: Centre, tmp_path: Path) -> Terminal:
    return Terminal(centre, tmp_path / "state")


@both_engines
async def test_every_kind_is_taken_once_and_handed_on(terminal: Terminal) -> None:
    centre = terminal.centre
    await centre.stock()
    card = await centre.issue(1)
    code = centre.store.sql("SELECT identification_code FROM cards")[0][0]
    ours = CardUse(act="read", identification_code=code, card_number=card["card_number"])
    terminal.write(ours, OTHERS, purchase(1, 250), purchase(2, outcome="void", tac=None), ALARM, RESULT)
    batch = terminal.batch()
    assert await terminal.send(batch) == {"journal_id": batch.journal_id, "acknowledged": 6, "refused": []}
    again = ok(await terminal.post(batch))  # the answer was lost
    assert again["acknowledged"] == 6
    late = [_body("device_alarm", ALARM.model_dump()), _body("purchase", purchase(3, outcome="void").model_dump())]
    copies = [_sealed(terminal, late, journal_id=mark * 16) for mark in ("a1", "a2")]  # two disks with the same key
    answers = await asyncio.gather(*(terminal.post(copy) for copy in copies * 2))
    assert [(ok(answer)["acknowledged"], ok(answer)["refused"]) for answer in answers] == [(2, [])] * 4
    report = await terminal.report()
    assert report["kinds"] == {"card_use": 2, "device_alarm": 2, "issue_result": 1, "purchase": 3}
    assert (report["difference"], report["repeated"], report["refused"]) == (0, 2, [])
    assert report["takings"][0] == {
        "outcome": "done",
        "count": 1,
        "account_fen": 0,
        "self_paid_fen": 250,
        "pooling_fen": 1,
    }
    journal = next(one for one in report["journals"] if one["journal_id"] == batch.journal_id)
    assert (journal["first"], journal["last"], journal["missing"], journal["is_whole"]) == (1, 6, 0, True)
    order = {"subject": f"card:{card['card_number']}", "reason": "holder asks at the counter"}
    file = ok(await centre.as_("operator").post("/v1/person-files", json=order))
    assert [(use["way"], use["act"], use["by"]) for use in file["uses"]] == [("terminal", "read", "terminal")]
    (seen,) = ok(await centre.as_("operator").get("/v1/terminals"))
    assert (seen["records"], seen["outstanding"], seen["refused"], seen["clock_error_s"]) == (10, 0, 0, 0)


async def test_late_early_and_overlapping_batches(terminal: Terminal) -> None:
    terminal.write(*[ALARM] * 6)
    first, whole = terminal.batch(3), terminal.batch()
    early = whole.model_copy(update={"records": whole.records[4:]})
    early = early.model_copy(update={"signature": whole.signature})
    for _ in range(2):  # a journal that is not known, and one whose middle is missing
        assert ok(await terminal.post(early))["acknowledged"] in (0, 3)
        await terminal.send(first)
    ok(await terminal.post(_sealed(terminal, [_body("device_alarm", ALARM.model_dump())])))
    assert (await terminal.report())["difference"] == 3, (
        "it said that it has six, and its other journal has none of them"
    )
    (seen,) = ok(await terminal.centre.as_("operator").get("/v1/terminals"))
    assert (seen["journals"], seen["outstanding"]) == (2, 3)
    assert (await terminal.send(whole))["acknowledged"] == 6
    assert ok(await terminal.post(first))["acknowledged"] == 6
    assert (await terminal.report())["difference"] == 0
    assert terminal.centre.store.sql("SELECT count(*) FROM terminal_records") == [(7,)]


async def test_what_cannot_be_used_does_not_block_the_rest(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.write(purchase(1), purchase(1), ALARM)
    assert [one["failure"] for one in (await terminal.send())["refused"]] == ["CONFLICT"]
    named = _body("purchase", {"Zhang San": 1} | purchase(9).model_dump())
    bad = _sealed(terminal, ['{"kind":"parking"}', "not json", _body("parking", {}), named])
    answer = await terminal.post(bad)
    assert [(one["sequence"], one["failure"]) for one in ok(answer)["refused"]] == [
        (sequence, "INPUT_INVALID") for sequence in (1, 2, 3, 4)
    ]
    assert ok(await terminal.post(bad))["refused"] == ok(answer)["refused"]
    report = await terminal.report()
    assert (report["difference"], len(report["refused"])) == (5, 5)
    assert {"no kind parking", "purchase: payload"} < {one["detail"] for one in report["refused"]}, "no names"
    monkeypatch.setattr("issuance.terminals.repository.MOST_REFUSED", 2)
    report = await terminal.report()
    assert (report["difference"], len(report["refused"])) == (5, 2)


async def test_a_journal_begun_anew_doubles_nothing(terminal: Terminal) -> None:
    """Restored from a copy: the same sequences with other records. The centre says so, and the keys tell the rest."""
    terminal.write(purchase(1), ALARM)
    await terminal.send()
    terminal.write(purchase(2))
    kept = terminal.batch()
    forked = _sealed(terminal, [_body("device_alarm", ALARM.model_dump())] * 3, journal_id=kept.journal_id)
    refused(await terminal.post(forked), "JOURNAL_FORKED", 409)
    terminal.journal.renew("JOURNAL_FORKED")
    taken = await terminal.send()
    assert (taken["acknowledged"], taken["refused"]) == (3, [])
    assert taken["journal_id"] != kept.journal_id
    report = await terminal.report()
    assert (report["difference"], report["repeated"]) == (0, 2)
    assert report["takings"][0]["count"] == 2
    assert {journal["reason"] for journal in report["journals"]} == {None, "JOURNAL_FORKED"}
    told = RecordBody.from_text(kept.records[0].body)
    later = told.model_copy(update={"at": told.at + timedelta(hours=1), "boot": "d4" * 16})  # its journal was lost
    other = told.model_copy(update={"payload": purchase(2, 999).model_dump()})
    answer = ok(await terminal.post(_sealed(terminal, [later.to_text(), other.to_text()])))
    assert [(one["sequence"], one["failure"]) for one in answer["refused"]] == [(2, "CONFLICT")]
    assert (await terminal.report())["takings"] == report["takings"]


async def test_what_a_damaged_journal_could_not_take_along_is_missing(terminal: Terminal) -> None:
    terminal.write(*[ALARM] * 6)
    await terminal.send(terminal.batch(3))
    old = terminal.batch()
    terminal.centre.clock.advance(1)
    anew = _sealed(terminal, [_body("device_alarm", ALARM.model_dump())])
    anew = anew.model_copy(update={"follows": old.journal_id, "reason": "JOURNAL_DAMAGED", "carried": ((1, 2), (5, 5))})
    await terminal.post(anew)
    first, second = (await terminal.report())["journals"]
    assert (first["missing"], first["outstanding"], second["missing"]) == (2, 0, 0), "4 and 6"
    (seen,) = ok(await terminal.centre.as_("operator").get("/v1/terminals"))
    assert ((await terminal.report())["difference"], seen["outstanding"]) == (2, 2)
    sql = terminal.centre.store.sql
    for carried, follows, missing in (
        ("[[1, 6]]", old.journal_id, 0),
        ("[[1, 3], [8, 9]]", old.journal_id, 4),
        ("[]", old.journal_id, 3),
        ("[[8, 9]]", None, 3),  # nobody can tell that it had more than it said
        ("null", old.journal_id, 0),
    ):
        change = "UPDATE terminal_journals SET carried = :carried, follows = :follows WHERE id = :id"
        sql(change, carried=carried, follows=follows, id=anew.journal_id)
        assert (await terminal.report())["difference"] == missing, carried
    sql("UPDATE terminal_journals SET carried = '[]' WHERE id = :id", id=anew.journal_id)
    await terminal.post(old)  # it was only late
    assert (await terminal.report())["difference"] == 0
    wrong = anew.model_copy(update={"carried": ((5, 5), (1, 2))})
    refused(await terminal.post(wrong), "INPUT_INVALID", 422)


async def test_a_terminal_registered_anew(terminal: Terminal, tmp_path: Path) -> None:
    centre = terminal.centre
    await centre.register("anew", ("terminal",), REGION)
    terminal.journal = RecordJournal(tmp_path / "state", clock=centre.clock, client="terminal")
    terminal.write(ALARM, ALARM, purchase(1))
    ok(await terminal.post(terminal.batch(2)))  # the answer was lost
    old = terminal.batch()
    terminal.journal.close()
    again = Terminal(centre, tmp_path / "state", "anew")
    again.journal.close()
    again.journal = RecordJournal(tmp_path / "state", clock=centre.clock, client="anew")
    again.write(purchase(2))
    assert (await again.send())["refused"] == []
    report = await again.report()
    assert (report["difference"], report["repeated"], report["kinds"]) == (0, 2, {"purchase": 2})
    assert report["journals"][0]["follows"] == old.journal_id
    assert (await terminal.report())["difference"] == 1, "the old registration is still in use"
    centre.store.sql("UPDATE clients SET status = 'suspended' WHERE id = 'terminal'")
    assert (await terminal.report())["difference"] == 0


async def test_nobody_else_and_nothing_changed(terminal: Terminal, tmp_path: Path) -> None:
    centre = terminal.centre
    await centre.register("thief", ("terminal",), REGION)
    terminal.write(ALARM, purchase(1))
    batch = terminal.batch()
    changed = batch.records[1].model_copy(update={"body": batch.records[1].body.replace("100", "900")})
    tampered = batch.model_copy(update={"records": (batch.records[0], changed)})
    refused(await terminal.post(tampered), "JOURNAL_FORKED", 409)
    unsigned = batch.model_copy(update={"signature": "00" * 64})
    refused(await terminal.post(unsigned), "CLIENT_FORBIDDEN", 403)
    for told in (1, 2**53 + 1):  # else it could count down what is refused
        refused(await terminal.post(batch.model_copy(update={"told": told})), "INPUT_INVALID", 422)
    gap = batch.model_dump(mode="json") | {"records": [record.model_dump() for record in batch.records[::-1]]}
    refused(await centre.as_("terminal").post("/v1/terminals/records", json=gap), "INPUT_INVALID", 422)
    await terminal.send(batch)
    stolen = Terminal(centre, tmp_path / "state", "thief")
    terminal.journal.acknowledge(0)
    refused(await stolen.post(stolen.batch()), "CLIENT_FORBIDDEN", 403)
    for who, code, status in (("operator", "CLIENT_FORBIDDEN", 403), ("wallet", "CLIENT_FORBIDDEN", 403)):
        terminal.name = who
        refused(await terminal.post(terminal.batch()), code, status)
    assert centre.store.sql("SELECT count(*) FROM terminal_records") == [(2,)]


async def test_books_that_were_changed_are_found_out(terminal: Terminal) -> None:
    terminal.write(*[purchase(number) for number in (1, 2, 3, 4)])
    await terminal.send()
    sql = terminal.centre.store.sql
    sql("UPDATE terminal_records SET body = replace(body, '100', '900') WHERE sequence = 2")
    report = await terminal.report()
    assert (report["journals"][0]["is_whole"], report["difference"]) == (False, 1)
    sql("DELETE FROM terminal_records WHERE sequence = 4")
    report = await terminal.report()
    assert (report["journals"][0]["missing"], report["difference"]) == (1, 2)
    terminal.write(purchase(5))
    assert (await terminal.send())["acknowledged"] == 5, "what is new goes on from the head"
    sql("DELETE FROM terminal_records WHERE sequence = 2")
    terminal.journal.acknowledge(2)
    refused(await terminal.post(terminal.batch()), "JOURNAL_FORKED", 409)


async def test_regions(terminal: Terminal, tmp_path: Path) -> None:
    centre = terminal.centre
    for name, region in (("hebei", "130000"), ("beijing", REGION)):
        await centre.register(name, ("operator",), region)
    await centre.register("kiosk", ("terminal",), REGION)
    kiosk = Terminal(centre, tmp_path / "kiosk", "kiosk")
    kiosk.write(ALARM)
    await kiosk.send()
    assert [row["terminal"] for row in ok(await centre.as_("beijing").get("/v1/terminals"))] == ["kiosk"]
    assert ok(await centre.as_("hebei").get("/v1/terminals")) == []
    path, query = "/v1/terminals/kiosk/reconciliation", {"day": DAY}
    assert ok(await centre.as_("kiosk").get(path, params=query))["kinds"] == {"device_alarm": 1}
    refused(await centre.as_("hebei").get(path, params=query), "NOT_FOUND", 404)
    refused(await centre.as_("terminal").get(path, params=query), "NOT_FOUND", 404)


@pytest.mark.parametrize(
    ("clock_ahead", "is_same_start", "wanted"),
    [
        (timedelta(0), True, DAY),
        (timedelta(days=400), True, DAY),  # whatever the clock says, the computer counted the seconds
        (timedelta(days=-400), True, DAY),
        (timedelta(days=400), False, DAY),  # a clock is not believed about the future
        (timedelta(days=-2), False, "2026-01-03"),
        (timedelta(days=-735_000), False, "1970-01-01"),  # nor about times before there were any
    ],
)
async def test_clocks(terminal: Terminal, clock_ahead: timedelta, is_same_start: bool, wanted: str) -> None:
    own = RecordBody.of(ALARM, key="ab" * 16, at=START + clock_ahead, boot="cd" * 16, up_ms=1000).to_text()
    batch = _sealed(terminal, [own], up_ms=61_000, boot=("cd" if is_same_start else "ef") * 16)
    ok(await terminal.post(batch.model_copy(update={"sent_at": START + clock_ahead})))
    assert (await terminal.report(wanted))["kinds"] == {"device_alarm": 1}
    ((at,),) = terminal.centre.store.sql("SELECT at FROM terminal_records")
    if is_same_start:
        assert str(at).startswith("2026-01-05 00:59:00"), "a minute before it came"
    (seen,) = ok(await terminal.centre.as_("operator").get("/v1/terminals"))
    assert seen["clock_error_s"] == clock_ahead.total_seconds()


async def test_bodies_are_forgotten_and_the_books_stay(terminal: Terminal) -> None:
    terminal.write(purchase(1), ALARM)
    await terminal.send()
    terminal.centre.clock.advance(400 * 86400)
    assert (await forget(terminal.centre.app.state.services))["terminal_record"] == 2
    assert terminal.centre.store.sql("SELECT count(*) FROM terminal_records WHERE body IS NOT NULL") == [(0,)]
    assert (await terminal.report())["difference"] == 0


_TEXT = st.text(max_size=60) | st.from_regex(r'\{"kind":"[a-z_]{1,9}","key":"[0-9a-f]{32}".{0,20}\}', fullmatch=True)
_JSON = st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(text=_TEXT, payload=st.dictionaries(st.sampled_from(["act", "state", "x", "time"]), _JSON, max_size=3))
def test_bodies_from_outside(text: str, payload: dict[str, Any]) -> None:
    for body in (text, _body("purchase", payload), _body("device_alarm", payload)):
        with pytest.raises(RecordInvalidError):
            RecordBody.from_text(body).opened()


@given(record=st.sampled_from([OTHERS, ALARM, RESULT, purchase(1)]), up_ms=st.integers(0, 2**50))
def test_bodies_there_and_back(record: Payload, up_ms: int) -> None:
    body = RecordBody.of(record, key="ab" * 16, at=START, boot="cd" * 16, up_ms=up_ms)
    assert RecordBody.from_text(body.to_text()) == body
    assert body.opened() == record


def test_a_day_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="time"):
        purchase(1, time="20260230090000")
    assert purchase(1).day == date(2026, 1, 5)


_KEYS = itertools.count()


def _body(kind: str, payload: dict[str, Any]) -> str:
    body = RecordBody(kind=kind, key=f"{next(_KEYS):032x}", at=START, boot="b2" * 16, up_ms=1, payload={})
    return body.model_copy(update={"payload": payload}).to_text()


def _sealed(
    terminal: Terminal, bodies: list[str], *, journal_id: str = "c3" * 16, boot: str = "b2" * 16, up_ms: int = 2
) -> RecordBatch:
    """Records as no journal of ours writes them, properly chained and signed."""
    digest, records = genesis(journal_id), []
    for sequence, body in enumerate(bodies, start=1):
        digest = chained(digest, sequence, body)
        records.append(SentRecord(sequence=sequence, hash=digest.hex(), body=body))
    return RecordBatch(
        journal_id=journal_id,
        sent_at=START,
        boot=boot,
        up_ms=up_ms,
        told=len(records),
        records=tuple(records),
        signature=terminal.key.sign(head_text(journal_id, len(records), digest)).hex(),
    )
