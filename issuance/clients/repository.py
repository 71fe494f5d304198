"""Queries over clients and used assertions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clients.models import ClientRow, UsedAssertionRow


class ClientRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, client_id: str) -> ClientRow | None:
        return await self._session.get(ClientRow, client_id)

    async def all(self) -> list[ClientRow]:
        return list(await self._session.scalars(select(ClientRow).order_by(ClientRow.id)))

    async def add(self, row: ClientRow) -> bool:
        """False when the id is taken."""
        try:
            async with self._session.begin_nested():
                self._session.add(row)
        except IntegrityError:
            return False
        return True

    async def set_status(self, client_id: str, status: str) -> bool:
        result = await self._session.execute(
            update(ClientRow).where(ClientRow.id == client_id).values(status=status).returning(ClientRow.id)
        )
        return result.first() is not None

    async def use_nonce(self, client_id: str, nonce: str, expires_at: datetime, now: datetime) -> bool:
        """Remember a nonce until it expires; False when it has been used before."""
        await self._session.execute(delete(UsedAssertionRow).where(UsedAssertionRow.expires_at < now))
        try:
            async with self._session.begin_nested():
                self._session.add(UsedAssertionRow(client_id=client_id, nonce=nonce, expires_at=expires_at))
        except IntegrityError:
            return False
        return True
