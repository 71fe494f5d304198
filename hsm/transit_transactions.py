"""Cryptograms of the 交通联合 purse: who may load or overdraw it, and what it proves afterwards (transit_card.md §3).

The messages are built here, so that nobody can ask a transit key for a MAC over anything else; MAC2 of a load or of an
overdraft limit is given only for a purse whose MAC1 was right. The operator diversifies its roots in its own
way: by the issuer, then by the last eight bytes of the serial (两级分散).

SM4 follows the recommended reading of OPEN X3 in one place: `hsm.card_rules`, whose session key and MAC are those of
the social security card. `is_mac_folded` False takes the left four bytes of the last SM4 block instead.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from hsm import card_rules
from hsm.api import Algorithm, BadInputError, KeyRef, Purpose
from hsm.device import DeviceKey
from hsm.transactions import CryptogramError

T = TypeVar("T")

DPK, DLK, DTK, DUK, DAMK = "TR_DPK", "TR_DLK", "TR_DTK", "TR_DUK", "TR_DAMK"
"""Key names in the service: purchase, load, TAC, overdraft limit, maintenance."""
PURPOSES = {
    DPK: Purpose.PURCHASE,
    DLK: Purpose.LOAD,
    DTK: Purpose.TAC,
    DUK: Purpose.LOAD,
    DAMK: Purpose.MASTER,
}
TYPE_LOAD, TYPE_OVERDRAFT = 0x02, 0x07
_ONLINE_END = b"\x80\x00"
_LENGTHS = {"issuer": 8, "factor": 8, "random": 4, "terminal": 6}


@dataclass(frozen=True, slots=True)
class TransitTransaction:
    """One transaction of a purse. Amounts in fen; `sequence` and `balance` as INITIALIZE showed them.

    `end` closes the session key's input: the low two bytes of the terminal's number, or 8000 online. `limit` is the
    overdraft limit before the transaction.
    """

    kind: int
    issuer: bytes
    factor: bytes
    random: bytes
    sequence: int
    balance: int
    amount: int
    terminal: bytes
    terminal_sequence: bytes = b""
    limit: int = 0

    def __post_init__(self) -> None:
        for name, length in _LENGTHS.items():
            if len(getattr(self, name)) != length:
                raise BadInputError(f"{name} must have {length} bytes")
        if len(self.terminal_sequence) not in (0, 4):
            raise BadInputError("terminal_sequence must have 4 bytes")
        within = 0 <= self.sequence <= 0xFFFF and 0 <= self.limit <= 0xFFFFFF
        if not within or not all(0 <= amount <= 0x7FFFFFFF for amount in (self.balance, self.amount)):
            raise BadInputError("a counter or an amount is out of bounds")

    @property
    def session_input(self) -> bytes:
        end = _ONLINE_END if self.is_online else self.terminal_sequence[2:]
        return self.random + self.sequence.to_bytes(2, "big") + end

    @property
    def is_online(self) -> bool:
        return self.kind in (TYPE_LOAD, TYPE_OVERDRAFT)

    @property
    def amount_field(self) -> bytes:
        """A new overdraft limit has three bytes."""
        return self.amount.to_bytes(3 if self.kind == TYPE_OVERDRAFT else 4, "big")

    @property
    def start(self) -> bytes:
        return self.amount_field + bytes((self.kind,)) + self.terminal

    @property
    def mac1_message(self) -> bytes:
        """What the purse proves before an online transaction."""
        middle = self.limit.to_bytes(3, "big") if self.kind == TYPE_OVERDRAFT else self.amount_field
        return self.balance.to_bytes(4, "big") + middle + bytes((self.kind,)) + self.terminal

    def tac_message(self, moment: bytes) -> bytes:
        """Available balance afterwards and online number, or the terminal's number for purchases."""
        if not self.is_online:
            return self.start + self.terminal_sequence + moment
        # The balance INITIALIZE shows is the available one (OPEN X4): another limit moves it by the difference.
        gain = self.amount - self.limit if self.kind == TYPE_OVERDRAFT else self.amount
        after = self.balance + gain
        if not 0 <= after <= 0xFFFFFFFF:
            raise BadInputError("the balance afterwards is out of bounds")
        return after.to_bytes(4, "big") + self.sequence.to_bytes(2, "big") + self.start + moment


class TransitTransactionKeys(Protocol):
    """What a key service does for the purse. `algorithm` and `version` name the roots to use."""

    def online_mac2(
        self, algorithm: Algorithm, version: int, transaction: TransitTransaction, mac1: bytes, moment: bytes
    ) -> bytes:
        """The operator's leave to load or to change the overdraft limit; `moment` (7 bytes BCD) is its own clock.

        Raises CryptogramError when the purse's `mac1` is wrong.
        """
        ...

    def check_tac(
        self, algorithm: Algorithm, version: int, transaction: TransitTransaction, moment: bytes, tac: bytes
    ) -> None:
        """Raises CryptogramError when the certificate of a finished transaction is not the purse's own."""
        ...

    def purchase_macs(
        self, algorithm: Algorithm, version: int, transaction: TransitTransaction, moment: bytes
    ) -> tuple[bytes, bytes]:
        """MAC1 and MAC2 of a purchase, as PSAM and purse compute them: for a terminal without a PSAM."""
        ...

    def maintenance_mac(
        self, algorithm: Algorithm, version: int, issuer: bytes, factor: bytes, challenge: bytes, header: bytes
    ) -> bytes:
        """MAC of a maintenance command without data; `header` is CLA INS P1 P2, the IV is the purse's challenge."""
        ...


