"""Electronic cards: made with their cards, shown to their phones."""

from __future__ import annotations

import secrets

from issuance.cards.models import CardRow
from issuance.cards.schemas import CardState
from issuance.ecards.models import EcardRow
from issuance.ecards.repository import EcardRepository, LinkRepository
from issuance.ecards.schemas import (
    EcardState,
    EcardView,
    LinkView,
)
from issuance.ecards.usability import usability
from issuance.problems import ProblemError
from issuance.unit import Unit


class EcardService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._ecards = EcardRepository(unit.session)

    async def create(self, card: CardRow) -> str:
        """The electronic card of a card just enabled, level 1, or the one it took over; returns its number."""
        moved = await self._ecards.of_card(card.card_number)
        if moved is not None:
            return moved.ecard_no
        row = EcardRow(
            ecard_no=secrets.token_hex(16),
            card_number=card.card_number,
            person_id=card.person_id,
            level=1,
            state="active",
            password_epoch=0,
            wrong_at=[],
            created_at=self._unit.now,
            updated_at=self._unit.now,
        )
        if not await self._ecards.add(row):
            raise ProblemError("CONFLICT", "this card has an electronic card", application_id=card.application_id)
        await self._unit.audit(
            "ecard.create", f"ecard:{row.ecard_no}", region=card.region, application_id=card.application_id
        )
        return row.ecard_no

    async def view(self, ecard: EcardRow, card: CardRow, sign_no: str) -> EcardView:
        """As the phone of `sign_no` shows it."""
        found = await usability(self._unit, ecard, card)
        links = await LinkRepository(self._unit.session).of(ecard.ecard_no)
        until = ecard.password_locked_until
        return EcardView(
            ecard_no=ecard.ecard_no,
            level=found.level,
            state=EcardState(ecard.state),
            usable=found.is_usable,
            reason=found.reason,
            region=card.region,
            card_state=CardState(card.state),
            temporary_until=card.temporary_until,
            links=[
                LinkView(
                    sign_no=row.sign_no,
                    channel=name,
                    channel_no=number,
                    signed_at=row.signed_at,
                    is_this_phone=row.sign_no == sign_no,
                )
                for row, name, number in links
            ],
            password_locked_until=until if until is not None and until > self._unit.now else None,
        )
