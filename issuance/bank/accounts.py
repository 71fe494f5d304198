"""The financial side of a card: its state here, what the bank is asked, and how the two are brought together.

What this service decides (loss, release, close) is told to the bank through the outbox. What the bank decides (opening,
activation, freezing) is taken over from its answers, notices and statements.
"""

from __future__ import annotations

from typing import Any, Literal

from issuance.bank.link import BankAccount, OperationKind
from issuance.bank.models import AccountRow
from issuance.bank.repository import AccountRepository
from issuance.cards.history import History
from issuance.cards.machine import BEFORE, AccountState, CardState, machines
from issuance.cards.models import CardRow
from issuance.ecards.repository import EcardRepository
from issuance.outbox.repository import OutboxRepository
from issuance.persons.repository import PersonRepository
from issuance.unit import Unit

_A = AccountState
_USABLE = frozenset({_A.INACTIVE, _A.ACTIVE, _A.FROZEN})
"""States in which the bank decides which of them it is."""
_REPORTED_LOST = (CardState.LOST, CardState.TEMPORARILY_LOST)
_OPERATIONS: dict[str, OperationKind] = {"open": "open", "lose": "lose", "release": "release", "close": "close"}
Resolution = Literal["agree", "adopt", "resend"]


class Accounts:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._accounts = AccountRepository(unit.session)
        self._history = History(unit)

    async def state(self, card_number: str) -> AccountState:
        row = await self._accounts.get(card_number)
        return _A.NONE if row is None else _A(row.state)

    async def open(self, card: CardRow) -> bool:
        """Ask the bank for an account; False when there is one or none can be had."""
        account = await self._accounts.get(card.card_number, is_locking=True)
        if account is None:
            account = self._new(card)
            await self._accounts.add(account)
        if account.state != _A.NONE:
            return False
        await self.change(card, account, "open", tells_bank=True)
        return True

    async def follow(self, card: CardRow, act: str, *, only_with_loss: bool, reason: str) -> None:
        """Have the account follow an act on the social security side, where it is in a state for that."""
        account = await self._accounts.get(card.card_number, is_locking=True)
        if account is None or account.state not in machines().transition("financial", act).sources:
            return
        if only_with_loss and not account.is_lost_with_card:
            return
        if account.state == _A.NONE:
            return
        await self.change(card, account, act, tells_bank=True, reason=reason, with_card=True)

    async def align(self, card: CardRow, account: AccountRow) -> None:
        """After the bank's word was taken over: the account follows the card where the card has moved on."""
        state = _A(account.state)
        if card.state == CardState.CANCELLED:
            if state not in (_A.NONE, _A.CLOSED):
                await self.change(card, account, "close", tells_bank=True)
        elif card.state in _REPORTED_LOST and state in _USABLE:
            await self.change(card, account, "lose", tells_bank=True, with_card=True)
        elif card.state not in _REPORTED_LOST and state is _A.LOST and account.is_lost_with_card:
            await self.change(card, account, "release", tells_bank=True, with_card=True)

    async def change(
        self,
        card: CardRow,
        account: AccountRow,
        act: str,
        *,
        tells_bank: bool,
        reason: str = "",
        with_card: bool = False,
    ) -> None:
        """One transition of a locked account, which the caller has found allowed."""
        transition = machines().transition("financial", act)
        old = account.state
        target = (account.state_before or _A.INACTIVE) if transition.target == BEFORE else transition.target
        if act == "lose":
            account.state_before, account.is_lost_with_card = old, with_card
        elif old == _A.LOST:
            account.state_before, account.is_lost_with_card = None, False
        await self._set(card, account, act, target, reason)
        if tells_bank:
            await self.tell(card, account, _OPERATIONS[act])

    async def adopt(self, card: CardRow, account: AccountRow, theirs: BankAccount) -> None:
        """Take over the bank's word."""
        self.keep_number(account, theirs.account_number)
        state = _A(theirs.state)
        if state is _A.LOST:
            account.state_before = account.state if account.state in _USABLE else _A.INACTIVE
        elif account.state == _A.LOST:
            account.state_before, account.is_lost_with_card = None, False
        if account.state != state:
            await self._set(card, account, "adopt", state, "")

    async def resend(self, card: CardRow, account: AccountRow, kind: OperationKind) -> None:
        """Say again what is decided here, under a new key: the bank answered the old one, or never will."""
        if kind == "open" and account.state != _A.OPENING:
            account.state_before, account.is_lost_with_card = None, False
            await self._set(card, account, "reopen", _A.OPENING, "")
        await self.tell(card, account, kind)

    async def tell(self, card: CardRow, account: AccountRow, kind: OperationKind) -> None:
        """Have the bank told, after whatever it is still to be told about this card."""
        order: dict[str, Any] = {"card_number": card.card_number, "region": card.region}
        if kind == "open":
            person = await PersonRepository(self._unit.session, self._unit.services.sealer).data(card.person_id)
            order["holder"] = {"name": person.name, "number": person.social_security_number}
        account.operation = kind
        account.operation_id = await self._unit.send(
            f"bank.{kind}", key_of(card.card_number), order, region=card.region, is_personal=kind == "open"
        )

    async def is_in_flight(self, card_number: str) -> bool:
        """Whether the bank is still to be told something about this card."""
        return await OutboxRepository(self._unit.session).pending_of(key_of(card_number)) > 0

    def keep_number(self, account: AccountRow, number: str) -> None:
        account.sealed_account = self._unit.services.sealer.seal(number, _context(account.card_number))

    def masked_number(self, account: AccountRow) -> str | None:
        """Last four digits."""
        if account.sealed_account is None:
            return None
        number: str = self._unit.services.sealer.unseal(account.sealed_account, _context(account.card_number))
        return "*" * (len(number) - 4) + number[-4:]

    async def _set(self, card: CardRow, account: AccountRow, act: str, target: str, reason: str) -> None:
        old, account.state = account.state, target
        account.since, account.by = self._unit.now, self._unit.by
        if target in (_A.NONE, _A.CLOSED):
            await EcardRepository(self._unit.session).lower(card.card_number)
        await self._history.record(card, "financial", act, old, target, reason=reason)

    def _new(self, card: CardRow) -> AccountRow:
        return AccountRow(
            card_number=card.card_number,
            region=card.region,
            state=_A.NONE.value,
            is_lost_with_card=False,
            since=self._unit.now,
            by=self._unit.by,
        )


def resolution_of(account: AccountRow, theirs: BankAccount | None) -> tuple[Resolution, OperationKind | None]:
    """How a difference ends when nothing is on its way: what is decided here is said again, the rest taken over."""
    ours = _A(account.state)
    state = _A.NONE if theirs is None else _A(theirs.state)
    is_theirs_gone = state in (_A.NONE, _A.CLOSED)
    if ours is state:
        return "agree", None
    if ours in (_A.NONE, _A.CLOSED):
        return ("agree", None) if is_theirs_gone else ("resend", "close")
    if state is _A.CLOSED:
        return "adopt", None
    if state is _A.NONE:
        return "resend", "open"
    if ours is _A.LOST and account.is_lost_with_card:
        return "resend", "lose"
    if state is _A.LOST and account.operation == "release":
        return "resend", "release"
    return "adopt", None


def key_of(card_number: str) -> str:
    """Key of the outbox: what concerns one card reaches the bank in order."""
    return f"bank:{card_number}"


def _context(card_number: str) -> str:
    return f"card_accounts:{card_number}"
