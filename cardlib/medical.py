"""The medical account (医疗保险个人账户) in DF04: balances, load, settlement, and what became of a lost answer.

Draft P5 §7, P7 §11, §12, §14. Every transaction is handed to the caller as `PendingTransaction` *before* the one
command that moves money, so that a torn card can be asked later what it did. The PIN, where the holder has one, is
verified by the caller first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol

from apdu.response import ResponseApdu
from apdu.sw import SW, check
from cardlib import commands as c
from cardlib.codec import CodecError
from cardlib.errors import CardDataError, CardMismatchError
from cardlib.session import SocialSecurityCard
from hsm.api import Algorithm, CardAuthenticator, CardFactors, KeyRef
from hsm.transactions import TYPE_LOAD, TYPE_PURCHASE, Load, Purchase, TransactionKeys

DF = "DF04"
LOG = "DF04EF08"
_LOAD, _PURCHASE = "load", "purchase"
_TYPES = {_LOAD: TYPE_LOAD, _PURCHASE: TYPE_PURCHASE}
_LOG_LENGTH = 0x1C
_LOG_MAX = 254
_ALGORITHM_BYTES = {Algorithm.TDES: 0x00, Algorithm.SM4: 0x03}


class TransactionUnresolvedError(Exception):
    """The card cannot tell any more whether this transaction was carried out; its log or the centre's books decide."""

    failure: ClassVar[str] = "CARD_STATE"


@dataclass(frozen=True, slots=True)
class Permit:
    """A terminal's leave to debit: its transaction number and MAC1, four bytes each."""

    number: bytes
    mac1: bytes


class PurchaseAuthority(Protocol):
    """Who may settle: a PSAM (`PsamPurchase`) or the key service (`KeyPurchase`)."""

    @property
    def terminal_number(self) -> bytes:
        """Six BCD bytes, part of every cryptogram."""
        ...

    @property
    def keys(self) -> object:
        """Whose references `permit` and `confirm` take (`SocialSecurityCard.ref`); a PSAM has one set, so None."""
        return None

    def permit(self, key: KeyRef, factors: CardFactors, purchase: Purchase) -> Permit:
        """`purchase.number` is not set yet (00000000): the authority gives each number once."""
        ...

    def confirm(self, key: KeyRef, factors: CardFactors, purchase: Purchase, mac2: bytes) -> None:
        """Check the card's MAC2. Raises an error with failure SECURE_MESSAGING_FAILED."""
        ...


class KeyPurchase(PurchaseAuthority):
    """Settlement under the key service; `next_number` gives the terminal's transaction numbers, each once."""

    def __init__(self, keys: TransactionKeys, terminal_number: str, next_number: Callable[[], int]) -> None:
        self._keys = keys
        self._terminal = bytes.fromhex(terminal_number)
        self._next_number = next_number

    @property
    def keys(self) -> object:
        return self._keys

    @property
    def terminal_number(self) -> bytes:
        return self._terminal

    def permit(self, key: KeyRef, factors: CardFactors, purchase: Purchase) -> Permit:
        number = self._next_number().to_bytes(4, "big")
        return Permit(number, self._keys.purchase_mac1(key, factors, numbered(purchase, number)))

    def confirm(self, key: KeyRef, factors: CardFactors, purchase: Purchase, mac2: bytes) -> None:
        self._keys.check_purchase(key, factors, purchase, mac2)


class PurchasePsam(Protocol):
    """A PSAM that settles: `PsamAuthenticator`, or one in a slot of its own."""

    @property
    def terminal_number(self) -> str:
        """Twelve digits."""
        ...

    def init_purchase(self, key: KeyRef, factors: CardFactors, purchase: Purchase) -> tuple[bytes, bytes]: ...

    def credit_purchase(self, mac2: bytes) -> None: ...


class PsamPurchase(PurchaseAuthority):
    """Settlement under the PSAM in the terminal."""

    def __init__(self, psam: PurchasePsam) -> None:
        self._psam = psam

    @property
    def terminal_number(self) -> bytes:
        return bytes.fromhex(self._psam.terminal_number)

    def permit(self, key: KeyRef, factors: CardFactors, purchase: Purchase) -> Permit:
        return Permit(*self._psam.init_purchase(key, factors, purchase))

    def confirm(self, key: KeyRef, factors: CardFactors, purchase: Purchase, mac2: bytes) -> None:
        self._psam.credit_purchase(mac2)


