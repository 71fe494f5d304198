"""Queries over cards."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.cards.models import CardRow


class CardRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: CardRow) -> bool:
        """False when the person has a live card, or number or chip belong to another card."""
        try:
            async with self._session.begin_nested():
                self._session.add(row)
        except IntegrityError:
            return False
        return True

    async def get(self, card_number: str) -> CardRow | None:
        return await self._session.get(CardRow, card_number)

    async def live_of(self, person_id: str) -> CardRow | None:
        found: CardRow | None = await self._session.scalar(
            select(CardRow).where(CardRow.person_id == person_id, CardRow.state != "9")
        )
        return found
