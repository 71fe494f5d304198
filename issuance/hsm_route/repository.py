"""Queries over settlement orders."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import ROW_LOCK, add_unless_taken
from issuance.hsm_route.models import DebitOrderRow


class DebitOrderRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: DebitOrderRow) -> bool:
        """The row gets its number. False when this client made the same request before."""
        return await add_unless_taken(self._session, row)

    async def of_request(self, client_id: str, request_index: bytes) -> DebitOrderRow | None:
        found: DebitOrderRow | None = await self._session.scalar(
            select(DebitOrderRow).where(
                DebitOrderRow.client_id == client_id, DebitOrderRow.request_index == request_index
            )
        )
        return found

    async def locked(self, order_id: int) -> DebitOrderRow | None:
        return await self._session.get(DebitOrderRow, order_id, with_for_update=ROW_LOCK)

    async def find(
        self, *, state: str | None, client_id: str | None, region_prefix: str, before: int | None, limit: int
    ) -> list[DebitOrderRow]:
        """Newest first; of one client, where one is given."""
        query = select(DebitOrderRow).order_by(DebitOrderRow.id.desc()).limit(limit)
        if client_id is not None:
            query = query.where(DebitOrderRow.client_id == client_id)
        else:
            query = query.where(DebitOrderRow.region.startswith(region_prefix))
        if state is not None:
            query = query.where(DebitOrderRow.state == state)
        if before is not None:
            query = query.where(DebitOrderRow.id < before)
        return list(await self._session.scalars(query))