@dataclass(frozen=True, slots=True)
class Balances:
    """Amounts in fen; the totals belong to `payment_year`; `starting_day` MMDD."""

    balance: int
    self_paid_total: int
    pooling_total: int
    payment_year: str
    starting_day: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PendingTransaction:
    """A transaction whose last command is about to be sent: enough to ask any later session what became of it."""

    kind: str
    identification_code: str
    card_number: str
    key_index: int
    fields: dict[str, int | str]

    @property
    def transaction(self) -> Load | Purchase:
        values = {k: v if isinstance(v, int) else bytes.fromhex(v) for k, v in self.fields.items()}
        return (Load if self.kind == _LOAD else Purchase)(**values)  # type: ignore[arg-type]

    @classmethod
    def of(
        cls, transaction: Load | Purchase, identification_code: str, card_number: str, key_index: int
    ) -> PendingTransaction:
        kind = _LOAD if isinstance(transaction, Load) else _PURCHASE
        fields = {k: v.hex().upper() if isinstance(v, bytes) else v for k, v in asdict(transaction).items()}
        return cls(kind, identification_code, card_number, key_index, fields)

    @property
    def is_settlement(self) -> bool:
        return self.kind == _PURCHASE

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PendingTransaction:
        """Raises CodecError for anything `to_json` did not write."""
        try:
            pending = cls(**data)
            if pending.kind not in _TYPES or not pending.transaction:
                raise ValueError(pending.kind)
        except (TypeError, ValueError, AttributeError) as error:
            raise CodecError("not a pending transaction") from error
        return pending


@dataclass(frozen=True, slots=True)
class Receipt:
    """A transaction the card carried out. `tac` is empty where only the log could prove it (`is_from_log`).

    `mac2` is the card's MAC2 of a settlement, or the MAC of its proof, which is the same one.
    """

    transaction: Load | Purchase
    tac: bytes
    is_from_log: bool = False
    mac2: bytes = b""


Journal = Callable[[PendingTransaction], None]
"""Keeps a pending transaction durably and returns; raising stops the transaction before any money moves."""


