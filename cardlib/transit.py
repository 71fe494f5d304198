"""A session with the 交通联合 purse (JT/T 978 as collected in transit_card.md): balance, log, purchase, load.

What moves money goes through a `TransitJournal`: a lost answer is looked into at the next insertion (`recover`,
`recover_load`), so that no sale is charged twice and none is lost. Thread rule: a session belongs to its reader.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from apdu.command import CommandApdu
from apdu.errors import StatusWordError
from apdu.sw import SW, check
from cardlib.errors import CardDataError, CardMismatchError, CardNotGenuineError
from cardlib.transit_host import LoadAuthority
from cardlib.transit_journal import (
    TYPE_COMPOSITE,
    TYPE_LOAD,
    TYPE_OVERDRAFT,
    TYPE_PURCHASE,
    Pending,
    Receipt,
    TransitJournal,
)
from cardlib.transit_psam import PurchaseSam, SamRequest
from cardlib.transit_reader import AMOUNT_MAX, PurseReader
from cardlib.transit_records import TripContext, TripPlan, encode_moment

KEY_INDEX = 1
OVERDRAFT_MAX = 0xFFFFFF
_COUNTER_MAX = 0xFFFF
_INIT_LOAD, _INIT_PURCHASE, _INIT_COMPOSITE, _INIT_OVERDRAFT = 0x00, 0x01, 0x03, 0x04
_INIT_LENGTHS = {_INIT_LOAD: 16, _INIT_PURCHASE: 15, _INIT_COMPOSITE: 15, _INIT_OVERDRAFT: 19}
_ONLINE = frozenset({0x01, 0x02, 0x03, 0x07})
"""Log types that carry the online counter: loads, unload, change of the overdraft limit."""


class TransactionUnresolvedError(Exception):
    """The purse has gone on and cannot tell any more what became of a transaction: clearing decides (§8, 可疑)."""

    failure: ClassVar[str] = "CARD_STATE"


@dataclass(frozen=True, slots=True)
class Sale:
    """One sale of the terminal. With `trip` it is a composite purchase; an entry may cost nothing. `note` as in the
    journal."""

    reference: str
    amount_fen: int
    moment: datetime.datetime
    trip: TripPlan | None = None
    note: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> int:
        return TYPE_PURCHASE if self.trip is None else TYPE_COMPOSITE

    def __post_init__(self) -> None:
        if not 0 <= self.amount_fen <= AMOUNT_MAX or (self.trip is None and self.amount_fen == 0):
            raise ValueError("the amount of a sale is out of range")


@dataclass(frozen=True, slots=True)
class Opened:
    """Answer of an INITIALIZE command; `limit` is the overdraft limit, which a load does not tell."""

    balance: int
    sequence: int
    limit: int
    key_version: int
    algorithm: int
    random: bytes
    mac1: bytes


class TransitPurse(PurseReader):
    """The transactions of one powered card; the channel is raw, follow-ups of its protocol happen here."""

    # -- purchase -------------------------------------------------------------------------------------------------

    def pay(self, sale: Sale, sam: PurchaseSam, journal: TransitJournal, *, allows_test_cards: bool = False) -> Receipt:
        """Charge one sale, once. The purse has been opened in this session.

        A transaction of this purse that was torn earlier is resolved first; when it was this very sale, its receipt
        is the answer and nothing is charged. Raises CardNotGenuineError for a wrong MAC2 (the receipt is kept as
        suspicious), StatusWordError when the card refuses (nothing was charged), TransportError when the answer was
        lost (the journal knows of it).
        """
        identity = self._opened()
        self.recover(journal, sam)
        known = journal.receipt(sale.reference)
        if known is not None:
            if known.transaction.serial != identity.serial:
                raise CardMismatchError("this sale was paid with another purse")
            return _verified(known)
        self.check_usable(sale.moment.date(), allows_test_cards=allows_test_cards)
        pending = self.authorise(sale, self.start(sale.amount_fen, sale.kind, sam), sam)
        return _verified(self.settle(*self.debit(sale, pending, sam, journal), sam, journal))

    def start(self, amount_fen: int, kind: int, sam: PurchaseSam) -> Opened:
        """INITIALIZE FOR PURCHASE or CAPP PURCHASE: what the purse holds. Nothing is charged yet."""
        mode = _INIT_COMPOSITE if kind == TYPE_COMPOSITE else _INIT_PURCHASE
        return self._initialize(mode, sam.key_index, amount_fen, sam.terminal_number)

    def authorise(self, sale: Sale, opened: Opened, sam: PurchaseSam) -> Pending:
        """The PSAM's leave to debit what `start` opened."""
        identity, moment = self._opened(), encode_moment(sale.moment)
        sequence, mac1 = sam.initialize(
            SamRequest(
                opened.random,
                opened.sequence,
                sale.amount_fen,
                sale.kind,
                moment,
                opened.key_version,
                opened.algorithm,
                identity.factor,
                identity.issuer,
            )
        )
        pending = self._pending(sale.reference, sale.kind, opened, sale.amount_fen, sam.terminal_number, sam.key_index)
        return replace(pending, terminal_sequence=sequence.hex(), moment=moment.hex(), mac1=mac1.hex(), note=sale.note)

    def debit(self, sale: Sale, pending: Pending, sam: PurchaseSam, journal: TransitJournal) -> tuple[Receipt, bytes]:
        """Trip data, journal, DEBIT: the receipt and MAC2, which `settle` checks; raises as `pay`.

        After an answer that told of no debit the purse is asked; a receipt found so is booked, and MAC2 is empty.
        """
        if sale.trip is not None:
            self._write_cache(sale.trip, pending)
        journal.begin(pending)
        data = bytes.fromhex(pending.terminal_sequence + pending.moment + pending.mac1)
        answer = self._exchange(CommandApdu(0x80, 0x54, 0x01, 0x00, data, 8))
        if answer.is_ok and len(answer.data) == 8:
            return Receipt(pending, answer.data[:4].hex(), None), answer.data[4:]
        # Usually nothing was charged; but a refused GET RESPONSE looks the same from here, so the purse is asked.
        recovered = self.recover(journal, sam)
        if recovered is None:
            check(answer, 0x54)
            raise CardDataError(f"DEBIT ended with {answer.sw:04X}")
        return recovered, b""

    def settle(self, receipt: Receipt, mac2: bytes, sam: PurchaseSam, journal: TransitJournal) -> Receipt:
        """CREDIT SAM FOR PURCHASE and the booking; the receipt with what the PSAM said of MAC2."""
        if not mac2:
            return receipt
        sequence = bytes.fromhex(receipt.transaction.terminal_sequence)
        receipt = replace(receipt, is_verified=sam.credit(sequence, mac2))
        journal.finish(receipt)
        return receipt

    def _write_cache(self, trip: TripPlan, pending: Pending) -> None:
        """UPDATE CAPP DATA CACHE for each record of the trip."""
        sequence = bytes.fromhex(pending.terminal_sequence)
        context = TripContext(pending.terminal, sequence, pending.moment, pending.amount_fen, pending.balance_fen)
        for record in trip(context):
            self._send(CommandApdu(0x80, 0xDC, record.number, record.sfi << 3, record.data))

    def recover(self, journal: TransitJournal, sam: PurchaseSam | None = None) -> Receipt | None:
        """Resolve this purse's torn purchase, if there is one: its receipt, or None when nothing had been charged.

        MAC2 is checked where the PSAM still has that sale open. Raises TransactionUnresolvedError.
        """
        pending = journal.pending(self._opened().serial)
        if pending is None:
            return None
        proof = self._outcome(pending)
        if proof is None:
            journal.void(pending)
            return None
        mac2, tac = proof
        verified = None
        # Another PSAM that was put in may have the same sequence open.
        if sam is not None and mac2 and sam.terminal_number.hex() == pending.terminal:
            verified = sam.credit(bytes.fromhex(pending.terminal_sequence), mac2)
        return _book(journal, Receipt(pending, tac.hex(), verified, is_recovered=True))

    # -- load and overdraft limit ---------------------------------------------------------------------------------

    def load(
        self, reference: str, amount_fen: int, terminal: bytes, authority: LoadAuthority, journal: TransitJournal
    ) -> Receipt:
        """圈存: credit the purse online. Resolves a torn load first; raises as `pay`.

        The journal knows of the load before the host does, so that money set aside for a terminal that lost its power
        is freed at the next insertion.
        """
        known = self._known_online(reference, authority, journal)
        if known is not None:
            return known
        if not 0 < amount_fen <= AMOUNT_MAX:
            raise ValueError("the amount of a load is out of range")
        opened = self._initialize(_INIT_LOAD, KEY_INDEX, amount_fen, terminal)
        pending = self._pending(reference, TYPE_LOAD, opened, amount_fen, terminal, KEY_INDEX)
        return self._online(pending, authority, journal)

    def set_overdraft_limit(
        self, reference: str, limit_fen: int, terminal: bytes, authority: LoadAuthority, journal: TransitJournal
    ) -> Receipt:
        """修改透支限额: another overdraft limit, online as a load. The card refuses one below what is overdrawn."""
        known = self._known_online(reference, authority, journal)
        if known is not None:
            return known
        if not 0 <= limit_fen <= OVERDRAFT_MAX:
            raise ValueError("the overdraft limit is out of range")
        opened = self._initialize(_INIT_OVERDRAFT, KEY_INDEX, 0, terminal)
        pending = self._pending(reference, TYPE_OVERDRAFT, opened, limit_fen, terminal, KEY_INDEX)
        return self._online(pending, authority, journal)

    def _known_online(self, reference: str, authority: LoadAuthority, journal: TransitJournal) -> Receipt | None:
        self.recover_load(journal, authority)
        known = journal.receipt(reference)
        if known is not None and known.transaction.serial != self._opened().serial:
            raise CardMismatchError("this load went to another purse")
        return known

    def _online(self, pending: Pending, authority: LoadAuthority, journal: TransitJournal) -> Receipt:
        """From the purse's MAC1 to its TAC: CREDIT FOR LOAD or UPDATE OVERDRAW LIMIT."""
        journal.begin(pending)
        moment, mac2 = authority.approve(pending)
        if pending.kind == TYPE_LOAD:
            ins, head = 0x52, b""
        else:
            ins, head = 0x58, pending.amount_fen.to_bytes(3, "big")
        answer = self._exchange(CommandApdu(0x80, ins, 0x00, 0x00, head + moment + mac2, 4))
        if not answer.is_ok:
            recovered = self.recover_load(journal, authority)
            if recovered is None:
                check(answer, ins)
                raise CardDataError(f"the online transaction ended with {answer.sw:04X}")
            return recovered
        authority.confirm(pending, answer.data)
        return _book(journal, Receipt(replace(pending, moment=moment.hex()), answer.data.hex(), True))

    def recover_load(self, journal: TransitJournal, authority: LoadAuthority) -> Receipt | None:
        """Resolve this purse's torn load or change of limit with the host: booked on the card's TAC, reversed when
        nothing came (§8). Raises TransactionUnresolvedError."""
        pending = journal.pending(self._opened().serial, is_online=True)
        if pending is None:
            return None
        proof = self._outcome(pending)
        if proof is None:
            authority.reverse(pending)
            journal.void(pending)
            return None
        authority.confirm(pending, proof[1])
        return _book(journal, Receipt(pending, proof[1].hex(), None, is_recovered=True))

    # -- blocking -------------------------------------------------------------------------------------------------

    def block(self, sam: PurchaseSam, *, permanently: bool = False) -> None:
        """APPLICATION BLOCK of a purse on the black list (§7). Only its issuer can undo the temporary one."""
        identity = self._opened()
        opened = self._initialize(_INIT_PURCHASE, sam.key_index, 0, sam.terminal_number)
        challenge = self._send(CommandApdu(0x00, 0x84, 0x00, 0x00, b"", 4)).data
        p2 = 0x01 if permanently else 0x00
        mac = sam.command_mac(
            opened.algorithm, identity.factor, identity.issuer, challenge, bytes((0x84, 0x1E, 0x00, p2))
        )
        self._send(CommandApdu(0x84, 0x1E, 0x00, p2, mac))

    # -- helpers --------------------------------------------------------------------------------------------------

    def _initialize(self, mode: int, key_index: int, amount_fen: int, terminal: bytes) -> Opened:
        """INITIALIZE FOR LOAD, PURCHASE or CAPP PURCHASE. From here to DEBIT or CREDIT only 80DC may follow."""
        amount = b"" if mode == _INIT_OVERDRAFT else amount_fen.to_bytes(4, "big")
        data = bytes((key_index,)) + amount + terminal
        raw = self._send(CommandApdu(0x80, 0x50, mode, 0x02, data, _INIT_LENGTHS[mode])).data
        if len(raw) != _INIT_LENGTHS[mode]:
            raise CardDataError(f"INITIALIZE answered {len(raw)} bytes")
        at = 6 if mode == _INIT_LOAD else 9
        balance, sequence = int.from_bytes(raw[:4], "big") & AMOUNT_MAX, int.from_bytes(raw[4:6], "big")
        limit = int.from_bytes(raw[6:at], "big")
        return Opened(balance, sequence, limit, raw[at], raw[at + 1], raw[at + 2 : at + 6], raw[at + 6 :])

    def _pending(
        self, reference: str, kind: int, opened: Opened, amount_fen: int, terminal: bytes, key_index: int
    ) -> Pending:
        identity = self._opened()
        return Pending(
            reference=reference,
            kind=kind,
            issuer=identity.issuer.hex(),
            serial=identity.serial,
            sequence=opened.sequence,
            amount_fen=amount_fen,
            balance_fen=opened.balance,
            terminal=terminal.hex(),
            terminal_sequence="",
            moment="",
            key_index=key_index,
            key_version=opened.key_version,
            algorithm=opened.algorithm,
            random=opened.random.hex(),
            mac1=opened.mac1.hex(),
            limit_fen=opened.limit,
        )

    def _outcome(self, pending: Pending) -> tuple[bytes, bytes] | None:
        """MAC and TAC of an executed transaction, empty where only the log tells; None when it was not executed.

        The purse proves its last transaction only. After 9406 the counter decides: still the same, nothing happened;
        further on, another terminal served the purse meanwhile, and the log of ten tells whose the number was.
        """
        proof = self.prove(pending.kind, pending.number)
        if proof is not None and self._is_logged(pending) is not False:
            return proof
        if self._counter(pending) <= pending.sequence:
            return None
        is_ours = self._is_logged(pending)
        if is_ours is None:
            raise TransactionUnresolvedError(f"transaction {pending.number} has left the purse's log")
        return (b"", b"") if is_ours else None

    def _is_logged(self, pending: Pending) -> bool | None:
        """Whether the log has this number for this very transaction; None when it has no such number."""
        for entry in self.newest_log():
            if entry.number == pending.number and (entry.type in _ONLINE) == pending.is_online:
                told: tuple[Any, ...] = (entry.type, entry.amount_fen, entry.terminal)
                is_same = told == (pending.kind, pending.amount_fen, pending.terminal)
                return is_same and pending.moment in ("", entry.moment)
        return None

    def _counter(self, pending: Pending) -> int:
        """The counter the next transaction of this kind would show; the INIT it takes is abandoned."""
        mode = _INIT_LOAD if pending.is_online else _INIT_PURCHASE
        try:
            return self._initialize(mode, pending.key_index, 0, bytes.fromhex(pending.terminal)).sequence
        except StatusWordError as error:
            if error.sw == SW.COUNTER_EXHAUSTED:
                return _COUNTER_MAX
            raise


def _book(journal: TransitJournal, receipt: Receipt) -> Receipt:
    journal.finish(receipt)
    return _verified(receipt)


def _verified(receipt: Receipt) -> Receipt:
    if receipt.is_verified is False:
        raise CardNotGenuineError("MAC2 of the purse is wrong; the receipt is kept as suspicious")
    return receipt
