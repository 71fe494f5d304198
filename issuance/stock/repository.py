"""Queries over blanks and card numbers. Every change of state is one conditional UPDATE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

from sqlalchemy import Select, func, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import ROW_LOCK, insert_new
from issuance.scope import unscoped
from issuance.stock.models import BlankRow, CardNumberRow, NumberPoolRow

_USED: Final = "used"
_IS_UNUSED: Final = text("card_numbers.state <> 'used'")
"""As the index says it."""


class _PoolRepository:
    """Things each of which is in exactly one state."""

    _row_type: ClassVar[type[BlankRow] | type[CardNumberRow]]

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def move(
        self,
        key: str,
        old: str,
        new: str,
        now: datetime,
        *,
        application_id: str | None = None,
        reason: str | None = None,
    ) -> bool:
        """False when the thing is not in state `old`."""
        (key_column,) = self._row_type.__mapper__.primary_key
        statement = (
            update(self._row_type)
            .where(key_column == key, self._row_type.state == old)
            .values(state=new, application_id=application_id, reason=reason, updated_at=now)
            .returning(key_column)
        )
        with unscoped(
            self._session, why="its application was found in scope; the number may be of the province's pool"
        ):
            return (await self._session.execute(statement)).first() is not None


class BlankRepository(_PoolRepository):
    _row_type = BlankRow

    async def get(self, reset_information: str) -> BlankRow | None:
        """Locked for the rest of the transaction."""
        return await self._session.get(BlankRow, reset_information, with_for_update=ROW_LOCK)

    async def add(
        self,
        reset_information: Iterable[str],
        region: str,
        generation: str,
        delivery: str,
        place_id: str,
        now: datetime,
        *,
        kind: str = "blank",
    ) -> list[str]:
        """Put into stock those that are not known; returns which."""
        common: dict[str, Any] = {"region": region, "generation": generation, "state": "in_stock"}
        common |= {"kind": kind, "place_id": place_id, "delivery": delivery, "registered_at": now, "updated_at": now}
        rows = [common | {"reset_information": reset} for reset in sorted(set(reset_information))]
        return [key for (key,) in await insert_new(self._session, BlankRow, rows)]

    async def counts(self, region_prefix: str) -> list[tuple[str, str, str, int]]:
        """(region, generation, state, count)."""
        columns = (BlankRow.region, BlankRow.generation, BlankRow.state)
        query = select(*columns, func.count()).where(BlankRow.region.startswith(region_prefix))
        rows = await self._session.execute(query.group_by(*columns).order_by(*columns))
        return [(region, generation, state, count) for region, generation, state, count in rows]


class CardNumberRepository(_PoolRepository):
    _row_type = CardNumberRow

    async def add(self, numbers: Iterable[str], region: str, now: datetime) -> int:
        """Put into the pool those that are not known; returns how many."""
        common = {"region": region, "state": "free", "registered_at": now, "updated_at": now}
        rows = [common | {"number": number} for number in sorted(set(numbers))]
        added = len(await insert_new(self._session, CardNumberRow, rows))
        if added:
            await insert_new(self._session, NumberPoolRow, [{"region": region, "given": 0}])
            pool = update(NumberPoolRow).where(NumberPoolRow.region == region)
            await self._session.execute(pool.values(given=NumberPoolRow.given + added))
        return added

    async def change(
        self, numbers: Sequence[str], old: Sequence[str], new: str, now: datetime, *, reason: str | None
    ) -> int:
        """Move those of `numbers` that are in one of the states `old`, none of which has a holder; returns how many."""
        moved = await self._session.execute(
            update(CardNumberRow)
            .where(CardNumberRow.number.in_(numbers), CardNumberRow.state.in_(old))
            .values(state=new, reason=reason, updated_at=now)
            .returning(CardNumberRow.number)
        )
        return len(moved.all())

    async def rows(self, numbers: Sequence[str]) -> dict[str, CardNumberRow]:
        """Locked for the rest of the transaction."""
        query = select(CardNumberRow).where(CardNumberRow.number.in_(numbers)).order_by(CardNumberRow.number)
        return {row.number: row for row in await self._session.scalars(query.with_for_update(key_share=True))}

    def listed(self, region_prefix: str, region: str | None, state: str | None) -> Select[CardNumberRow]:
        query = select(CardNumberRow).where(CardNumberRow.region.startswith(region_prefix))
        if region is not None:
            query = query.where(CardNumberRow.region == region)
        return query if state is None else query.where(CardNumberRow.state == state)

    async def take(self, region: str, application_id: str, now: datetime) -> str | None:
        """Reserve the lowest free number of `region`; None when there is none."""
        lowest = (
            select(CardNumberRow.number)
            .where(CardNumberRow.region == region, CardNumberRow.state == "free")
            .order_by(CardNumberRow.number)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        statement = (
            update(CardNumberRow)
            .where(CardNumberRow.number == lowest, CardNumberRow.state == "free")
            .values(state="reserved", application_id=application_id, updated_at=now)
            .returning(CardNumberRow.number)
        )
        with unscoped(self._session, why="the pool of a province serves its districts"):
            number: str | None = await self._session.scalar(statement)
        return number

    async def counts(self, region_prefix: str) -> dict[str, dict[str, int]]:
        """By region and state. The used ones are what is left of those ever given."""
        number, pool = CardNumberRow, NumberPoolRow
        given = select(pool.region, literal(_USED), pool.given).where(pool.region.startswith(region_prefix))
        unused = (
            select(number.region, number.state, func.count())
            .where(_IS_UNUSED, number.region.startswith(region_prefix))
            .group_by(number.region, number.state)
        )
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for region, state, count in await self._session.execute(given.union_all(unused)):
            found[region][state] = count
        for counts in found.values():
            counts[_USED] = 2 * counts[_USED] - sum(counts.values())
        return dict(sorted(found.items()))
