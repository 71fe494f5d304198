"""Queries over one day of transit terminals: what was booked, what they said, and where the two part."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, exists, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from issuance.clients.models import ClientRow
from issuance.journeys.models import TransitDayRow, TransitRefusalRow, TransitRideRow, TransitTapRow
from issuance.terminals.models import TerminalJournalRow, TerminalRecordRow

TAKINGS: Final = ("booked", "executed", "foreign")
COUNTED: Final = ("paid", "recovered", "suspicious")
"""Outcomes that a terminal counts as taken."""
ENTRIES: Final = ("metro_entry", "bus_board", "service_entry")
KINDS: Final = ("transit_tap", "transit_code_ride")
MOST_NAMED: Final = 1000
"""Records looked at in order to name some of them."""


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

    async def taps(self) -> list[Any]:
        """Of the day or of the clock's: client_id, journal_id, outcome, standing, why, is_free, is_booked_day,
        is_clock_day, is_after (the newest statement, in its journal), count, fen, fare_fen."""
        row = TransitTapRow
        is_free = and_(row.amount_fen == 0, row.fare_fen > 0)
        marks = [row.outcome, row.standing, row.why, is_free.label("is_free")]
        return await self._sums(row, marks)

    async def rides(self) -> list[Any]:
        """As `taps`, without outcome and reason."""
        row = TransitRideRow
        is_free = and_(row.amount_fen == 0, row.fare_fen > 0)
        return await self._sums(row, [row.standing, is_free.label("is_free")])

    async def _sums(self, row: Any, marks: list[Any]) -> list[Any]:
        booked, clock = (
            (row.day == self._day).label("is_booked_day"),
            (row.clock_day == self._day).label("is_clock_day"),
        )
        said = self._newest_statements()
        after = and_(said.c.journal_id == row.journal_id, said.c.sequence < row.sequence)
        groups = [row.client_id, row.journal_id, *marks, booked, clock, case((after, 1), else_=0).label("is_after")]
        query = (
            select(*groups, func.count().label("count"))
            .add_columns(func.sum(row.amount_fen).label("fen"), func.sum(row.fare_fen).label("fare_fen"))
            .outerjoin(said, and_(said.c.client_id == row.client_id, said.c.place == 1))
            .where(or_(row.day == self._day, row.clock_day == self._day))
            .group_by(*groups)
        )
        return await self._all(row, query)

    def _newest_statements(self) -> Any:
        row = TransitDayRow
        place = func.row_number().over(partition_by=row.client_id, order_by=(row.at.desc(), row.sequence.desc()))
        query = select(row.client_id, row.journal_id, row.sequence, place.label("place"))
        return query.where(row.clock_day == self._day).subquery()

    async def journals(self, ids: Collection[str]) -> dict[str, datetime]:
        """When each began."""
        query = select(TerminalJournalRow.id, TerminalJournalRow.began_at).where(TerminalJournalRow.id.in_(ids))
        return {row[0]: row[1] for row in await self._session.execute(query)}

    async def products(self) -> list[Any]:
        """Of takings booked on the day: client_id, product, catalog_item, count, fen, fare_fen."""
        found = []
        for row, is_taking, item in (
            (TransitTapRow, TransitTapRow.standing.in_(TAKINGS), TransitTapRow.catalog_item),
            (TransitRideRow, TransitRideRow.standing == "booked", literal(None).label("catalog_item")),
        ):
            groups = [row.client_id, row.product, item]
            sums = [func.count().label("count"), func.sum(row.amount_fen).label("fen")]
            query = select(*groups, *sums, func.sum(row.fare_fen).label("fare_fen"))
            query = query.where(row.day == self._day, is_taking).group_by(row.client_id, row.product, item)
            found += await self._all(row, query)
        return found

    async def without_exit(self) -> dict[str, int]:
        """By terminal, entries of the day whose exit is not in the books."""
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
        wanted: ColumnElement[bool] = and_(
            row.clock_day == self._day, row.outcome.in_(COUNTED), row.standing.not_in(TAKINGS)
        )
        query = self._own(row, select(row).where(wanted)).order_by(row.at).limit(MOST_NAMED)
        return list(await self._session.scalars(query))

    async def moved_taps(self) -> list[TransitTapRow]:
        """Taken on another day than the clock's; the earliest first."""
        row = TransitTapRow
        is_moved = and_(row.day != row.clock_day, row.standing.in_(TAKINGS))
        query = select(row).where(or_(row.day == self._day, row.clock_day == self._day), is_moved)
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
