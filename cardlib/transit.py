"""A session with the 交通联合 purse (JT/T 978 as collected in transit_card.md): balance, log, purchase, load.

What moves money goes through a `TransitJournal`: a lost answer is looked into at the next insertion (`recover`,
`recover_load`), so that no sale is charged twice and none is lost. Thread rule: a session belongs to its reader.
"""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Protocol

from apdu.channel import Channel, follow_up, transceive
from apdu.command import CommandApdu
from apdu.errors import StatusWordError, TlvDecodingError
from apdu.response import ResponseApdu
from apdu.sw import SW, check
from apdu.tlv import find
from cardlib.errors import CardDataError, CardMismatchError, CardNotGenuineError
from cardlib.transit_journal import TYPE_COMPOSITE, TYPE_LOAD, TYPE_PURCHASE, Pending, Receipt, TransitJournal
from cardlib.transit_psam import PurchaseSam, SamRequest
from cardlib.transit_records import (
    LOG_LENGTH,
    MANAGEMENT_LENGTH,
    PROCESS_LENGTH,
    PUBLIC_LENGTH,
    RAIL,
    SFI_LOG,
    SFI_MANAGEMENT,
    SFI_PROCESS,
    SFI_PUBLIC,
    SFI_TRIPS,
    TEST_CLASS,
    TRIP_LENGTH,
    LogEntry,
    Management,
    PurseIdentity,
    Trip,
    TripContext,
    TripPlan,
    encode_moment,
)

AID = bytes.fromhex("A000000632010105")
KEY_INDEX = 1
LOG_RECORDS, TRIP_RECORDS = 10, 30
AMOUNT_MAX = 0x7FFFFFFF
_COUNTER_MAX = 0xFFFF
_INIT_LOAD, _INIT_PURCHASE, _INIT_COMPOSITE = 0x00, 0x01, 0x03
_INIT_LENGTHS = {_INIT_LOAD: 16, _INIT_PURCHASE: 15, _INIT_COMPOSITE: 15}
_ONLINE = frozenset({0x01, 0x02, 0x03, 0x07})
"""Log types that carry the online counter: loads, unload, change of the overdraft limit."""
_ERASED = (b"\x00", b"\xff")


class PurseUnusableError(Exception):
    """The purse itself says that it may not pay: not activated, out of date, a test card."""

    failure: ClassVar[str] = "CARD_STATE"


class TransactionUnresolvedError(Exception):
    """The purse has gone on and cannot tell any more what became of a transaction: clearing decides (§8, 可疑)."""

    failure: ClassVar[str] = "CARD_STATE"


@dataclass(frozen=True, slots=True)
class Balance:
    """Amounts in fen: what may be spent, and what it is made of."""

    available: int
    overdraft_limit: int
    overdraft_used: int
    actual: int

    def to_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Sale:
    """One sale of the terminal. With `trip` it is a composite purchase; an entry may cost nothing."""

    reference: str
    amount_fen: int
    moment: datetime.datetime
    trip: TripPlan | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.amount_fen <= AMOUNT_MAX or (self.trip is None and self.amount_fen == 0):
            raise ValueError("the amount of a sale is out of range")


class LoadAuthority(Protocol):
    """The operator's host. Every method may be called again for the same load and then changes nothing more."""

    def approve(self, load: Pending) -> tuple[bytes, bytes]:
        """Check MAC1 and set the money aside; date and time (7 bytes BCD) and MAC2. Raises to refuse; the load then
        stays open in the journal, and is reversed when the purse is seen again."""
        ...

    def confirm(self, load: Pending, tac: bytes) -> None:
        """The purse was credited: book it. `tac` is empty where only the purse's log could tell."""
        ...

    def reverse(self, load: Pending) -> None:
        """The purse was not credited: free the money. A load that was never approved has none."""
        ...


@dataclass(frozen=True, slots=True)
class _Opened:
    """Answer of an INITIALIZE command."""

    balance: int
    sequence: int
    key_version: int
    algorithm: int
    random: bytes
    mac1: bytes


