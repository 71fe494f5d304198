"""Cryptograms of the medical account: who may load, who may settle, and what the card proves afterwards.

Card specification draft P7 §11, §12, §15. The messages are built here, so that nobody can ask a transaction key for a
MAC over anything else; MAC2 of a load is given only for a card whose MAC1 was right.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import ClassVar, Protocol

from hsm import card_crypto
from hsm.api import BadInputError, CardFactors, HsmError, KeyRef, Purpose
from hsm.primitives import Engine

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


class CardKeySource(Protocol):
    """The inside of a key service in this process, as `hsm.soft.SoftKeyService` has it."""

    _engine: Engine

    def _card_key(self, key: KeyRef, factors: CardFactors, *purposes: Purpose) -> bytes: ...


class SoftTransactionKeys(TransactionKeys):
    """`TransactionKeys` over a key service in software; purposes LOAD, PURCHASE and TAC are enforced by it."""

    def __init__(self, service: CardKeySource) -> None:
        self._service = service

    def load_mac2(self, key: KeyRef, factors: CardFactors, load: Load, mac1: bytes) -> bytes:
        session = self._session(key, factors, Purpose.LOAD, load.session_input)
        _compare(self._mac(key, session, load.mac1_message), mac1, "MAC1 of the card")
        return self._mac(key, session, load.mac2_message)

    def purchase_mac1(self, key: KeyRef, factors: CardFactors, purchase: Purchase) -> bytes:
        session = self._session(key, factors, Purpose.PURCHASE, purchase.session_input)
        return self._mac(key, session, purchase.mac1_message)

    def check_purchase(self, key: KeyRef, factors: CardFactors, purchase: Purchase, mac2: bytes) -> None:
        session = self._session(key, factors, Purpose.PURCHASE, purchase.session_input)
        _compare(self._mac(key, session, purchase.amounts), mac2, "MAC2 of the card")

    def check_tac(self, key: KeyRef, factors: CardFactors, transaction: Load | Purchase, tac: bytes) -> None:
        card_key = self._service._card_key(key, factors, Purpose.TAC)
        expected = card_crypto.tac(self._service._engine, key.algorithm, card_key, transaction.tac_message)
        _compare(expected, tac, "TAC")

    def _session(self, key: KeyRef, factors: CardFactors, purpose: Purpose, session_input: bytes) -> bytes:
        card_key = self._service._card_key(key, factors, purpose)
        return card_crypto.session_key(self._service._engine, key.algorithm, card_key, session_input)

    def _mac(self, key: KeyRef, session: bytes, message: bytes) -> bytes:
        return card_crypto.mac(self._service._engine, key.algorithm, session, message)


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
