"""Queries over places, transfers, ledger and counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Date, Select, case, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import ROW_LOCK, add_unless_taken, insert_new
from issuance.stock.models import BlankRow, CountRow, LedgerItemRow, LedgerRow, OpeningRow, PlaceRow, TransferRow

_CHUNK = 5000
_KIND: ColumnElement[str] = case((BlankRow.state == "spoiled", "spoiled"), else_=BlankRow.kind)
_OPEN = ("sent", "short")
Key = tuple[str, str]
"""A place and a kind of card."""


def at_place(place_id: str, kind: str) -> Select[str]:
    """The cards that lie at a place as this kind."""
    query = select(BlankRow.reset_information).where(BlankRow.place_id == place_id)
    if kind == "spoiled":
        return query.where(BlankRow.state == "spoiled")
    return query.where(BlankRow.kind == kind, BlankRow.state != "spoiled")


def underway(transfer_id: str) -> Select[str]:
    """The cards of a transfer that did not arrive yet."""
    return select(BlankRow.reset_information).where(BlankRow.transfer_id == transfer_id)


def named(cards: Sequence[str]) -> Select[str]:
    return select(BlankRow.reset_information).where(BlankRow.reset_information.in_(cards))


class MovementRepository:
    """`region_prefix` limits lists to the places that a caller serves."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    # -- places and cards ---------------------------------------------------------------------------------------------

    async def place(self, place_id: str, *, is_locking: bool = False) -> PlaceRow | None:
        return await self._session.get(PlaceRow, place_id, with_for_update=ROW_LOCK if is_locking else None)

    async def add_place(self, row: PlaceRow) -> bool:
        return await add_unless_taken(self._session, row)

    def places(self, region_prefix: str) -> Select[PlaceRow]:
        return select(PlaceRow).where(PlaceRow.region.startswith(region_prefix))

    async def place_ids(self, region_prefix: str, place_id: str | None, region: str | None) -> list[str]:
        query = select(PlaceRow.id).where(PlaceRow.region.startswith(region_prefix))
        if place_id is not None:
            query = query.where(PlaceRow.id == place_id)
        if region is not None:
            query = query.where(PlaceRow.region == region)
        return list(await self._session.scalars(query))

    async def lying(self, place_id: str) -> int:
        return await self._session.scalar(select(func.count()).where(BlankRow.place_id == place_id)) or 0

    async def expected(self, place_id: str, kind: str) -> list[str]:
        return list(await self._session.scalars(at_place(place_id, kind)))

    async def recorded(self, cards: Sequence[str]) -> dict[str, BlankRow]:
        query = select(BlankRow).where(BlankRow.reset_information.in_(cards))
        return {row.reset_information: row for row in await self._session.scalars(query)}

    async def cards(self, wanted: Sequence[str]) -> list[BlankRow]:
        """Those that exist, locked, in the order of their keys."""
        found: list[BlankRow] = []
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            query = select(BlankRow).where(BlankRow.reset_information.in_(part)).order_by(BlankRow.reset_information)
            found += await self._session.scalars(query.with_for_update(key_share=True))
        return found

    # -- transfers ----------------------------------------------------------------------------------------------------

    async def transfer(self, transfer_id: str) -> TransferRow | None:
        return await self._session.get(TransferRow, transfer_id, with_for_update=ROW_LOCK)

    def transfers(self, region_prefix: str, state: str | None) -> Select[TransferRow]:
        mine = select(PlaceRow.id).where(PlaceRow.region.startswith(region_prefix))
        query = select(TransferRow).where(TransferRow.from_place.in_(mine) | TransferRow.to_place.in_(mine))
        return query if state is None else query.where(TransferRow.state == state)

    async def open_transfers(self, place_id: str) -> int:
        query = select(func.count()).where(
            TransferRow.state.in_(_OPEN),
            (TransferRow.from_place == place_id) | (TransferRow.to_place == place_id),
        )
        return await self._session.scalar(query) or 0

    async def in_transit(self, places: Sequence[str]) -> int:
        """Cards sent from or to one of the places and neither received nor settled."""
        sent = select(TransferRow.id).where(
            TransferRow.from_place.in_(places) | TransferRow.to_place.in_(places), TransferRow.state.in_(_OPEN)
        )
        return await self._session.scalar(select(func.count()).where(BlankRow.transfer_id.in_(sent))) or 0

    # -- ledger and counts --------------------------------------------------------------------------------------------

    def movements(self, region_prefix: str, place_id: str | None) -> Select[LedgerRow]:
        mine = select(PlaceRow.id).where(PlaceRow.region.startswith(region_prefix))
        query = select(LedgerRow).where(LedgerRow.place_id.in_(mine))
        return query if place_id is None else query.where(LedgerRow.place_id == place_id)

    async def posted_before(self, places: Sequence[str] | None, day: date) -> dict[Key, int]:
        """By the last openings before `day` and what was posted since; `places` None: of all."""
        last = select(func.max(OpeningRow.day)).where(OpeningRow.day <= day).scalar_subquery()
        since = func.coalesce(last, literal(date.min, Date))
        opened = select(OpeningRow.place_id, OpeningRow.kind, OpeningRow.quantity).where(OpeningRow.day == last)
        posted = (
            select(LedgerRow.place_id, LedgerRow.kind, func.sum(LedgerRow.quantity))
            .where(LedgerRow.day >= since, LedgerRow.day < day)
            .group_by(LedgerRow.place_id, LedgerRow.kind)
        )
        if places is not None:
            opened = opened.where(OpeningRow.place_id.in_(places))
            posted = posted.where(LedgerRow.place_id.in_(places))
        sums: defaultdict[Key, int] = defaultdict(int)
        for place, kind, quantity in await self._session.execute(opened.union_all(posted)):
            sums[place, kind] += int(quantity)
        return dict(sums)

    async def last_opening(self) -> date | None:
        found: date | None = await self._session.scalar(select(func.max(OpeningRow.day)))
        return found

    async def keep_openings(self, day: date, sums: Mapping[Key, int]) -> int:
        """Returns how many were not kept before."""
        rows = [{"day": day, "place_id": p, "kind": k, "quantity": count} for (p, k), count in sorted(sums.items())]
        return len(await insert_new(self._session, OpeningRow, rows))

    async def posted_after(self, places: Sequence[str], day: date) -> dict[Key, int]:
        query = (
            select(LedgerRow.place_id, LedgerRow.kind, func.sum(LedgerRow.quantity))
            .where(LedgerRow.place_id.in_(places), LedgerRow.day > day)
            .group_by(LedgerRow.place_id, LedgerRow.kind)
        )
        return {(place, kind): int(total) for place, kind, total in await self._session.execute(query)}

    async def posted_on(self, places: Sequence[str], day: date) -> list[tuple[Key, str, int]]:
        """By act, what came and what went apart."""
        query = (
            select(LedgerRow.place_id, LedgerRow.kind, LedgerRow.act, func.sum(LedgerRow.quantity))
            .where(LedgerRow.place_id.in_(places), LedgerRow.day == day)
            .group_by(LedgerRow.place_id, LedgerRow.kind, LedgerRow.act, LedgerRow.quantity > 0)
        )
        rows = await self._session.execute(query)
        return [((place, kind), act, int(total)) for place, kind, act, total in rows]

    async def lying_now(self, places: Sequence[str]) -> dict[Key, int]:
        rows: Any = await self._session.execute(
            select(BlankRow.place_id, _KIND, func.count())
            .where(BlankRow.place_id.in_(places))
            .group_by(BlankRow.place_id, _KIND)
        )
        return {(place, kind): count for place, kind, count in rows}

    async def counts(self, places: Sequence[str], day: date) -> list[CountRow]:
        query = select(CountRow).where(CountRow.place_id.in_(places), CountRow.day == day)
        return list(await self._session.scalars(query))

    async def put_count(self, row: CountRow) -> None:
        """Takes the place of an earlier count of the day."""
        await self._session.merge(row)

    async def keep_counts(self, rows: Sequence[dict[str, Any]]) -> int:
        """Returns how many were not kept before."""
        return len(await insert_new(self._session, CountRow, rows))

    async def disagreeing(self, place_id: str, kind: str, limit: int) -> tuple[list[str], list[str]]:
        """Cards that only the ledger has here, and cards that only their record has here."""
        posted = (
            select(LedgerItemRow.card, func.sum(case((LedgerRow.quantity > 0, 1), else_=-1)).label("balance"))
            .join(LedgerRow, LedgerRow.id == LedgerItemRow.entry_id)
            .where(LedgerRow.place_id == place_id, LedgerRow.kind == kind)
            .group_by(LedgerItemRow.card)
        ).subquery()
        here = at_place(place_id, kind)
        is_here = here.where(BlankRow.reset_information == posted.c.card).exists()
        gone = select(posted.c.card).where(posted.c.balance != 0, ~is_here)
        kept = select(posted.c.card).where(posted.c.balance == 1).subquery()
        new = here.outerjoin(kept, kept.c.card == BlankRow.reset_information).where(kept.c.card.is_(None))
        return (
            list(await self._session.scalars(gone.limit(limit))),
            list(await self._session.scalars(new.limit(limit))),
        )

    async def last_movements(self, cards: Sequence[str]) -> dict[str, LedgerRow]:
        """By card."""
        item = LedgerItemRow
        last = select(item.card, func.max(item.entry_id).label("id")).where(item.card.in_(cards)).group_by(item.card)
        named = last.subquery()
        rows = await self._session.execute(select(named.c.card, LedgerRow).join(named, named.c.id == LedgerRow.id))
        return {found.card: found.LedgerRow for found in rows}