class TransitPurse:
    """One powered card; the channel is raw, follow-ups of its protocol happen here."""

    def __init__(self, channel: Channel, *, protocol: str = "T=0") -> None:
        self._channel = follow_up(channel, protocol)
        self.identity: PurseIdentity | None = None

    # -- reading --------------------------------------------------------------------------------------------------

    def open(self) -> PurseIdentity:
        """SELECT. Raises NotFoundError on a card without a purse, CardBlockedError, CardDataError."""
        self.identity = None
        answer = self._send(CommandApdu(0x00, 0xA4, 0x04, 0x00, AID, 256))
        try:
            public = find(answer.data, 0x6F, 0xA5, 0x9F0C)
        except TlvDecodingError as error:
            raise CardDataError("FCI of the purse is malformed") from error
        if public is not None and len(public.value) == PUBLIC_LENGTH:
            self.identity = PurseIdentity.from_bytes(public.value)
        else:
            self.identity = PurseIdentity.from_bytes(self._read_binary(SFI_PUBLIC, PUBLIC_LENGTH))
        return self.identity

    def balance(self) -> Balance:
        """Four commands. Bit 31, which some cities set, is no amount."""
        answers = [self._send(CommandApdu(0x80, 0x5C, p1, 0x02, b"", 4)).data for p1 in range(4)]
        return Balance(*(int.from_bytes(raw, "big") & AMOUNT_MAX for raw in answers))

    def management(self) -> Management:
        return Management.from_bytes(self._read_binary(SFI_MANAGEMENT, MANAGEMENT_LENGTH))

    def log(self) -> list[LogEntry]:
        """Newest first."""
        return [LogEntry.from_bytes(raw) for raw in self._records(SFI_LOG, LOG_LENGTH, LOG_RECORDS)]

    def trips(self) -> list[Trip]:
        """Newest first."""
        return [Trip.from_bytes(raw) for raw in self._records(SFI_TRIPS, TRIP_LENGTH, TRIP_RECORDS)]

    def process(self, number: int = RAIL) -> bytes:
        """Process record 27xx as it stands: what `rail_entry` and `rail_exit` go on from."""
        return self._send(_read_record(SFI_PROCESS, number, PROCESS_LENGTH)).data

    def prove(self, kind: int, number: int) -> tuple[bytes, bytes] | None:
        """GET TRANSACTION PROVE: (MAC, TAC) of the last finished transaction if it is this one."""
        answer = self._exchange(CommandApdu(0x80, 0x5A, 0x00, kind, number.to_bytes(2, "big"), 8))
        if answer.sw == SW.MAC_UNAVAILABLE:
            return None
        data = check(answer, 0x5A).data
        return data[:4], data[4:8]

    def check_usable(self, today: datetime.date, *, allows_test_cards: bool = False) -> None:
        """The purse's own part of §7: activation, dates, test class. Issuer and black lists are the terminal's."""
        trouble = self._opened().trouble(today)
        if not trouble and not allows_test_cards and self.management().passenger_class == TEST_CLASS:
            trouble = "a test card"
        if trouble:
            raise PurseUnusableError(trouble)

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
        kind, mode = (TYPE_PURCHASE, _INIT_PURCHASE) if sale.trip is None else (TYPE_COMPOSITE, _INIT_COMPOSITE)
        terminal, moment = sam.terminal_number, encode_moment(sale.moment)
        opened = self._initialize(mode, sam.key_index, sale.amount_fen, terminal)
        factor, issuer = identity.factor, identity.issuer
        sequence, mac1 = sam.initialize(
            SamRequest(
                opened.random,
                opened.sequence,
                sale.amount_fen,
                kind,
                moment,
                opened.key_version,
                opened.algorithm,
                factor,
                issuer,
            )
        )
        pending = self._pending(sale.reference, kind, opened, sale.amount_fen, terminal, sam.key_index)
        pending = replace(pending, terminal_sequence=sequence.hex(), moment=moment.hex(), mac1=mac1.hex())
        if sale.trip is not None:
            self._write_cache(sale, pending, sequence)
        journal.begin(pending)
        answer = self._exchange(CommandApdu(0x80, 0x54, 0x01, 0x00, sequence + moment + mac1, 8))
        if not answer.is_ok:
            # Usually nothing was charged; but a refused GET RESPONSE looks the same from here, so the purse is asked.
            recovered = self.recover(journal, sam)
            if recovered is None:
                check(answer, 0x54)
                raise CardDataError(f"DEBIT ended with {answer.sw:04X}")
            return recovered
        tac, mac2 = answer.data[:4], answer.data[4:8]
        return _book(journal, Receipt(pending, tac.hex(), sam.credit(sequence, mac2)))

    def _write_cache(self, sale: Sale, pending: Pending, sequence: bytes) -> None:
        """UPDATE CAPP DATA CACHE for each record of the trip."""
        assert sale.trip is not None
        context = TripContext(pending.terminal, sequence, pending.moment, pending.amount_fen, pending.balance_fen)
        for record in sale.trip(context):
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
        verified = sam.credit(bytes.fromhex(pending.terminal_sequence), mac2) if sam is not None and mac2 else None
        return _book(journal, Receipt(pending, tac.hex(), verified, is_recovered=True))

    # -- load -----------------------------------------------------------------------------------------------------

    def load(
        self, reference: str, amount_fen: int, terminal: bytes, authority: LoadAuthority, journal: TransitJournal
    ) -> Receipt:
        """圈存: credit the purse online. Resolves a torn load first; raises as `pay`.

        The journal knows of the load before the host does, so that money set aside for a terminal that lost its power
        is freed at the next insertion.
        """
        self.recover_load(journal, authority)
        known = journal.receipt(reference)
        if known is not None:
            if known.transaction.serial != self._opened().serial:
                raise CardMismatchError("this load went to another purse")
            return known
        if not 0 < amount_fen <= AMOUNT_MAX:
            raise ValueError("the amount of a load is out of range")
        opened = self._initialize(_INIT_LOAD, KEY_INDEX, amount_fen, terminal)
        pending = self._pending(reference, TYPE_LOAD, opened, amount_fen, terminal, KEY_INDEX)
        journal.begin(pending)
        moment, mac2 = authority.approve(pending)
        answer = self._exchange(CommandApdu(0x80, 0x52, 0x00, 0x00, moment + mac2, 4))
        if not answer.is_ok:
            recovered = self.recover_load(journal, authority)
            if recovered is None:
                check(answer, 0x52)
                raise CardDataError(f"CREDIT ended with {answer.sw:04X}")
            return recovered
        authority.confirm(pending, answer.data)
        return _book(journal, Receipt(replace(pending, moment=moment.hex()), answer.data.hex(), True))

    def recover_load(self, journal: TransitJournal, authority: LoadAuthority) -> Receipt | None:
        """Resolve this purse's torn load with the host: booked on the card's TAC, reversed when nothing came (§8)."""
        pending = journal.pending(self._opened().serial, is_load=True)
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

    def _opened(self) -> PurseIdentity:
        return self.identity or self.open()

    def _exchange(self, command: CommandApdu) -> ResponseApdu:
        return transceive(self._channel, command)

    def _send(self, command: CommandApdu) -> ResponseApdu:
        return check(self._exchange(command), command.ins)

    def _read_binary(self, sfi: int, length: int) -> bytes:
        return self._send(CommandApdu(0x00, 0xB0, 0x80 | sfi, 0x00, b"", length)).data

    def _records(self, sfi: int, length: int, count: int) -> list[bytes]:
        """Until the file ends; erased places are no records."""
        found: list[bytes] = []
        for number in range(1, count + 1):
            answer = self._exchange(_read_record(sfi, number, length))
            if answer.sw == SW.RECORD_NOT_FOUND:
                break
            raw = check(answer, 0xB2).data
            if raw.strip(_ERASED[0]) and raw.strip(_ERASED[1]):
                found.append(raw)
        return found

    def _initialize(self, mode: int, key_index: int, amount_fen: int, terminal: bytes) -> _Opened:
        """INITIALIZE FOR LOAD, PURCHASE or CAPP PURCHASE. From here to DEBIT or CREDIT only 80DC may follow."""
        data = bytes((key_index,)) + amount_fen.to_bytes(4, "big") + terminal
        raw = self._send(CommandApdu(0x80, 0x50, mode, 0x02, data, _INIT_LENGTHS[mode])).data
        if len(raw) != _INIT_LENGTHS[mode]:
            raise CardDataError(f"INITIALIZE answered {len(raw)} bytes")
        at = 6 if mode == _INIT_LOAD else 9
        balance, sequence = int.from_bytes(raw[:4], "big") & AMOUNT_MAX, int.from_bytes(raw[4:6], "big")
        return _Opened(balance, sequence, raw[at], raw[at + 1], raw[at + 2 : at + 6], raw[at + 6 :])

    def _pending(
        self, reference: str, kind: int, opened: _Opened, amount_fen: int, terminal: bytes, key_index: int
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
        for entry in self.log():
            if entry.number == pending.number and (entry.type in _ONLINE) == pending.is_load:
                told: tuple[Any, ...] = (entry.type, entry.amount_fen, entry.terminal)
                is_same = told == (pending.kind, pending.amount_fen, pending.terminal)
                return is_same and pending.moment in ("", entry.moment)
        return None

    def _counter(self, pending: Pending) -> int:
        """The counter the next transaction of this kind would show; the INIT it takes is abandoned."""
        mode = _INIT_LOAD if pending.is_load else _INIT_PURCHASE
        try:
            return self._initialize(mode, pending.key_index, 0, bytes.fromhex(pending.terminal)).sequence
        except StatusWordError as error:
            if error.sw == SW.COUNTER_EXHAUSTED:
                return _COUNTER_MAX
            raise


def _read_record(sfi: int, number: int, length: int) -> CommandApdu:
    return CommandApdu(0x00, 0xB2, number, sfi << 3 | 0x04, b"", length)


def _book(journal: TransitJournal, receipt: Receipt) -> Receipt:
    journal.finish(receipt)
    return _verified(receipt)


def _verified(receipt: Receipt) -> Receipt:
    if receipt.is_verified is False:
        raise CardNotGenuineError("MAC2 of the purse is wrong; the receipt is kept as suspicious")
    return receipt
