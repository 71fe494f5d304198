"""What the holder does with the own electronic card: password, level, links, authorisation, loss."""

from __future__ import annotations

from typing import Literal

from issuance.bank.accounts import Accounts
from issuance.cards.commands import CardCommands
from issuance.cards.history import History
from issuance.cards.life_cycle import LifeCycle
from issuance.cards.machine import AccountState
from issuance.cards.schemas import CardOrder, LossOrder
from issuance.ecards import passwords
from issuance.ecards.access import HolderCall
from issuance.ecards.repository import LinkRepository
from issuance.ecards.schemas import EcardView, PasswordSet
from issuance.ecards.service import EcardService
from issuance.ecards.usability import NEEDS_AUTHORISATION, demand_usable, refusal
from issuance.problems import ProblemError

_REASON = "holder"


class HolderActs:
    """Each act is confirmed by the password (`busi_seq`) before it is called."""

    def __init__(self, call: HolderCall) -> None:
        self._call = call
        self._unit = call.unit

    async def view(self) -> EcardView:
        return await EcardService(self._unit).view(self._call.ecard, self._call.card, self._call.link.sign_no)

    async def set_password(self, password_hash: str, epoch: int, act: Literal["change", "reset"]) -> PasswordSet:
        """Raises CONFLICT when another request has changed it since it was of `epoch`."""
        ecard = await self._call.lock()
        if ecard.password_epoch != epoch:
            raise ProblemError("CONFLICT", "the password was changed meanwhile", subject=self._call.subject)
        passwords.set_password(ecard, password_hash)
        await self._call.audit(f"ecard.password_{act}")
        return PasswordSet(changed_at=self._unit.now)

    async def raise_level(self) -> EcardView:
        """二级签发. Raises ECARD_NOT_USABLE, ECARD_LEVEL without an active account."""
        ecard = await self._call.lock()
        demand_usable(self._unit, ecard, self._call.card)
        if await Accounts(self._unit).state(ecard.card_number) is not AccountState.ACTIVE:
            raise ProblemError("ECARD_LEVEL", "the card has no active bank account", subject=self._call.subject)
        if ecard.level != 2:
            ecard.level, ecard.updated_at = 2, self._unit.now
            await self._call.audit("ecard.level", level=2)
        return await self.view()

    async def unlink(self, sign_no: str) -> EcardView:
        """End one channel, this one or another. Raises NOT_FOUND for a number that is no live link of this card."""
        ended = await LinkRepository(self._unit.session).end(
            self._call.ecard.ecard_no, "unlinked", self._unit.now, sign_no=sign_no
        )
        if not ended:
            raise ProblemError("NOT_FOUND", "no such link", subject=self._call.subject)
        await self._call.audit("ecard.unlink", ended=sign_no)
        return await self.view()

    async def authorise(self) -> EcardView:
        """Go on with the electronic card of a lost card. Raises ECARD_NOT_USABLE where that cannot be."""
        card = await LifeCycle(self._unit).card(self._call.card.card_number)
        ecard = await self._call.lock()
        reason = refusal(self._unit, ecard, card)
        if reason not in ("", NEEDS_AUTHORISATION):
            raise ProblemError("ECARD_NOT_USABLE", reason, subject=self._call.subject)
        if reason:
            old, ecard.state = ecard.state, "authorised"
            ecard.updated_at = self._unit.now
            await History(self._unit).record(card, "ecard", "authorise", old, ecard.state)
            await self._call.audit("ecard.authorise")
        return await self.view()

    async def lose(self, kind: Literal["temporary", "formal"]) -> EcardView:
        """Raises CARD_STATE."""
        await CardCommands(self._unit).lose(self._call.card.card_number, LossOrder(kind=kind, reason=_REASON))
        return await self.view()

    async def release(self) -> EcardView:
        """Of a temporary loss, where the region releases online. Raises CARD_STATE, CLIENT_FORBIDDEN."""
        await CardCommands(self._unit).release(self._call.card.card_number, CardOrder(reason=_REASON))
        return await self.view()
