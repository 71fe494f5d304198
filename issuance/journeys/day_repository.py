"""Queries over one day of transit terminals: what was booked, what they said, and where the two part."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from issuance.clients.models import ClientRow
from issuance.journeys.models import TransitDayRow, TransitRefusalRow, TransitRideRow, TransitSumRow, TransitTapRow
from issuance.journeys.repository import fixed
from issuance.terminals.models import TerminalJournalRow, TerminalRecordRow

TAKINGS: Final = ("booked", "executed", "foreign")
COUNTED: Final = ("paid", "recovered", "suspicious")
"""Outcomes that a terminal counts as taken."""
ENTRIES: Final = ("metro_entry", "bus_board", "service_entry")
KINDS: Final = ("transit_tap", "transit_code_ride")
MOST_NAMED: Final = 1000
"""Records looked at in order to name some of them."""
MOST_SPANS: Final = 100
"""Asked for in one statement."""


class DayRepository:
    """`terminal`: one alone."""

    def __init__(self, session: AsyncSession, day: date, terminal: str | None) -> None:
        self._session = session
        self._day = day
        self._terminal = terminal

    def _own(self, row: Any, query: Any) -> Any:
        return query if self._terminal is None else query.where(row.client_id == self._terminal)

    async def _all(self, row: Any, query: Any) -> list[Any]:
        return list(await self._session.execute(self._own(row, query)))

    async def statements(self) -> list[TransitDayRow]:
        """The newest last."""
        query = self._own(TransitDayRow, select(TransitDayRow).where(TransitDayRow.clock_day == self._day))
        return list(await self._session.scalars(query.order_by(TransitDayRow.at, TransitDayRow.sequence)))

    async def names(self, client_ids: Collection[str]) -> dict[str, tuple[str, str | None]]:
        """Name and region by terminal."""
        query = select(ClientRow.id, ClientRow.name, ClientRow.region).where(ClientRow.id.in_(client_ids))
        return {row.id: (row.name, row.region) for row in await self._session.execute(query)}

    async def sums(self) -> list[Any]:
        """Of the day or of the clock's: all but the region, is_booked_day, is_clock_day."""
        row = TransitSumRow
        columns = [row.day, row.clock_day, row.client_id, row.journal_id, row.outcome, row.standing, row.why]
        columns += [row.is_free, row.product, row.catalog_item, row.count, row.fen, row.fare_fen, row.last_sequence]
        days = (row.day == self._day).label("is_booked_day"), (row.clock_day == self._day).label("is_clock_day")
        query = select(*columns, *days).where(or_(row.day == self._day, row.clock_day == self._day), row.count != 0)
        return await self._all(row, query)

    async def told_within(self, spans: Sequence[tuple[str, int, int]]) -> dict[str, tuple[int, int]]:
        """By journal, how much of the clock's day the terminal counted of these (journal, first, last): count, fen."""
        found: dict[str, tuple[int, int]] = {}
        for row, is_counted in ((TransitTapRow, TransitTapRow.outcome.in_(COUNTED)), (TransitRideRow, true())):
            for first in range(0, len(spans), MOST_SPANS):
                part = spans[first : first + MOST_SPANS]
                within = or_(*(and_(row.journal_id == one, row.sequence.between(low, high)) for one, low, high in part))
                query = select(row.journal_id, func.count().label("count"), func.sum(row.amount_fen).label("fen"))
                query = query.where(within, row.clock_day == self._day, is_counted).group_by(row.journal_id)
                for journal_id, count, fen in await self._all(row, query):
                    before = found.get(journal_id, (0, 0))
                    found[journal_id] = before[0] + count, before[1] + int(fen)
        return found

    async def journals(self, ids: Collection[str]) -> dict[str, datetime]:
        """When each began."""
        query = select(TerminalJournalRow.id, TerminalJournalRow.began_at).where(TerminalJournalRow.id.in_(ids))
        return {row[0]: row[1] for row in await self._session.execute(query)}

    async def without_exit(self) -> dict[str, int]:
        """By terminal, entries of the day whose exit is not in the books: every one of them is looked up."""
        row, later = TransitTapRow, aliased(TransitTapRow)
        left = exists().where(
            later.serial == row.serial,
            later.issuer == row.issuer,
            later.entry_psam == row.psam,
            later.entry_time == row.time,
        )
        query = select(row.client_id, func.count()).where(
            row.day == self._day, row.mode.in_(ENTRIES), row.standing.in_(TAKINGS), ~left
        )
        return {one[0]: one[1] for one in await self._all(row, query.group_by(row.client_id))}

    async def lost_taps(self) -> list[TransitTapRow]:
        """Of the clock's day, counted by the terminal and not taken; the earliest first."""
        row = TransitTapRow
        is_lost = row.standing.not_in([fixed(standing) for standing in TAKINGS])
        wanted: ColumnElement[bool] = and_(row.clock_day == self._day, row.outcome.in_(COUNTED), is_lost)
        query = self._own(row, select(row).where(wanted)).order_by(row.at).limit(MOST_NAMED)
        return list(await self._session.scalars(query))

    async def moved_taps(self, others: Collection[date]) -> list[TransitTapRow]:
        """Taken on one of these days instead of the clock's, or the other way round; the earliest first. Both days are
        named in both cases, or neither database takes the index of those few."""
        if not others:
            return []
        row = TransitTapRow
        is_moved = row.day != row.clock_day
        moved_in = and_(row.day == self._day, row.clock_day.in_(others), is_moved)
        moved_out = and_(row.clock_day == self._day, row.day.in_(others), is_moved)
        query = select(row).where(or_(moved_in, moved_out), row.standing.in_(TAKINGS))
        return list(await self._session.scalars(self._own(row, query).order_by(row.at).limit(MOST_NAMED)))

    async def alarms(self) -> list[TransitRefusalRow]:
        """The earliest first."""
        row = TransitRefusalRow
        query = self._own(row, select(row).where(row.day == self._day)).order_by(row.at).limit(MOST_NAMED)
        return list(await self._session.scalars(query))

    async def rejected(self, client_ids: Collection[str]) -> list[TerminalRecordRow]:
        """Taps and rides that came and could not be used; whose day stands in their bodies."""
        row = TerminalRecordRow
        query = select(row).where(row.client_id.in_(client_ids), row.failure.is_not(None), row.kind.in_(KINDS))
        return list(await self._session.scalars(query.order_by(row.received_at.desc()).limit(MOST_NAMED)))
