"""A day of transit terminals: what was booked, what they say they took, and every reason why the two differ."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final, cast

from cardlib.terminal_records import RecordBody, RecordInvalidError
from cardlib.transit_takings import TransitCodeRide, TransitTap, moment_of
from issuance.clock import china_date
from issuance.journeys.day_repository import COUNTED, TAKINGS, DayRepository
from issuance.journeys.differences import Received, difference_fen, is_explained, lines_of
from issuance.journeys.models import TransitDayRow, TransitTapRow
from issuance.journeys.schemas import (
    CountAndSum,
    DayReconciliation,
    DaySums,
    LineKind,
    ProductSum,
    RecordName,
    TerminalDay,
    TurnedAway,
)
from issuance.journeys.sums import CODE
from issuance.terminals.models import TerminalRecordRow
from issuance.terminals.reconciliation import ReconciliationService
from issuance.unit import Unit

_LOST: Final[Mapping[str, LineKind]] = {
    "open": "open",
    "not_executed": "not_executed",
    "repeated": "repeated",
}
_SAID: Final = (*COUNTED, CODE)
MOST_EXPLAINED: Final = 100
"""Terminals whose missing records are looked for; where there are more, something else is wrong."""
GRACE: Final = timedelta(hours=3)
"""After midnight, in which a terminal may still say how its day ended."""
_Span = tuple[str, int, int]
"""Journal, first and last sequence."""


@dataclass(slots=True)
class _Books:
    """One terminal's day as it is put together."""

    received: Received = field(default_factory=Received)
    sums: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    products: list[ProductSum] = field(default_factory=list)
    statements: list[TransitDayRow] = field(default_factory=list)
    alarms: list[TurnedAway] = field(default_factory=list)
    without_exit: int = 0

    def add(self, name: str, row: Any, fen: int | None = None) -> None:
        self.sums[name]["count"] += row.count
        self.sums[name]["fen"] += row.fen if fen is None else fen

    @property
    def said(self) -> CountAndSum | None:
        if not self.statements:
            return None
        parts = [one.sums[name] for one in self.statements for name in _SAID if name in one.sums]
        return CountAndSum(count=sum(part["count"] for part in parts), fen=sum(part["fen"] for part in parts))

    @property
    def turned_away(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for one in self.statements:
            found.update(one.refusals)
        return found

    @property
    def day_sums(self) -> DaySums:
        parts = {name: CountAndSum(count=part["count"], fen=part["fen"]) for name, part in self.sums.items()}
        away = sum(self.turned_away.values())
        return DaySums(**cast(Any, parts), without_exit=self.without_exit, turned_away=away)


class DayService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._gaps: dict[str, dict[str, tuple[int, int]]] = {}

    async def of(self, day: date, *, terminal: str | None = None, has_exits: bool = True) -> DayReconciliation:
        """Of the terminals this caller serves; `terminal`: of one alone. Nothing told of a day is a day of zeros.
        Without `has_exits` nobody looks for the exit of every entry, which is what takes long over all terminals."""
        rows = DayRepository(self._unit.session, day, terminal)
        books, sums = await self._compared(rows)
        for row in sums:
            if row.is_booked_day and row.standing in TAKINGS:
                books[row.client_id].products.append(_product(row))
        for client_id, count in (await rows.without_exit() if has_exits else {}).items():
            books[client_id].without_exit = count
        for alarm in await rows.alarms():
            item = {name: getattr(alarm, name) for name in TurnedAway.model_fields}
            books[alarm.client_id].alarms.append(TurnedAway(**item))
        others = {one for row in sums for one in (row.day, row.clock_day)} - {day}
        await self._name_records(rows, day, books, others)
        await self._explain(rows, day, books)
        names = await rows.names(list(books))
        is_over = self._is_over(day)
        terminals = [
            _terminal(client_id, *names.get(client_id, (client_id, None)), one, is_over=is_over)
            for client_id, one in sorted(books.items())
        ]
        return _whole(day, terminals)

    async def unexplained(self, day: date) -> list[tuple[str, str | None]]:
        """Terminals, with their regions, whose books of the day differ from what they say, and nothing says why."""
        rows = DayRepository(self._unit.session, day, None)
        books, _ = await self._compared(rows)
        await self._explain(rows, day, books)
        is_over = self._is_over(day)
        found = [
            name for name, one in books.items() if not is_explained(lines_of(one.said, one.received, is_over=is_over))
        ]
        names = await rows.names(found)
        return [(name, names[name][1] if name in names else None) for name in sorted(found)]

    async def _compared(self, rows: DayRepository) -> tuple[dict[str, _Books], list[Any]]:
        """By terminal, and the sums they are made of."""
        books: dict[str, _Books] = defaultdict(_Books)
        for statement in await rows.statements():
            books[statement.client_id].statements.append(statement)
        sums = await rows.sums()
        began = await self._journals(rows, books, sums)
        spans: dict[str, _Span] = {}
        for row in sums:
            own = books[row.client_id]
            _add(own, row, is_after=_is_of_later_journal(row, own, began))
            if (span := _after(row, own)) is not None:
                spans[row.client_id] = max(span, spans.get(row.client_id, span))
        told = await rows.told_within(list(spans.values()))
        for client_id, span in spans.items():
            books[client_id].received.after.add(*told.get(span[0], (0, 0)))
        return books, sums

    def _is_over(self, day: date) -> bool:
        return china_date(self._unit.now - GRACE) > day

    async def _journals(self, rows: DayRepository, books: Mapping[str, _Books], told: Iterable[Any]) -> Any:
        """When those journals began that are not the one of the terminal's newest statement, and that one."""
        wanted = set()
        for row in told:
            statements = books[row.client_id].statements if row.client_id in books else []
            if statements and statements[-1].journal_id != row.journal_id:
                wanted |= {row.journal_id, statements[-1].journal_id}
        return await rows.journals(wanted) if wanted else {}

    async def _name_records(
        self, rows: DayRepository, day: date, books: Mapping[str, _Books], others: Collection[date]
    ) -> None:
        for tap in await rows.lost_taps():
            books[tap.client_id].received.records[_reason(tap.standing, tap.why)].append(_record(tap))
        for tap in await rows.moved_taps(others):
            kind: LineKind = "moved_in" if tap.day == day else "moved_out"
            books[tap.client_id].received.records[kind].append(_record(tap))

    async def _explain(self, rows: DayRepository, day: date, books: Mapping[str, _Books]) -> None:
        """For the terminals whose count is not that of their records: what was rejected, and what is not here."""
        short = [name for name, one in books.items() if one.said is not None and _is_short(one.said, one.received)]
        if not short:
            return
        for record in await rows.rejected(short):
            found = _rejected(record, day)
            if found is not None:
                received = books[record.client_id].received
                received.rejected.add(1, found.fen)
                received.records["rejected"].append(found)
        service = ReconciliationService(self._unit)
        for name in short[:MOST_EXPLAINED]:
            if name not in self._gaps:  # the same for every day, and a journal is long
                self._gaps[name] = await service.gaps(name)
            books[name].received.gaps |= self._gaps[name]


def _is_of_later_journal(row: Any, books: _Books, began: Mapping[str, datetime]) -> bool:
    """Whether the terminal had said its sum before it began the journal of these."""
    if not books.statements or row.journal_id == books.statements[-1].journal_id:
        return False
    own, said = began.get(row.journal_id), began.get(books.statements[-1].journal_id)
    return own is not None and said is not None and own > said


def _after(row: Any, books: _Books) -> _Span | None:
    """Where in the journal of the newest statement some of these may stand after it."""
    said = books.statements[-1] if books.statements else None
    if said is None or said.journal_id != row.journal_id or row.last_sequence <= said.sequence:
        return None
    return (said.journal_id, said.sequence + 1, row.last_sequence) if _is_told(row) else None


def _is_told(row: Any) -> bool:
    return bool(row.is_clock_day and row.outcome in _SAID)


def _add(books: _Books, row: Any, *, is_after: bool) -> None:
    received, is_taking = books.received, row.standing in TAKINGS
    if _is_told(row):
        received.told.add(row.count, row.fen)
        if is_after:
            received.after.add(row.count, row.fen)
        if not is_taking:
            reason: LineKind = "code_used" if row.outcome == CODE else _reason(row.standing, row.why)
            received.lost[reason].add(row.count, row.fen)
    if is_taking and row.is_clock_day != row.is_booked_day:
        (received.moved_in if row.is_booked_day else received.moved_out).add(row.count, row.fen)
    if not row.is_booked_day:
        return
    if is_taking:
        books.add("rides" if row.outcome == CODE else "taps", row)
        if row.is_free:
            books.add("free", row, row.fare_fen)
        if row.outcome == "recovered":
            books.add("recovered", row)
        if row.standing in ("foreign", "executed"):
            books.add(row.standing, row)
    elif row.standing in ("open", "not_executed", "refused") and row.outcome in _SAID:
        books.add(row.standing, row)


def _product(row: Any) -> ProductSum:
    amounts = {"count": row.count, "fen": row.fen, "fare_fen": row.fare_fen}
    return ProductSum(product=row.product, catalog_item=row.catalog_item or None, **amounts)


def _reason(standing: str, why: str | None) -> LineKind:
    if standing == "refused":
        return "number_taken" if why == "number_taken" else "tac_wrong"
    return _LOST[standing]


def _is_short(said: CountAndSum, received: Received) -> bool:
    within = received.told.count - received.after.count, received.told.fen - received.after.fen
    return (said.count, said.fen) != within


def _record(tap: TransitTapRow) -> RecordName:
    return RecordName(
        journal_id=tap.journal_id,
        sequence=tap.sequence,
        psam=tap.psam,
        number=tap.number,
        fen=tap.amount_fen,
        at=tap.at,
    )


def _rejected(record: TerminalRecordRow, day: date) -> RecordName | None:
    """None for one of another day, or one that the terminal does not count."""
    try:
        payload = RecordBody.from_text(record.body or "").opened()
    except RecordInvalidError:
        return None
    if not isinstance(payload, (TransitTap, TransitCodeRide)) or moment_of(payload.time).date() != day:
        return None
    if payload.outcome not in COUNTED:
        return None
    tap = payload if isinstance(payload, TransitTap) else None
    return RecordName(
        journal_id=record.journal_id,
        sequence=record.sequence,
        psam=tap.psam if tap else "",
        number=tap.number if tap else "",
        fen=payload.amount_fen,
        at=record.at,
    )


def _terminal(client_id: str, name: str, region: str | None, books: _Books, *, is_over: bool) -> TerminalDay:
    said, sums = books.said, books.day_sums
    lines = lines_of(said, books.received, is_over=is_over)
    return TerminalDay(
        terminal=client_id,
        name=name,
        region=region,
        said=said,
        is_closed=bool(books.statements) and all(one.is_closed for one in books.statements),
        takings_fen=sums.takings_fen,
        difference_fen=difference_fen(lines),
        is_explained=is_explained(lines),
        sums=sums,
        products=_products(books.products),
        turned_away=dict(books.turned_away.most_common()),
        alarms=tuple(books.alarms),
        lines=lines,
    )


def _whole(day: date, terminals: list[TerminalDay]) -> DayReconciliation:
    away: Counter[str] = Counter()
    for one in terminals:
        away.update(one.turned_away)
    return DayReconciliation(
        day=day,
        said_fen=sum(one.said.fen for one in terminals if one.said),
        takings_fen=sum(one.takings_fen for one in terminals),
        difference_fen=sum(one.difference_fen for one in terminals),
        is_explained=all(one.is_explained for one in terminals),
        sums=_added([one.sums for one in terminals]),
        products=_products(product for one in terminals for product in one.products),
        turned_away=dict(away.most_common()),
        terminals=tuple(terminals),
    )


def _products(given: Iterable[ProductSum]) -> tuple[ProductSum, ...]:
    """Each once, of taps and of rides with codes, in the order of their names."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in given:
        key = one.product, one.catalog_item or ""
        found[key].update(count=one.count, fen=one.fen, fare_fen=one.fare_fen)
    return tuple(
        ProductSum(product=product, catalog_item=item or None, **part)
        for (product, item), part in sorted(found.items())
    )


def _added(sums: list[DaySums]) -> DaySums:
    parts: dict[str, Any] = {}
    for name in DaySums.model_fields:
        values = [getattr(one, name) for one in sums]
        if name in ("without_exit", "turned_away"):
            parts[name] = sum(values)
        else:
            parts[name] = CountAndSum(count=sum(one.count for one in values), fen=sum(one.fen for one in values))
    return DaySums(**parts)
