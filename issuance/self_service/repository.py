"""Queries behind what a kiosk shows of one person."""

from __future__ import annotations

from datetime import date

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.applications.models import PaymentRow
from issuance.cards.models import CardRow
from issuance.persons.models import PersonRow
from issuance.photos.models import PhotoRow
from issuance.production.models import LineRow
from issuance.production.states import LineState
from issuance.sessions.models import CardSessionRow

_MOST_CARDS = 20
_LEFT = (LineState.ISSUED.value, LineState.RELEASED.value)


class KioskRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def person(self, number_index: bytes) -> PersonRow | None:
        """Of an erased person there is nothing to be shown."""
        query = select(PersonRow).where(PersonRow.number_index == number_index, PersonRow.erased_at.is_(None))
        found: PersonRow | None = await self._session.scalar(query)
        return found

    async def cards(self, person_id: str) -> list[CardRow]:
        """Newest first, of the regions served."""
        query = select(CardRow).where(CardRow.person_id == person_id)
        order = query.order_by(CardRow.created_at.desc(), CardRow.card_number).limit(_MOST_CARDS)
        return list(await self._session.scalars(order))

    async def photos(self, person_id: str, taken_from: date) -> list[PhotoRow]:
        """Newest first."""
        query = select(PhotoRow).where(PhotoRow.person_id == person_id, PhotoRow.taken_on >= taken_from)
        return list(await self._session.scalars(query.order_by(PhotoRow.created_at.desc()).limit(5)))

    async def is_in_batch(self, application_id: str) -> bool:
        lines = exists().where(LineRow.application_id == application_id, LineRow.state.not_in(_LEFT))
        return bool(await self._session.scalar(select(lines)))

    async def has_begun(self, application_id: str, client_id: str, reset_information: str | None = None) -> bool:
        """A card of this application, or that card."""
        row = CardSessionRow
        mine = exists().where(row.application_id == application_id, row.client_id == client_id)
        if reset_information is not None:
            mine = mine.where(row.reset_information == reset_information)
        return bool(await self._session.scalar(select(mine)))

    async def payment(self, application_id: str) -> PaymentRow | None:
        return await self._session.get(PaymentRow, application_id)
