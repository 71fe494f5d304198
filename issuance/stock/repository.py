"""Queries over blanks and card numbers. Every change of state is one conditional UPDATE."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import ROW_LOCK, insert_new
from issuance.stock.models import BlankRow, CardNumberRow


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
        moved = await self._session.execute(
            update(self._row_type)
            .where(key_column == key, self._row_type.state == old)
            .values(state=new, application_id=application_id, reason=reason, updated_at=now)
            .returning(key_column)
        )
        return moved.first() is not None


class BlankRepository(_PoolRepository):
    _row_type = BlankRow

    async def get(self, reset_information: str) -> BlankRow | None:
        """Locked for the rest of the transaction."""
        return await self._session.get(BlankRow, reset_information, with_for_update=ROW_LOCK)

    async def add(
        self, reset_information: Iterable[str], region: str, generation: str, delivery: str, now: datetime
    ) -> int:
        """Put into stock those that are not known; returns how many."""
        common: dict[str, Any] = {"region": region, "generation": generation, "state": "in_stock"}
        common |= {"delivery": delivery, "registered_at": now, "updated_at": now}
        rows = [common | {"reset_information": reset} for reset in sorted(set(reset_information))]
        return await insert_new(self._session, BlankRow, rows)

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
        return await insert_new(self._session, CardNumberRow, [common | {"number": n} for n in sorted(set(numbers))])

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
        number: str | None = await self._session.scalar(
            update(CardNumberRow)
            .where(CardNumberRow.number == lowest, CardNumberRow.state == "free")
            .values(state="reserved", application_id=application_id, updated_at=now)
            .returning(CardNumberRow.number)
        )
        return number

    async def counts(self, region_prefix: str) -> list[tuple[str, str, int]]:
        """(region, state, count)."""
        columns = (CardNumberRow.region, CardNumberRow.state)
        query = select(*columns, func.count()).where(CardNumberRow.region.startswith(region_prefix))
        rows = await self._session.execute(query.group_by(*columns).order_by(*columns))
        return [(region, state, count) for region, state, count in rows]
