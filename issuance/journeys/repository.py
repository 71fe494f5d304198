"""Queries over taps, rides, refusals, statements and purses of cards."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, String, and_, case, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from cardlib.transit_clearing import Judged
from issuance.journeys.models import CardPurseRow, TransitDayRow, TransitRideRow, TransitSumRow, TransitTapRow
from issuance.journeys.sums import KEY
from issuance.scope import unscoped

Purse = tuple[str, str]
"""Issuer and serial."""
Name = tuple[str, str, str]
"""PSAM, its number, outcome."""


def fixed(standing: str) -> ColumnElement[str]:
    """Written into the statement, so that the planner sees which partial index fits."""
    return literal(standing, String, literal_execute=True)


class JourneyRepository:
    """SQLite looks at every row there is for pairs in a list (`tuple_`), and for indexes of two kinds in one OR."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def told(self, client_id: str, names: Collection[Name]) -> set[Name]:
        """Of these those that this terminal told of before."""
        if not names:
            return set()
        row = TransitTapRow
        query = select(row.psam, row.number, row.outcome).where(row.client_id == client_id)
        query = query.where(row.psam.in_({psam for psam, _, _ in names}), row.number.in_({name[1] for name in names}))
        with unscoped(self._session, why="a terminal that was moved to another region counts on"):
            rows = await self._session.execute(query)
        return {(row[0], row[1], row[2]) for row in rows}.intersection(names)

    async def used_codes(self, codes: Collection[str]) -> set[str]:
        """Of these those that somebody has ridden with."""
        if not codes:
            return set()
        query = select(TransitRideRow.code).where(TransitRideRow.code.in_(codes), TransitRideRow.standing == "booked")
        with unscoped(self._session, why="a code is used where its holder travels"):
            return set(await self._session.scalars(query))

    async def beside(self, numbers: Collection[tuple[str, int]]) -> list[TransitTapRow]:
        """Of these (serial, offline number) what is known at the number and on both sides of it, and whatever of these
        purses is open."""
        if not numbers:
            return []
        row = TransitTapRow
        near = or_(*(and_(row.serial == one, row.offline.between(at - 1, at + 1)) for one, at in sorted(numbers)))
        is_open = and_(row.serial.in_({serial for serial, _ in numbers}), row.standing == fixed("open"))
        found: dict[tuple[str, int], TransitTapRow] = {}
        for wanted in (near, is_open):
            with unscoped(self._session, why="a purse pays where its holder travels"):
                rows = await self._session.scalars(select(row).where(wanted))
            found |= {(one.journal_id, one.sequence): one for one in rows}
        return list(found.values())

    async def since(self, serial: str, number: int) -> list[TransitTapRow]:
        """All of this serial from this offline number on."""
        query = select(TransitTapRow).where(TransitTapRow.serial == serial, TransitTapRow.offline >= number)
        with unscoped(self._session, why="a purse pays where its holder travels"):
            return list(await self._session.scalars(query))

    async def stand(self, row: TransitTapRow, judged: Judged) -> None:
        """An UPDATE, as the row may be one that another region's terminal told of."""
        values = {"standing": judged.standing.value, "why": judged.why.value if judged.why else None}
        key = TransitTapRow.journal_id == row.journal_id, TransitTapRow.sequence == row.sequence
        with unscoped(self._session, why="a purse pays where its holder travels"):
            await self._session.execute(update(TransitTapRow).where(*key).values(**values))

    async def change_sums(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add these to the sums."""
        if not rows:
            return
        is_sqlite = self._session.get_bind().dialect.name == "sqlite"
        given: Any = (sqlite if is_sqlite else postgresql).insert(TransitSumRow)
        kept, new = TransitSumRow.last_sequence, given.excluded["last_sequence"]
        changes = {name: getattr(TransitSumRow, name) + given.excluded[name] for name in ("count", "fen", "fare_fen")}
        changes["last_sequence"] = case((new > kept, new), else_=kept)
        await self._session.execute(given.on_conflict_do_update(index_elements=KEY, set_=changes), list(rows))

    async def taps_of(self, serials: Collection[str], standings: Collection[str], most: int) -> list[TransitTapRow]:
        """Seen by terminals of the caller's regions; the newest first."""
        query = select(TransitTapRow).where(TransitTapRow.serial.in_(serials), TransitTapRow.standing.in_(standings))
        return list(await self._session.scalars(query.order_by(TransitTapRow.offline.desc()).limit(most)))

    async def bearers(self, serials: Collection[str]) -> dict[Purse, str]:
        """Numbers of the caller's cards by their purses."""
        rows = await self._session.scalars(select(CardPurseRow).where(CardPurseRow.serial.in_(serials)))
        return {(row.issuer, row.serial): row.card_number for row in rows}

    async def known(self, identification_code: str, purse: Purse) -> list[CardPurseRow]:
        """What is known about the chip and about the purse."""
        is_chip = CardPurseRow.identification_code == identification_code
        is_purse = and_(CardPurseRow.issuer == purse[0], CardPurseRow.serial == purse[1])
        with unscoped(self._session, why="a purse is on one chip alone, wherever that is"):
            return list(await self._session.scalars(select(CardPurseRow).where(or_(is_chip, is_purse))))

    async def statement(self, client_id: str, counter: str, day: date) -> TransitDayRow | None:
        key = {"client_id": client_id, "counter": counter, "clock_day": day}
        found: TransitDayRow | None = await self._session.get(TransitDayRow, key)
        return found

    def add(self, row: Any) -> None:
        self._session.add(row)
