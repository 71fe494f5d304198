"""Sums kept with every batch against a full recount of the lines, whatever came, in whatever order and how late."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event, select

from issuance.clients.auth import Caller
from issuance.journeys.day_repository import DayRepository
from issuance.journeys.days import DayService, _add, _Books
from issuance.journeys.models import NONE, TransitRideRow, TransitSumRow, TransitTapRow
from issuance.journeys.sums import CODE, KEY
from issuance.scope import EVERYWHERE, Scope
from issuance.unit import SYSTEM, Unit
from terminal_agent.journal.store import RecordJournal
from tests.issuance.conftest import Centre, both_engines
from tests.issuance.transit_days import Gate, Purse, Wrong

OUTCOMES = ("paid", "paid", "paid", "suspicious", "void")
PRODUCTS: tuple[dict[str, Any], ...] = (
    {},
    {"product": "senior-free", "catalog_item": "joint-transport-free-ride", "fare_fen": 300},
    {"product": "student-half", "fare_fen": 400},
)
DAYS = [date(2026, 1, day) for day in range(3, 9)]
SCOPES = (EVERYWHERE, Scope.of("130000"), Scope.of("110000"))


def told_by(row: TransitTapRow | TransitRideRow) -> dict[str, Any]:
    """One line as sums of one."""
    tap = row if isinstance(row, TransitTapRow) else None
    return {
        **{name: getattr(row, name) for name in ("clock_day", "day", "client_id", "journal_id", "standing", "product")},
        "region": row.region or NONE,
        "outcome": tap.outcome if tap else CODE,
        "why": (tap.why if tap else None) or NONE,
        "catalog_item": (tap.catalog_item if tap else None) or NONE,
        "is_free": row.amount_fen == 0 and row.fare_fen > 0,
        "count": 1,
        "fen": row.amount_fen,
        "fare_fen": row.fare_fen,
        "sequence": row.sequence,
    }


async def every_line(session: Any) -> list[dict[str, Any]]:
    return [told_by(row) for kind in (TransitTapRow, TransitRideRow) for row in await session.scalars(select(kind))]


class Recount(DayService):
    """A day made of every single line, each looked at whether it was told before the terminal's newest statement."""

    async def _compared(self, rows: DayRepository) -> tuple[dict[str, _Books], list[Any]]:
        day, books = rows._day, defaultdict[str, _Books](_Books)
        for statement in await rows.statements():
            books[statement.client_id].statements.append(statement)
        lines = []
        for line in await every_line(self._unit.session):
            if day in (line["day"], line["clock_day"]) and rows._terminal in (None, line["client_id"]):
                marks = {"is_booked_day": line["day"] == day, "is_clock_day": line["clock_day"] == day}
                lines.append(SimpleNamespace(**line, **marks))
        began = await self._journals(rows, books, lines)
        for one in lines:
            _add(books[one.client_id], one, is_after=self._is_after(one, books[one.client_id], began))
        return books, lines

    def _is_after(self, line: Any, books: _Books, began: Any) -> bool:
        if not books.statements:
            return False
        said = books.statements[-1]
        if said.journal_id == line.journal_id:
            return bool(line.sequence > said.sequence)
        return bool(began[line.journal_id] > began[said.journal_id])


async def demand_equal(centre: Centre) -> set[str]:
    """Returns the kinds of differences there are."""
    services = centre.app.state.services
    kinds: set[str] = set()
    for scope in SCOPES:
        async with services.database.transaction(is_reading=True, scope=scope) as session:
            unit = Unit(session, services, Caller(SYSTEM, frozenset()), services.clock())
            await _demand_sums(session)
            for day in DAYS:
                kept, recounted = DayService(unit), Recount(unit)
                whole = await kept.of(day)
                assert whole == await recounted.of(day), day
                assert await kept.of(day, terminal="other") == await recounted.of(day, terminal="other")
                assert await kept.unexplained(day) == await recounted.unexplained(day)
                kinds |= {line.kind for one in whole.terminals for line in one.lines}
    return kinds


async def _demand_sums(session: Any) -> None:
    counted: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    last: dict[tuple[Any, ...], int] = {}
    for line in await every_line(session):
        key = tuple(line[name] for name in KEY)
        counted[key].update(count=1, fen=line["fen"], fare_fen=line["fare_fen"])
        last[key] = max(line["sequence"], last.get(key, 0))
    kept = {tuple(getattr(row, name) for name in KEY): row for row in await session.scalars(select(TransitSumRow))}
    shown = {key: Counter(count=row.count, fen=row.fen, fare_fen=row.fare_fen) for key, row in kept.items()}
    assert {key: sums for key, sums in shown.items() if sums["count"]} == counted
    assert all(not sum(sums.values()) for sums in shown.values() if not sums["count"])
    assert all(kept[key].last_sequence >= sequence for key, sequence in last.items())


