"""Queries over clients and used assertions."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clients.models import ClientRow, UsedAssertionRow
from issuance.database import add_unless_taken, forget, insert_new

_KEPT_LONGER = timedelta(minutes=5)
"""A request that was in time when it came may wait for the database; its nonce must still be known then."""
_FORGETTING = 32
"""One request in so many clears away what has expired."""


class ClientRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, client_id: str) -> ClientRow | None:
        return await self._session.get(ClientRow, client_id)

    async def all(self, region_prefix: str = "") -> list[ClientRow]:
        """Those of the regions that begin so; a client without region belongs to none."""
        query = select(ClientRow).order_by(ClientRow.id)
        if region_prefix:
            query = query.where(ClientRow.region.startswith(region_prefix))
        return list(await self._session.scalars(query))

    async def add(self, row: ClientRow) -> bool:
        """False when the id is taken."""
        return await add_unless_taken(self._session, row)

    async def set_status(self, client_id: str, status: str) -> bool:
        result = await self._session.execute(
            update(ClientRow).where(ClientRow.id == client_id).values(status=status).returning(ClientRow.id)
        )
        return result.first() is not None

    async def some(self, ids: Collection[str]) -> dict[str, ClientRow]:
        rows = await self._session.scalars(select(ClientRow).where(ClientRow.id.in_(ids)))
        return {row.id: row for row in rows}

    async def use_nonces(self, nonces: Mapping[tuple[str, str], datetime], now: datetime) -> frozenset[tuple[str, str]]:
        """Remember nonces, by client and nonce, until they expire; returns those that have not been used before."""
        if not secrets.randbelow(_FORGETTING):
            await forget(self._session, UsedAssertionRow, UsedAssertionRow.expires_at < now - _KEPT_LONGER)
        rows = [
            {"client_id": client_id, "nonce": nonce, "expires_at": nonces[client_id, nonce]}
            for client_id, nonce in sorted(nonces)
        ]
        return frozenset((key[0], key[1]) for key in await insert_new(self._session, UsedAssertionRow, rows))
