"""Queries over blanks and card numbers. Every change of state is one conditional UPDATE."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.stock.models import BlankRow, CardNumberRow


class BlankRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, reset_information: str) -> BlankRow | None:
        return await self._session.get(BlankRow, reset_information, with_for_update=True)

    async def known(self, reset_information: Sequence[str]) -> set[str]:
        query = select(BlankRow.reset_information).where(BlankRow.reset_information.in_(reset_information))
        return set(await self._session.scalars(query))

    async def add(self, rows: Sequence[BlankRow]) -> None:
        self._session.add_all(rows)
        await self._session.flush()

    async def move(
        self,
        reset_information: str,
        old: str,
        new: str,
        now: datetime,
        *,
        application_id: str | None = None,
        reason: str | None = None,
    ) -> bool:
        """False when the blank is not in state `old`."""
        moved = await self._session.execute(
            update(BlankRow)
            .where(BlankRow.reset_information == reset_information, BlankRow.state == old)
            .values(state=new, application_id=application_id, reason=reason, updated_at=now)
            .returning(BlankRow.reset_information)
        )
        return moved.first() is not None

    async def counts(self) -> list[tuple[str, str, str, int]]:
        """(region, generation, state, count)."""
        columns = (BlankRow.region, BlankRow.generation, BlankRow.state)
        rows = await self._session.execute(select(*columns, func.count()).group_by(*columns).order_by(*columns))
        return [(region, generation, state, count) for region, generation, state, count in rows]


class CardNumberRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def known(self, numbers: Sequence[str]) -> set[str]:
        query = select(CardNumberRow.number).where(CardNumberRow.number.in_(numbers))
        return set(await self._session.scalars(query))

    async def add(self, rows: Sequence[CardNumberRow]) -> None:
        self._session.add_all(rows)
        await self._session.flush()

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

    async def move(
        self,
        number: str,
        old: str,
        new: str,
        now: datetime,
        *,
        application_id: str | None = None,
        reason: str | None = None,
    ) -> bool:
        """False when the number is not in state `old`."""
        moved = await self._session.execute(
            update(CardNumberRow)
            .where(CardNumberRow.number == number, CardNumberRow.state == old)
            .values(state=new, application_id=application_id, reason=reason, updated_at=now)
            .returning(CardNumberRow.number)
        )
        return moved.first() is not None

    async def counts(self) -> list[tuple[str, str, int]]:
        """(region, state, count)."""
        columns = (CardNumberRow.region, CardNumberRow.state)
        rows = await self._session.execute(select(*columns, func.count()).group_by(*columns).order_by(*columns))
        return [(region, state, count) for region, state, count in rows]
