"""Queries over card sessions and their exchanges."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.sessions.models import CardSessionRow, ExchangeRow


class SessionRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: CardSessionRow) -> None:
        self._session.add(row)
        await self._session.flush()

    async def get(self, session_id: str) -> CardSessionRow | None:
        """Locked for the rest of the transaction where the database can."""
        return await self._session.get(CardSessionRow, session_id, with_for_update=True)

    async def supersede(self, now: datetime, *, application_id: str | None, reset_information: str | None) -> list[str]:
        """End the running sessions of this application and of this card; returns their ids."""
        ended = await self._session.scalars(
            update(CardSessionRow)
            .where(
                CardSessionRow.state == "running",
                or_(
                    CardSessionRow.application_id == application_id,
                    CardSessionRow.reset_information == reset_information,
                ),
            )
            .values(state="superseded", updated_at=now)
            .returning(CardSessionRow.id)
        )
        return list(ended)

    async def last_done(self, application_id: str) -> CardSessionRow | None:
        """The session that issued the application's card."""
        found: CardSessionRow | None = await self._session.scalar(
            select(CardSessionRow).where(
                CardSessionRow.application_id == application_id, CardSessionRow.state == "done"
            )
        )
        return found

    async def add_exchange(self, row: ExchangeRow) -> None:
        self._session.add(row)
        await self._session.flush()

    async def exchange(self, session_id: str, sequence: int) -> ExchangeRow | None:
        return await self._session.get(ExchangeRow, (session_id, sequence))

    async def exchanges(self, session_id: str) -> list[ExchangeRow]:
        query = select(ExchangeRow).where(ExchangeRow.session_id == session_id).order_by(ExchangeRow.sequence)
        return list(await self._session.scalars(query))
