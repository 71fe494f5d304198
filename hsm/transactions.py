"""Cryptograms of the medical account: who may load, who may settle, and what the card proves afterwards.

Card specification draft P7 §11, §12, §15. The messages are built here, so that nobody can ask a transaction key for a
MAC over anything else; MAC2 of a load is given only for a card whose MAC1 was right.
"""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from hsm import card_rules
from hsm.api import BadInputError, CardFactors, HsmError, KeyPurposeError, KeyRef, Purpose
from hsm.device import DeviceKey

T = TypeVar("T")
TYPE_LOAD = 0x31
TYPE_PURCHASE = 0x32
_LOAD_END = b"\x80\x00"
_LENGTHS = {"random": 4, "terminal": 6, "time": 7, "number": 4}


class CryptogramError(HsmError):
    """A MAC or TAC of the card is wrong: the card does not hold the key, or the answer was changed on its way."""

    failure: ClassVar[str] = "SECURE_MESSAGING_FAILED"


@dataclass(frozen=True, slots=True)
class Load:
    """One account load (账户划入). Amounts in fen; `balance` before it; `time` seven BCD bytes of the host."""

    random: bytes
    sequence: int
    balance: int
    amount: int
    terminal: bytes
    time: bytes

    def __post_init__(self) -> None:
        _check(self, ("random", "terminal", "time"), (self.balance, self.amount, self.balance + self.amount))

    @property
    def session_input(self) -> bytes:
        return self.random + _u2(self.sequence) + _LOAD_END

    @property
    def mac1_message(self) -> bytes:
        return _u4(self.balance) + _u4(self.amount) + bytes((TYPE_LOAD,)) + self.terminal

    @property
    def mac2_message(self) -> bytes:
        return _u4(self.amount) + bytes((TYPE_LOAD,)) + self.terminal + self.time

    @property
    def tac_message(self) -> bytes:
        """The balance is the one after the load (OPEN C12)."""
        return _u4(self.balance + self.amount) + _u2(self.sequence) + self.mac2_message


@dataclass(frozen=True, slots=True)
class Purchase:
    """One settlement (医疗消费). Amounts in fen; `number` is the terminal's, four bytes; `time` seven BCD bytes."""

    random: bytes
    sequence: int
    account: int
    self_paid: int
    pooling: int
    terminal: bytes
    number: bytes
    time: bytes

    def __post_init__(self) -> None:
        _check(self, ("random", "terminal", "number", "time"), (self.account, self.self_paid, self.pooling))

    @property
    def amounts(self) -> bytes:
        return _u4(self.account) + _u4(self.self_paid) + _u4(self.pooling)

    @property
    def session_input(self) -> bytes:
        return self.random + _u2(self.sequence) + self.number[2:]

    @property
    def mac1_message(self) -> bytes:
        return self.amounts + bytes((TYPE_PURCHASE,)) + self.terminal + self.time

    @property
    def tac_message(self) -> bytes:
        return self.amounts + bytes((TYPE_PURCHASE,)) + self.terminal + self.number + self.time


@runtime_checkable
class TransactionKeys(Protocol):
    """What a key service does for the medical account. `key` names DLK, DPK or DTK with its version (key index)."""

    def load_mac2(self, key: KeyRef, factors: CardFactors, load: Load, mac1: bytes) -> bytes:
        """The issuer's leave to load, 4 bytes. Raises CryptogramError when the card's `mac1` is wrong."""
        ...

    def purchase_mac1(self, key: KeyRef, factors: CardFactors, purchase: Purchase) -> bytes:
        """The terminal's leave to debit, 4 bytes."""
        ...

    def check_purchase(self, key: KeyRef, factors: CardFactors, purchase: Purchase, mac2: bytes) -> None:
        """Raises CryptogramError when the card's `mac2` after a debit is wrong."""
        ...

    def check_tac(self, key: KeyRef, factors: CardFactors, transaction: Load | Purchase, tac: bytes) -> None:
        """Raises CryptogramError when the transaction certificate is wrong."""
        ...


class TransactionOperations(ABC):
    """`TransactionKeys` over what a key service is made of; purposes LOAD, PURCHASE and TAC are enforced by it."""

    @abstractmethod
    def _with_card_key(
        self, key: KeyRef, factors: CardFactors, purposes: tuple[Purpose, ...], operation: Callable[[DeviceKey], T]
    ) -> T:
        """`operation` with the card's own key."""

    @abstractmethod
    def _tac_key(self, key: KeyRef, factors: CardFactors) -> DeviceKey:
        """The key the card's TAC is computed with."""

    def load_mac2(self, key: KeyRef, factors: CardFactors, load: Load, mac1: bytes) -> bytes:
        def mac2(card: DeviceKey) -> bytes:
            session = card_rules.session_key(card, load.session_input)
            _compare(card_rules.mac(session, load.mac1_message), mac1, "MAC1 of the card")
            return card_rules.mac(session, load.mac2_message)

        return self._with_card_key(key, factors, (Purpose.LOAD,), mac2)

    def purchase_mac1(self, key: KeyRef, factors: CardFactors, purchase: Purchase) -> bytes:
        return self._purchase_mac(key, factors, purchase, purchase.mac1_message)

    def check_purchase(self, key: KeyRef, factors: CardFactors, purchase: Purchase, mac2: bytes) -> None:
        _compare(self._purchase_mac(key, factors, purchase, purchase.amounts), mac2, "MAC2 of the card")

    def check_tac(self, key: KeyRef, factors: CardFactors, transaction: Load | Purchase, tac: bytes) -> None:
        _compare(card_rules.mac(self._tac_key(key, factors), transaction.tac_message), tac, "TAC")

    def _purchase_mac(self, key: KeyRef, factors: CardFactors, purchase: Purchase, message: bytes) -> bytes:
        return self._with_card_key(
            key,
            factors,
            (Purpose.PURCHASE,),
            lambda card: card_rules.mac(card_rules.session_key(card, purchase.session_input), message),
        )


def transaction_keys(service: object) -> TransactionKeys:
    """The medical account's side of a key service. Raises KeyPurposeError where it has none."""
    if isinstance(service, TransactionKeys):
        return service
    raise KeyPurposeError("this key service does not serve the medical account")


def _compare(expected: bytes, given: bytes, what: str) -> None:
    if not hmac.compare_digest(expected, given):
        raise CryptogramError(f"{what} is wrong")


def _check(transaction: Load | Purchase, fields: tuple[str, ...], amounts: tuple[int, ...]) -> None:
    for name in fields:
        if len(getattr(transaction, name)) != _LENGTHS[name]:
            raise BadInputError(f"{name} must have {_LENGTHS[name]} bytes")
    if not 0 <= transaction.sequence <= 0xFFFF or not all(0 <= amount <= 0xFFFFFFFF for amount in amounts):
        raise BadInputError("a counter or an amount is out of bounds")


def _u2(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _u4(value: int) -> bytes:
    return value.to_bytes(4, "big")