class MedicalAccount:
    """The account of one card. `index` is the key index (version) of DLK or DPK."""

    def __init__(self, card: SocialSecurityCard) -> None:
        self._card = card

    # -- balances -----------------------------------------------------------------------------------------------

    def balances(self) -> Balances:
        """GET BALANCE three times and the starting day: four commands after the selection."""
        self._card.select(DF)
        balance, own, pool = (self._exact(self._card.send(c.get_balance(n)), 4 if n == 1 else 6) for n in (1, 2, 3))
        day = self._exact(self._card.send(c.get_starting_day()), 2)
        return Balances(_number(balance), _number(own[:4]), _number(pool[:4]), own[4:].hex(), day.hex())

    def set_starting_day(self, month_day: str, keys: CardAuthenticator) -> None:
        """UPDATE STARTING DAY (P5 §7.7) under DSK; `month_day` MMDD. Raises CodecError."""
        try:
            datetime.strptime(f"2024{month_day}", "%Y%m%d")
        except ValueError:
            raise CodecError("a day MMDD was expected") from None
        self._card.select(DF)
        self._card.authenticate("DSK", keys)
        self._card.send(c.update_starting_day(bytes.fromhex(month_day)))

    # -- transactions -------------------------------------------------------------------------------------------

    def load(
        self, amount: int, keys: TransactionKeys, terminal: str, now: datetime, journal: Journal, *, index: int = 1
    ) -> Receipt:
        """账户划入 (P7 §11): two commands after the selection.

        Raises CryptogramError for a wrong MAC1 (nothing happened) or TAC (the card has loaded), StatusWordError when
        the card refuses, TransportError when its answer was lost: then `recover` with what the journal got.
        """
        key, tac_key = self._card.ref("DLK", keys, index), self._card.ref("DTK", keys)
        self._card.select(DF)
        raw_amount, raw_terminal = _amount(amount), bytes.fromhex(terminal)
        answer = self._exact(self._card.send(c.initialize_for_load(index, raw_amount, raw_terminal)), 16)
        self._check_key(answer[6:8], index)
        load = Load(answer[8:12], _number(answer[4:6]), _number(answer[:4]), amount, raw_terminal, _time(now))
        mac2 = keys.load_mac2(key, self._card.factors, load, answer[12:])
        journal(self._pending(index, load))
        tac = self._exact(self._card.send(c.credit_for_load(load.time, mac2)), 4)
        keys.check_tac(tac_key, self._card.factors, load, tac)
        return Receipt(load, tac)

    def purchase(
        self,
        amounts: tuple[int, int, int],
        authority: PurchaseAuthority,
        now: datetime,
        journal: Journal,
        *,
        keys: TransactionKeys | None = None,
        index: int = 1,
    ) -> Receipt:
        """医疗消费 (P7 §12): two commands after the selection; `amounts` account, self-paid, pooling.

        The TAC is checked where `keys` are at hand; a terminal only passes it on. Raises as `load`.
        """
        key, tac_key = self._card.ref("DPK", authority.keys, index), self._card.ref("DTK", keys)
        self._card.select(DF)
        raw_amounts, terminal = b"".join(map(_amount, amounts)), authority.terminal_number
        answer = self._exact(self._card.send(c.initialize_for_purchase(index, raw_amounts, terminal)), 22)
        self._check_key(answer[16:18], index)
        draft = Purchase(answer[18:22], _number(answer[14:16]), *amounts, terminal, bytes(4), _time(now))
        permit = authority.permit(key, self._card.factors, draft)
        purchase = numbered(draft, permit.number)
        journal(self._pending(index, purchase))
        answer = self._exact(self._card.send(c.debit_for_purchase(permit.number, purchase.time, permit.mac1)), 8)
        authority.confirm(key, self._card.factors, purchase, answer[4:])
        if keys is not None:
            keys.check_tac(tac_key, self._card.factors, purchase, answer[:4])
        return Receipt(purchase, answer[:4], mac2=answer[4:])

    def recover(self, pending: PendingTransaction, keys: TransactionKeys | None = None) -> Receipt | None:
        """What became of a transaction whose answer was lost (P7 §14): its receipt, or None when it never happened.

        The card keeps the proof of its last transaction only. Where another came after, its counter and its log
        decide. Raises CardMismatchError for another card, CryptogramError for a false proof,
        TransactionUnresolvedError when neither tells.
        """
        self._card.open()
        if (self._card.identification_code, self._card.card_number) != (
            pending.identification_code,
            pending.card_number,
        ):
            raise CardMismatchError("this is not the card of the interrupted transaction")
        transaction = pending.transaction
        self._card.select(DF)
        answer = self._card.exchange(c.get_transaction_proof(_TYPES[pending.kind], transaction.sequence))
        if answer.sw == SW.MAC_UNAVAILABLE:
            return self._recover_from_log(pending)
        proof = self._exact(check(answer, 0x2E), 8)
        if keys is not None:
            if isinstance(transaction, Purchase):
                key = self._card.ref("DPK", keys, pending.key_index)
                keys.check_purchase(key, self._card.factors, transaction, proof[:4])
            keys.check_tac(self._card.ref("DTK", keys), self._card.factors, transaction, proof[4:])
        return Receipt(transaction, proof[4:], mac2=proof[:4])

    def _recover_from_log(self, pending: PendingTransaction) -> Receipt | None:
        transaction = pending.transaction
        if self._counter(pending) <= transaction.sequence:
            return None
        wanted = _log_key(pending.kind, transaction)
        for record in self._log(len(wanted)):
            if record == wanted:
                return Receipt(transaction, b"", is_from_log=True)
            if record[:3] == wanted[:3]:
                return None
        raise TransactionUnresolvedError("the card's log does not reach back to this transaction")

    def _counter(self, pending: PendingTransaction) -> int:
        """The card's next number of this kind: only an INITIALIZE tells, and alone it changes nothing."""
        terminal = pending.transaction.terminal
        if pending.kind == _LOAD:
            answer = self._card.exchange(c.initialize_for_load(pending.key_index, bytes(4), terminal))
            place = slice(4, 6)
        else:
            answer = self._card.exchange(c.initialize_for_purchase(pending.key_index, bytes(12), terminal))
            place = slice(14, 16)
        if answer.sw == SW.COUNTER_EXHAUSTED:
            return 0xFFFF
        data = check(answer, 0x28).data
        if len(data) < place.stop:
            raise CardDataError("the card's answer is cut off")
        return _number(data[place])

    def _log(self, length: int) -> list[bytes]:
        """The first `length` bytes of each log record, newest first; one in account-only mode is shorter (P7 §12)."""
        ef, records = self._card.known_spec().ef(LOG), list[bytes]()
        while len(records) < _LOG_MAX:
            answer = self._card.exchange(c.read_record(ef.sfi, len(records) + 1, _LOG_LENGTH))
            if answer.sw == SW.RECORD_NOT_FOUND:
                break
            records.append(check(answer, 0xB2).data[:length])
        return records

    # -- helpers ------------------------------------------------------------------------------------------------

    def _pending(self, index: int, transaction: Load | Purchase) -> PendingTransaction:
        return PendingTransaction.of(transaction, self._card.identification_code, self._card.card_number, index)

    def _check_key(self, version_and_algorithm: bytes, index: int) -> None:
        algorithm = self._card.known_algorithm()
        if version_and_algorithm != bytes((index, _ALGORITHM_BYTES[algorithm])):
            raise CardDataError("the card names another key or algorithm than it was asked for")

    @staticmethod
    def _exact(answer: ResponseApdu, length: int) -> bytes:
        if len(answer.data) != length:
            raise CardDataError(f"{len(answer.data)} bytes where {length} were expected")
        return answer.data


def numbered(purchase: Purchase, number: bytes) -> Purchase:
    """The same settlement with the terminal's number in it."""
    return Purchase(**{**asdict(purchase), "number": number})


def _log_key(kind: str, transaction: Load | Purchase) -> bytes:
    """Start of the log record: number, type, terminal, time (V2.0 T9)."""
    return transaction.sequence.to_bytes(2, "big") + bytes((_TYPES[kind],)) + transaction.terminal + transaction.time


def _amount(fen: int) -> bytes:
    if not 0 <= fen <= 0xFFFFFFFF:
        raise CodecError("an amount in fen, from 0 to 42949672.95 yuan, was expected")
    return fen.to_bytes(4, "big")


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _time(now: datetime) -> bytes:
    return bytes.fromhex(now.strftime("%Y%m%d%H%M%S"))
