"""What happens to an electronic card when something happens to its card (`states.toml`, coupling)."""

from __future__ import annotations

from typing import Literal

from issuance.cards.history import History
from issuance.cards.models import CardRow
from issuance.ecards.models import EcardRow
from issuance.ecards.repository import EcardRepository, FamilyRepository
from issuance.unit import Unit

_STATES = {
    "suspend": (("active", "authorised"), "suspended"),
    "restore": (("suspended", "authorised"), "active"),
    "cancel": (("active", "suspended", "authorised", "locked"), "cancelled"),
}


class EcardCoupling:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._ecards = EcardRepository(unit.session)
        self._history = History(unit)

    async def follow(self, card: CardRow, act: Literal["suspend", "restore", "cancel"]) -> None:
        """Suspend, restore or cancel the electronic card of a locked card, where it is in a state for that."""
        ecard = await self._ecards.of_card(card.card_number, is_locking=True)
        sources, target = _STATES[act]
        if ecard is None or ecard.state not in sources:
            return
        old, ecard.state = ecard.state, target
        ecard.updated_at = self._unit.now
        if act == "cancel":
            await self._end(ecard)
        await self._history.record(card, "ecard", act, old, target)

    async def _end(self, ecard: EcardRow) -> None:
        """Links stay, so that phones can show why; what was private on them goes."""
        ecard.level, ecard.password_hash = 1, None
        await FamilyRepository(self._unit.session).end_all(ecard.ecard_no, self._unit.now)

    async def move(self, old: CardRow, new: CardRow) -> str | None:
        """The electronic card goes on with the card that follows, without being issued again; returns its number.

        None when the old card has none that can.
        """
        ecard = await self._ecards.of_card(old.card_number, is_locking=True)
        if ecard is None or ecard.state == "cancelled":
            return None
        before, ecard.state, ecard.card_number = ecard.state, "active", new.card_number
        ecard.updated_at = self._unit.now
        await self._unit.session.flush()
        await self._history.record(new, "ecard", "move", before, "active", detail={"from": old.card_number})
        await self._unit.audit(
            "ecard.move", f"ecard:{ecard.ecard_no}", region=new.region, application_id=new.application_id
        )
        return ecard.ecard_no