class Street:
    """Two gates of different regions, one of them with a wrong clock at times, and a few purses that travel."""

    def __init__(self, centre: Centre, folder: Path, seed: int) -> None:
        self.centre, self.folder, self.chance = centre, folder, random.Random(seed)
        self.clock = Wrong(centre.clock, timedelta())
        self.gates = Gate(centre, folder, "terminal", 1), Gate(centre, folder, "other", 2, clock=self.clock)
        self.purses = [Purse(number) for number in range(8)]
        self.entered: list[Any] = []

    async def step(self) -> None:
        chance, gate = self.chance, self.chance.choice(self.gates)
        acts = (self._tap, self._tap, self._tap, self._tap, self._trip, self._ride, self._say, self._wait, self._wrong)
        chance.choice((*acts, self._renew))(gate) if chance.random() < 0.8 else await self.send(gate)

    async def send(self, gate: Gate, most: int = 0) -> None:
        if gate.journal.standing().waiting:
            batch = gate.batch(most or self.chance.randint(1, 12))
            for _ in range(self.chance.choice((1, 1, 2))):  # the answer may be lost
                await gate.send(batch)

    def _tap(self, gate: Gate) -> None:
        chance, purse, outcome = self.chance, self.chance.choice(self.purses), self.chance.choice(OUTCOMES)
        is_executed = outcome == "paid" or (outcome == "suspicious" and chance.random() < 0.5)
        change = dict(chance.choice(PRODUCTS))
        if outcome == "paid" and chance.random() < 0.1:
            change, is_executed = change | {"tac": "00000000"}, False
        tap, _ = gate.tap(purse, chance.choice((0, 100, 200)), outcome, is_executed=is_executed, **change)
        if outcome == "suspicious" and chance.random() < 0.4:
            better = {"outcome": "recovered" if is_executed else "void"}
            better |= {"tac": purse.pay(tap.model_dump(), is_executed=False)} if is_executed else {}
            gate.write(tap.model_copy(update=better))
        elif chance.random() < 0.05:
            gate.write(tap)  # under another key: rejected

    def _trip(self, gate: Gate) -> None:
        purse = self.chance.choice(self.purses)
        if self.entered and self.chance.random() < 0.6:
            purse, entry = self.entered.pop(self.chance.randrange(len(self.entered)))
            gate.tap(purse, 300, mode="metro_exit", type=9, entry=entry)
        else:
            tap, _ = gate.tap(purse, 0, mode="metro_entry", type=9, fare_fen=0)
            self.entered.append((purse, gate.entry(tap)))

    def _ride(self, gate: Gate) -> None:
        gate.ride(self.chance.choice(("ab", "bc", "cd", "de", "ef")), self.chance.choice((0, 200)))

    def _say(self, gate: Gate) -> None:
        gate.say(is_closed=self.chance.random() < 0.3)

    def _wait(self, _: Gate) -> None:
        self.centre.clock.advance(self.chance.choice((5, 60, 4000, 40_000)))

    def _wrong(self, _: Gate) -> None:
        self.clock._ahead = timedelta(days=self.chance.choice((0, 0, -1, 1)))

    def _renew(self, gate: Gate) -> None:
        """Its disk is exchanged; what was not sent is lost."""
        if self.chance.random() < 0.3:
            gate.journal.close()
            gate.journal = RecordJournal(self.folder / f"{gate.name}-{self.chance.random()}", clock=gate.clock)


@both_engines
@pytest.mark.parametrize("seed", [1, 2])
async def test_kept_sums_are_those_of_a_full_recount(centre: Centre, tmp_path: Path, seed: int) -> None:
    await centre.register("other", ("terminal",), "130000")
    street, kinds = Street(centre, tmp_path, seed), set()
    for number in range(150):
        await street.step()
        if number in (60, 110):
            kinds |= await demand_equal(centre)
    for gate in street.gates:
        while gate.journal.standing().waiting:
            await street.send(gate)
    kinds |= await demand_equal(centre)
    assert kinds >= {"after_statement", "moved_in", "moved_out", "repeated", "not_executed", "code_used"}
    migration = import_module("issuance.migrations.versions.0029_transit_sums")
    for statement in ("DELETE FROM transit_sums", *migration.recount()):
        centre.store.sql(statement)
    await demand_equal(centre)


async def test_nothing_reads_every_tap_there_is(centre: Centre, tmp_path: Path) -> None:
    """SQLite did so for each batch: for pairs in a list, and for indexes of two kinds in one OR."""
    await centre.register("other", ("terminal",), "130000")
    street, services = Street(centre, tmp_path, 1), centre.app.state.services
    street.clock._ahead = timedelta(days=1)
    asked: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            asked[statement] = parameters

    event.listen(services.database.engine.sync_engine, "before_cursor_execute", note)
    for gate in street.gates:
        for purse in street.purses:
            gate.tap(purse, 100, "suspicious", is_executed=False)
            gate.tap(purse, 200)
        gate.ride("ab")
        gate.say()
        gate.tap(street.purses[0], 100)
        await gate.send()
    async with services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
        unit = Unit(session, services, Caller(SYSTEM, frozenset()), services.clock())
        for day in DAYS:
            await DayService(unit).of(day)
            await DayService(unit).of(day, terminal="other")
        connection = await session.connection()
        plans = {
            statement: (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)).all()
            for statement, parameters in list(asked.items())
        }
    steps = [(step[-1], statement) for statement, plan in plans.items() for step in plan]
    large = ("SCAN transit_taps", "SCAN transit_rides", "SCAN terminal_records")
    assert [(step, statement) for step, statement in steps if step.startswith(large)] == []
    assert sum("ix_transit_taps" in step for step, _ in steps) >= 6


@both_engines
async def test_two_gates_decide_each_others_taps_at_once(centre: Centre, tmp_path: Path) -> None:
    """Either batch changes sums of both gates; neither waits for the other in a circle."""
    await centre.register("other", ("terminal",), "130000")
    street = Street(centre, tmp_path, 1)
    here, there = street.gates
    for _ in range(6):
        for gate, purse in zip(street.gates, street.purses, strict=False):
            gate.tap(purse, 100, "suspicious")
            await gate.send()
        for gate, purse in zip(reversed(street.gates), street.purses, strict=False):
            gate.tap(purse, 200)
        await asyncio.gather(here.send(), there.send())
    await demand_equal(centre)
    assert centre.store.sql("SELECT count(*) FROM transit_taps WHERE standing = 'executed'") == [(12,)]
