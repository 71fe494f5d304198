"""Queries over settlement orders."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import add_unless_taken
from issuance.hsm_route.models import DebitOrderRow
from issuance.scope import unscoped


class DebitOrderRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: DebitOrderRow) -> bool:
        """The row gets its number. False when this client made the same request before."""
        return await add_unless_taken(self._session, row)

    async def of_request(self, client_id: str, request_index: bytes) -> DebitOrderRow | None:
        query = select(DebitOrderRow).where(
            DebitOrderRow.client_id == client_id, DebitOrderRow.request_index == request_index
        )
        with unscoped(self._session, why="a terminal's own orders, whatever region the card is of"):
            found: DebitOrderRow | None = await self._session.scalar(query)
        return found

    async def locked(self, order_id: int, client_id: str) -> DebitOrderRow | None:
        """The client's own order."""
        query = select(DebitOrderRow).where(DebitOrderRow.id == order_id, DebitOrderRow.client_id == client_id)
        with unscoped(self._session, why="a terminal's own orders, whatever region the card is of"):
            found: DebitOrderRow | None = await self._session.scalar(query.with_for_update(key_share=True))
        return found

    async def find(
        self, *, state: str | None, client_id: str | None, before: int | None, limit: int
    ) -> list[DebitOrderRow]:
        """Newest first; of one client, where one is given, else of the session's regions."""
        query = select(DebitOrderRow).order_by(DebitOrderRow.id.desc()).limit(limit)
        if client_id is not None:
            query = query.where(DebitOrderRow.client_id == client_id)
        if state is not None:
            query = query.where(DebitOrderRow.state == state)
        if before is not None:
            query = query.where(DebitOrderRow.id < before)
        if client_id is None:
            return list(await self._session.scalars(query))
        with unscoped(self._session, why="a terminal's own orders, whatever region the card is of"):
            return list(await self._session.scalars(query))
