"""Rules of gates on their way: published, fetched, in force on their day; wrong ones are not."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cardlib.failures import FailureCode
from cardlib.transit_gate import GateClock
from terminal_agent.transit.clock import AgreedClock
from terminal_agent.transit.rules import RuleBook
from tests.terminal_agent.catalog.conftest import Centre
from tests.terminal_agent.stand import until
from tests.terminal_agent.transit.stand import Gate, card, gate, rules_text

GATE = """
format = "transit-gate-1"
network = "demo-bus"
mode = "bus_flat"

[place]
industry = 2
line = 23
station = 9
city = "9901"
institution = "19990100FFFFFFFF"
"""
FIRST, SECOND = "demo-bus.2020-01-01.toml", "demo-bus.2030-01-01.toml"


def edition(fen: int, begins: str = "2020-01-01", ends: str = "2030-12-31") -> bytes:
    return f"""
format = "transit-network-1"
network = "demo-bus"
version = "{begins[:4]}.{fen}"
valid_from = {begins}
valid_until = {ends}
issuers = [{{ issuer = "*", home = true }}]
fares = {{ flat_fen = {fen} }}
limits = {{ retap_s = 0 }}
policy = {{ block_list = "preferred" }}
""".encode()


OTHER = {"demo-metro.2020-01-01.toml": edition(900).replace(b"demo-bus", b"demo-metro")}
BOTH = {FIRST: edition(200), SECOND: edition(300, "2030-01-01", "2031-12-31")} | OTHER


class Clock:
    """Of the gate; the same for a book of rules alone."""

    now = datetime(2029, 12, 31, 23, 59, 58)
    is_trusted = True

    @property
    def for_gate(self) -> GateClock:
        return GateClock(lambda: self.now, lambda: 0.0, lambda: self.is_trusted)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(AgreedClock, "now", lambda self: made.now)
    monkeypatch.setattr(AgreedClock, "is_trusted", lambda self: made.is_trusted)
    monkeypatch.setattr("terminal_agent.transit.desk.TICK_S", 0.02)
    monkeypatch.setattr("terminal_agent.transit.desk.START_S", 0.0)
    return made


async def test_a_fare_is_published_and_taken_from_its_first_day_on(
    centre: Centre, terminal: dict[str, Any], clock: Clock, tmp_path: Path
) -> None:
    where = {name: value for name, value in terminal.items() if name != "state_dir"}

    async def fetch(bus: Gate) -> tuple[int, list[str]]:
        """The set in force then, and the alarms."""
        state = (await bus.client.post("/v1/catalog/fetch")).raise_for_status().json()
        return state["set"], [alarm["code"] for alarm in state["alarms"]]

    async def paid(bus: Gate, number: int = 1) -> int:
        inserted = card(number=number)
        await bus.tap(inserted)
        return 10_000 - inserted.state.neighbours.transit.balance

    def is_told(bus: Gate) -> bool:
        return FailureCode.TRANSIT_RULES_INVALID in bus.app.state.agent.heart.machine().failures

    async with gate(tmp_path, GATE, ready=False, **where) as bus:
        await until(lambda: is_told(bus) and bus.desk.closed == "RULES")
        told = (await bus.state())["rules"]
        assert (told["network"], told["version"], told["standing"]) == ("demo-bus", None, "missing")
        assert "demo-bus" in (await bus.client.get("/gate/staff")).text
        assert (await bus.tap(card()))["zh"]["note"] == "代码 RULES"
        centre.say("transit-rules", BOTH)
        before = centre.path.with_name("before")
        shutil.copytree(centre.path, before)
        await fetch(bus)
        await until(lambda: bus.desk.closed is None)
        assert (await paid(bus), is_told(bus)) == (200, False)
        told = (await bus.state())["rules"]
        assert (told["version"], told["next"], told["next_from"]) == ("2020.200", "2030.300", "2030-01-01")

        clock.now = datetime(2030, 1, 1, 0, 0, 0)
        await until(lambda: bus.desk.rules.version == "2030.300")
        assert await paid(bus) == 300
        assert (await bus.app.state.agent.heart.facts()).rules == "2030.300"

        centre.say("transit-rules", {SECOND: b"format ="} | OTHER)
        number, _ = await fetch(bus)
        await until(lambda: is_told(bus))
        assert (await bus.state())["rules"]["standing"] == "due"

        centre.path.rename(centre.gone)
        before.rename(centre.path)
        assert await fetch(bus) == (number, ["CATALOG_ROLLED_BACK"])
        shutil.rmtree(centre.path)
        centre.gone.rename(centre.path)
        centre.say("transit-rules", {SECOND: edition(1, "2030-01-01")})
        (file,) = (centre.path / "metadata").glob("4.transit-rules.json")
        file.write_bytes(file.read_bytes().replace(b"2030-01-01", b"2031-01-01"))
        assert (await fetch(bus), await paid(bus)) == ((number, ["CATALOG_DAMAGED"]), 300)

    shutil.rmtree(tmp_path / "state" / "catalog")
    centre.go()
    async with gate(tmp_path, GATE, **where) as bus:
        assert await paid(bus, number=2) == 300, "with neither network nor set"
        for day, standing in ((datetime(2032, 1, 1), "old"), (datetime(1970, 1, 1), "missing")):
            clock.now = day
            assert (await bus.tap(card()))["zh"]["note"] == "代码 RULES"
            assert (await bus.state())["rules"]["standing"] == standing
            assert is_told(bus)
            assert bus.app.state.agent.heart.machine().mode == "out"


@pytest.fixture
def book(tmp_path: Path, clock: Clock) -> RuleBook:
    (tmp_path / "gate.toml").write_text(GATE, encoding="utf-8")
    made = RuleBook(tmp_path / "gate.toml", tmp_path, clock.for_gate)
    made.renew(BOTH)
    return made


def fare(book: RuleBook) -> int | None:
    return book.rules.fares.flat_fen


def test_a_clock_nobody_agreed_with_begins_nothing(book: RuleBook, clock: Clock, tmp_path: Path) -> None:
    assert (fare(book), book.wait_s(5)) == (200, 2)
    clock.is_trusted, clock.now = False, datetime(2030, 6, 1)
    assert (book.renew(BOTH), fare(book)) == (False, 200)
    assert book.following is not None
    assert book.following[0].isoformat() == "2030-01-01"
    again = RuleBook(tmp_path / "gate.toml", tmp_path, clock.for_gate)
    assert fare(again) == 200, "nor does a new start"
    clock.now = datetime(2031, 1, 1)
    assert (book.renew(BOTH), fare(book)) == (True, 300), "by it the former ones are over"
    clock.now = datetime(2029, 1, 1)
    assert (book.renew(BOTH), fare(book)) == (False, 300)
    clock.is_trusted = True
    assert (book.renew(BOTH), fare(book)) == (True, 200)


def test_what_is_published_replaces_what_was(book: RuleBook, clock: Clock) -> None:
    later = {SECOND: edition(250, "2030-01-01")}
    assert (book.renew(later), fare(book)) == (False, 200), "the old ones go on until the new begin"
    assert book.following is not None
    assert book.following[1].fares.flat_fen == 250
    clock.now = datetime(2030, 1, 1)
    book.renew(later)
    assert (book.renew({SECOND: edition(260, "2030-01-01")}), fare(book)) == (True, 260), "a correction"
    for wrong in ({FIRST: edition(1), SECOND: b"\xff"}, {SECOND: edition(1)}, {}, OTHER):
        assert (book.renew(wrong), fare(book), book.are_refused) == (False, 260, True)
    assert (book.renew({SECOND: edition(260, "2030-01-01")}), book.are_refused) == (False, False)


def test_the_own_file_may_change_too(book: RuleBook, tmp_path: Path) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(GATE.replace("23", "24") + "x = 1", encoding="utf-8")
    assert (book.renew(BOTH), book.are_refused, book.rules.place.line) == (False, True, 23)
    file.write_text(GATE.replace("23", "25"), encoding="utf-8")
    assert (book.renew(None), book.are_refused, book.rules.place.line) == (True, False, 25)
    file.write_text(GATE.replace("demo-bus", "demo-metro"), encoding="utf-8")
    assert (book.renew(BOTH), fare(book)) == (True, 900)
    file.write_text(GATE.replace("demo-bus", "elsewhere"), encoding="utf-8")
    assert (book.renew(BOTH), book.are_missing, book.standing) == (True, True, "missing")
    file.write_text(GATE, encoding="utf-8")
    assert (book.renew(BOTH), book.following is None) == (True, False)
    file.write_text(rules_text("bus"), encoding="utf-8")
    assert (book.renew(BOTH), book.network, book.following) == (True, None, None)


@pytest.mark.parametrize("torn", [b"", b"[]", b'{"editions": {"demo-bus.2020-01-01.toml": 1}, "in_force": ""}'])
def test_rules_kept_here_that_were_torn_count_as_none(
    book: RuleBook, clock: Clock, tmp_path: Path, torn: bytes
) -> None:
    (tmp_path / "rules.json").write_bytes(torn)
    again = RuleBook(tmp_path / "gate.toml", tmp_path, clock.for_gate)
    assert again.are_missing
    assert (again.renew(BOTH), fare(again)) == (True, 200)
