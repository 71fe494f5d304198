"""Cards: born when a personalised card has been read back."""

from __future__ import annotations

from cardlib.identity import validate_card_number
from issuance.applications.models import ApplicationRow
from issuance.cards.models import CardRow
from issuance.cards.repository import CardRepository
from issuance.cards.schemas import STATE_NAMES, CardState, CardView
from issuance.ecards.repository import EcardRepository
from issuance.persons.repository import PersonRepository
from issuance.persons.service import masked
from issuance.problems import ProblemError
from issuance.unit import Unit


class CardService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._cards = CardRepository(unit.session)

    async def enable(self, application: ApplicationRow, identification_code: str) -> CardRow:
        """Record the card of a reserved application as normal. Raises ALREADY_ISSUED."""
        row = CardRow(
            card_number=application.card_number,
            application_id=application.id,
            person_id=application.person_id,
            reset_information=application.reset_information,
            identification_code=identification_code,
            region=application.region,
            generation=application.generation,
            state=CardState.NORMAL.value,
            issue_date=application.issue_date,
            expiry_date=application.expiry_date,
            created_at=self._unit.now,
            updated_at=self._unit.now,
        )
        if not await self._cards.add(row):
            raise ProblemError("ALREADY_ISSUED", "this person has a card", application_id=application.id)
        await self._unit.audit(
            "card.enable", f"card:{row.card_number}", region=row.region, application_id=application.id
        )
        return row

    async def view(self, card_number: str) -> CardView:
        number = validate_card_number(card_number)
        row = await self._cards.get(number)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such card")
        self._unit.caller.demand_region(row.region, subject=f"card:{number}")
        await self._unit.audit("card.read", f"card:{number}", region=row.region, application_id=row.application_id)
        ecard = await EcardRepository(self._unit.session).of_card(number)
        person = await PersonRepository(self._unit.session, self._unit.services.sealer).data(row.person_id)
        state = CardState(row.state)
        return CardView(
            card_number=row.card_number,
            state=state,
            state_name=STATE_NAMES[state],
            region=row.region,
            generation=row.generation,
            identification_code=row.identification_code,
            holder=masked(person),
            issue_date=row.issue_date,
            expiry_date=row.expiry_date,
            ecard_no=None if ecard is None else ecard.ecard_no,
        )
