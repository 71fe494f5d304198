"""What the outbox sends to the bank (`bank.*`), and what is made of the answers.

The message id is the bank's operation key. A message that may have reached the bank before is asked about first; so is
one whose answer did not come or is not about this card. Nothing is ever taken for granted.
"""

from __future__ import annotations

from typing import Any, cast

from issuance.bank.accounts import Accounts, resolution_of
from issuance.bank.link import BankAccount, BankClosedError, BankLink, BankReply, BankSilentError, OperationKind
from issuance.bank.repository import AccountRepository
from issuance.cards.machine import AccountState
from issuance.cards.repository import CardRepository
from issuance.outbox.delivery import Envelope, NotDeliveredError
from issuance.unit import Unit

QUERY = "bank.query"
"""Topic of a question: what has the bank for this card? The answer settles the difference."""


class BankReceiver:
    def __init__(self, bank: BankLink) -> None:
        self._bank = bank

    async def deliver(self, envelope: Envelope) -> BankReply | BankAccount | None:
        try:
            if envelope.topic == QUERY:
                return await self._bank.account(envelope.body["card_number"])
            return await self._perform(envelope)
        except BankClosedError as error:
            raise NotDeliveredError("bank_closed", not_before=error.opens_at) from None
        except BankSilentError as error:
            raise NotDeliveredError("bank_silent") from error

    async def settle(self, unit: Unit, envelope: Envelope, answer: Any) -> str | None:
        card = await CardRepository(unit.session).get(envelope.body["card_number"], is_locking=True)
        account = await AccountRepository(unit.session).get(envelope.body["card_number"], is_locking=True)
        if card is None or account is None:
            return "card_unknown"
        accounts = Accounts(unit)
        if envelope.topic == QUERY:
            resolution, kind = resolution_of(account, answer)
            if resolution == "adopt":
                await accounts.adopt(card, account, answer)
            elif kind is not None:
                await accounts.resend(card, account, kind)
            await accounts.align(card, account)
            return None
        reply = cast(BankReply, answer)
        if reply.result == "refused":
            if reply.kind == "open" and account.state == AccountState.OPENING:
                await accounts.change(card, account, "refused", tells_bank=False, reason=reply.reason)
            return f"refused:{reply.reason}"
        await _take_in(accounts, card, account, envelope, reply)
        return None

    async def _perform(self, envelope: Envelope) -> BankReply:
        if envelope.attempt > 1:
            known = await self._asked(envelope)
            if known is not None:
                return known
        kind = cast(OperationKind, envelope.topic.partition(".")[2])
        try:
            reply = await self._bank.perform(envelope.message_id, kind, envelope.body)
        except BankSilentError:
            reply = None
        if reply is None or not _is_about(reply, envelope):
            reply = await self._asked(envelope)
        if reply is None:
            raise NotDeliveredError("bank_silent")
        return reply

    async def _asked(self, envelope: Envelope) -> BankReply | None:
        """What the bank knows of this operation. Raises NotDeliveredError for an answer about something else."""
        reply = await self._bank.operation(envelope.message_id)
        if reply is not None and not _is_about(reply, envelope):
            raise NotDeliveredError("bank_wrong_card")
        return reply


def _is_about(reply: BankReply, envelope: Envelope) -> bool:
    cards = {reply.card_number} | ({reply.account.card_number} if reply.account is not None else set())
    kind = envelope.topic.partition(".")[2]
    return (reply.operation_key, reply.kind, cards) == (envelope.message_id, kind, {envelope.body["card_number"]})


async def _take_in(accounts: Accounts, card: Any, account: Any, envelope: Envelope, reply: BankReply) -> None:
    """An answer to the latest operation tells how the account stands; one to an older operation only its number."""
    theirs = reply.account
    if theirs is None:
        return
    accounts.keep_number(account, theirs.account_number)
    if account.operation_id != envelope.message_id:
        return
    await accounts.adopt(card, account, theirs)
    await accounts.align(card, account)
