"""Queries over card sessions and their exchanges."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, false, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import ROW_LOCK, add_unless_taken
from issuance.scope import unscoped
from issuance.sessions.models import CardSessionRow, ExchangeRow


class SessionRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: CardSessionRow) -> bool:
        """False when card or application have a running session (the database's own constraints)."""
        return await add_unless_taken(self._session, row)

    async def subject(self, session_id: str) -> tuple[str | None, str, str | None] | None:
        """Application, chip and card number of a session; they never change, so nothing is locked."""
        query = select(CardSessionRow.application_id, CardSessionRow.reset_information, CardSessionRow.card_number)
        found = (await self._session.execute(query.where(CardSessionRow.id == session_id))).first()
        return None if found is None else (found[0], found[1], found[2])

    async def get(self, session_id: str) -> CardSessionRow | None:
        """Locked for the rest of the transaction."""
        return await self._session.get(CardSessionRow, session_id, with_for_update=ROW_LOCK)

    async def supersede(self, now: datetime, *, application_id: str | None, reset_information: str | None) -> list[str]:
        """End the running sessions of this application and of this card; returns their ids."""
        theirs = []
        if application_id is not None:
            theirs.append(CardSessionRow.application_id == application_id)
        if reset_information is not None:
            theirs.append(CardSessionRow.reset_information == reset_information)
        statement = (
            update(CardSessionRow)
            .where(CardSessionRow.state == "running", or_(false(), *theirs))
            .values(state="superseded", updated_at=now)
            .returning(CardSessionRow.id)
        )
        with unscoped(self._session, why="one running session a chip, wherever it was begun"):
            return list(await self._session.scalars(statement))

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

    async def was_answered(self, application_id: str) -> bool:
        """Whether a card has answered in any session of this application: then something may have been written."""
        found = await self._session.scalar(
            select(ExchangeRow.sequence)
            .join(CardSessionRow, CardSessionRow.id == ExchangeRow.session_id)
            .where(CardSessionRow.application_id == application_id, ExchangeRow.sequence > 0)
            .limit(1)
        )
        return found is not None

    async def forget_orders(self, application_id: str) -> None:
        """What the sessions of an issued card were ordered to write, and every answer but the one that ends it."""
        theirs = select(CardSessionRow.id).where(CardSessionRow.application_id == application_id)
        no_sync = {"synchronize_session": False}
        await self._session.execute(
            delete(ExchangeRow).where(ExchangeRow.session_id.in_(theirs)), execution_options=no_sync
        )
        await self._session.execute(
            update(CardSessionRow).where(CardSessionRow.application_id == application_id).values(sealed_order=b""),
            execution_options=no_sync,
        )

    async def forget_exchanges(self, session_id: str, before: int) -> None:
        await self._session.execute(
            delete(ExchangeRow).where(ExchangeRow.session_id == session_id, ExchangeRow.sequence < before),
            execution_options={"synchronize_session": False},
        )

    async def exchange(self, session_id: str, sequence: int) -> ExchangeRow | None:
        return await self._session.get(ExchangeRow, (session_id, sequence))

    async def exchanges(self, session_id: str) -> list[ExchangeRow]:
        query = select(ExchangeRow).where(ExchangeRow.session_id == session_id).order_by(ExchangeRow.sequence)
        return list(await self._session.scalars(query))
