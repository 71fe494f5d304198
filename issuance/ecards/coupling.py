"""What happens to an electronic card when something happens to its card (`states.toml`, coupling)."""

from __future__ import annotations

from typing import Literal

from issuance.cards.history import History
from issuance.cards.models import CardRow
from issuance.ecards.repository import EcardRepository
from issuance.unit import Unit

_STATES = {"suspend": ("active", "suspended"), "restore": ("suspended", "active")}


class EcardCoupling:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._ecards = EcardRepository(unit.session)
        self._history = History(unit)

    async def follow(self, card: CardRow, act: Literal["suspend", "restore", "cancel"]) -> None:
        """Suspend, restore or cancel the electronic card of a locked card, where it is in a state for that."""
        ecard = await self._ecards.of_card(card.card_number, is_locking=True)
        if ecard is None or ecard.state == "cancelled":
            return
        old, new = (ecard.state, "cancelled") if act == "cancel" else _STATES[act]
        if ecard.state != old:
            return
        ecard.state, ecard.updated_at = new, self._unit.now
        await self._history.record(card, "ecard", act, old, new)

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