class KeysAtHand(Protocol):
    """The inside of a key service in this process, see `hsm.service.StoreKeyService`."""

    def use_key(self, key: KeyRef, purpose: Purpose, operation: Callable[[DeviceKey], T]) -> T: ...

    def software_key(self, algorithm: Algorithm, value: bytes) -> DeviceKey: ...


@runtime_checkable
class TransitTacs(Protocol):
    """What a key service does for a centre that clears journeys, in another process too: it proves and pays nothing."""

    def check_transit_tac(
        self, algorithm: Algorithm, version: int, transaction: TransitTransaction, moment: bytes, tac: bytes
    ) -> None:
        """As `TransitTransactionKeys.check_tac`."""
        ...


class TransitTacOperations:
    """`TransitTacs` for a key service in this process."""

    def check_transit_tac(
        self: KeysAtHand, algorithm: Algorithm, version: int, transaction: TransitTransaction, moment: bytes, tac: bytes
    ) -> None:
        SoftTransitTransactionKeys(self).check_tac(algorithm, version, transaction, moment, tac)


class SoftTransitTransactionKeys(TransitTransactionKeys):
    """`TransitTransactionKeys` over a key service in this process, which enforces the purposes of the roots."""

    def __init__(self, service: KeysAtHand, *, is_mac_folded: bool = True) -> None:
        self._service = service
        self._is_mac_folded = is_mac_folded

    def online_mac2(
        self, algorithm: Algorithm, version: int, transaction: TransitTransaction, mac1: bytes, moment: bytes
    ) -> bytes:
        name = DUK if transaction.kind == TYPE_OVERDRAFT else DLK

        def mac2(purse: DeviceKey) -> bytes:
            session = card_rules.session_key(purse, transaction.session_input)
            _compare(self._mac(session, transaction.mac1_message), mac1, "MAC1 of the purse")
            return self._mac(session, transaction.start + moment)

        return self._with_purse_key(KeyRef(name, algorithm, version), transaction.issuer, transaction.factor, mac2)

    def check_tac(
        self, algorithm: Algorithm, version: int, transaction: TransitTransaction, moment: bytes, tac: bytes
    ) -> None:
        root, message = KeyRef(DTK, algorithm, version), transaction.tac_message(moment)

        def value(key: DeviceKey) -> bytes:
            return card_rules.diversified_value(key, [transaction.issuer, transaction.factor])

        purse = self._service.use_key(root, PURPOSES[DTK], value)
        folded = purse if self._takes_left(algorithm) else card_rules.tac_key(algorithm, purse)
        _compare(self._mac(self._service.software_key(algorithm, folded), message), tac, "TAC")

    def purchase_macs(
        self, algorithm: Algorithm, version: int, transaction: TransitTransaction, moment: bytes
    ) -> tuple[bytes, bytes]:
        def macs(purse: DeviceKey) -> tuple[bytes, bytes]:
            session = card_rules.session_key(purse, transaction.session_input)
            return self._mac(session, transaction.start + moment), self._mac(session, transaction.amount_field)

        return self._with_purse_key(KeyRef(DPK, algorithm, version), transaction.issuer, transaction.factor, macs)

    def maintenance_mac(
        self, algorithm: Algorithm, version: int, issuer: bytes, factor: bytes, challenge: bytes, header: bytes
    ) -> bytes:
        """3DES chains single DES with the left half and ends with triple DES (JR/T 0025)."""
        message, root = header + b"\x04", KeyRef(DAMK, algorithm, version)
        if algorithm is Algorithm.SM4:
            return self._with_purse_key(root, issuer, factor, lambda k: card_rules.mac(k, message, iv=challenge))
        value = self._service.use_key(root, PURPOSES[DAMK], lambda k: card_rules.diversified_value(k, [issuer, factor]))
        left, whole = (self._service.software_key(algorithm, part) for part in (value[:8], value))
        return card_rules.retail_mac(left, whole, message, iv=challenge)

    def _takes_left(self, algorithm: Algorithm) -> bool:
        return not self._is_mac_folded and algorithm is Algorithm.SM4

    def _with_purse_key(self, root: KeyRef, issuer: bytes, factor: bytes, operation: Callable[[DeviceKey], T]) -> T:
        return self._service.use_key(
            root, PURPOSES[root.name], lambda key: operation(card_rules.diversified(key, [issuer, factor]))
        )

    def _mac(self, key: DeviceKey, message: bytes) -> bytes:
        if self._takes_left(key.algorithm):
            padded = message + b"\x80"
            return key.cbc(bytes(16), padded + bytes(-len(padded) % 16))[-16:-12]
        return card_rules.mac(key, message)


def _compare(expected: bytes, given: bytes, what: str) -> None:
    if not hmac.compare_digest(expected, given):
        raise CryptogramError(f"{what} is wrong")
