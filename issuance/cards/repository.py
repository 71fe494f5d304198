"""Queries over cards."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.cards.models import CardRow
from issuance.database import add_unless_taken


class CardRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: CardRow) -> bool:
        """False when the person has a live card, or number or chip belong to another card."""
        return await add_unless_taken(self._session, row)

    async def get(self, card_number: str) -> CardRow | None:
        return await self._session.get(CardRow, card_number)

    async def live_of(self, person_id: str) -> CardRow | None:
        found: CardRow | None = await self._session.scalar(
            select(CardRow).where(CardRow.person_id == person_id, CardRow.state != "9")
        )
        return found
