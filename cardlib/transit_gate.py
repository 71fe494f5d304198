"""A gate and one card in front of it: what is read, checked, charged and said, in the order of transit_card.md §7.

`TransitGate` decides and drives the two channels; everything else (lists, catalog, clock, display) is handed in. The
time of a tap is read once. One thread. What the clock may do to a decision stands in docs/transit-gate.md.
"""

from __future__ import annotations

import datetime
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, TypeVar

from apdu.channel import Channel
from apdu.errors import ApduError, CardBlockedError, NotFoundError, StatusWordError, TransportError
from apdu.sw import SW
from cardlib.errors import CardDataError, CardNotGenuineError
from cardlib.transit import Opened, Sale, TransactionUnresolvedError, TransitPurse
from cardlib.transit_gate_record import note, refusal_record, tap_record
from cardlib.transit_gate_result import Reason, TapRecord, TapResult
from cardlib.transit_gate_sam import GateSam, SamKeyError, SamLostError
from cardlib.transit_gate_trip import Charge, RefusalError, charges, record_number
from cardlib.transit_journal import JournalError, Pending, Receipt, TransitJournal
from cardlib.transit_psam import PurchaseSam
from cardlib.transit_records import TEST_CLASS, Management, PurseIdentity, encode_moment
from cardlib.transit_rules import FLAT, PLAIN, Issuer, Product, TransitRules

MAX_PENDING: Final = 64
"""Torn purses a terminal waits for, oldest first out; at least ten are asked for (§8)."""
MAX_RECENT: Final = 256
MAX_TOLD: Final = 200
MAC_FAILURES_MAX: Final = 3
"""Wrong MAC1 in a row, on different cards: it is the PSAM then."""

T = TypeVar("T")
Opener = Callable[[TapResult], None]


@dataclass(frozen=True, slots=True)
class GateClock:
    """`now` is China's time without a zone; `is_trusted` says that the centre agreed with it lately."""

    now: Callable[[], datetime.datetime]
    monotonic: Callable[[], float]
    is_trusted: Callable[[], bool]


@dataclass(slots=True)
class _Tap:
    """One card in the field."""

    purse: TransitPurse
    sam: GateSam
    now: datetime.datetime
    opened: Opener | None
    was_there: bool
    amount_fen: int | None = None
    refusals: list[TapRecord] = field(default_factory=list)

    @property
    def moment(self) -> str:
        return encode_moment(self.now).hex()

    @property
    def identity(self) -> PurseIdentity:
        assert self.purse.identity is not None
        return self.purse.identity


class TransitGate:
    """`is_blocked` answers for a purse, None where no list can be trusted; `in_force` whether a catalog item holds.

    `names_purses`: whether the list names the purses themselves. One that only suspects may mean another: its hit is
    refused, and never locks a card.
    """

    def __init__(
        self,
        rules: TransitRules,
        journal: TransitJournal,
        *,
        is_blocked: Callable[[PurseIdentity], bool | None],
        in_force: Callable[[str, datetime.date], bool],
        clock: GateClock,
        names_purses: Callable[[], bool] = lambda: True,
    ) -> None:
        self.rules = rules
        self._journal = journal
        self._is_blocked = is_blocked
        self._in_force = in_force
        self._names_purses = names_purses
        self._clock = clock
        self._recent: OrderedDict[str, float] = OrderedDict()
        self._torn: dict[str, float] = {pending.serial: clock.monotonic() for pending in journal.unresolved}
        self._known_torn: set[str] = set()
        self._mac_failures = 0
        self._forged: OrderedDict[str, None] = OrderedDict()
        """Purses whose MAC2 was wrong: once the gate may be deceived, not twice."""

    def replace(self, rules: TransitRules) -> None:
        """Between two taps."""
        self.rules = rules

    # -- one tap ------------------------------------------------------------------------------------------------------

    def tap(
        self,
        channel: Channel,
        sam: PurchaseSam,
        *,
        protocol: str = "T=1",
        opened: Opener | None = None,
        was_there: bool = False,
    ) -> TapResult:
        """Everything from SELECT to the booking. `opened` hears of GO before the PSAM has looked at MAC2. `was_there`:
        the card may have lain there since before the program or its reader began; the purse served last is not charged
        anew then.

        Raises only what `opened` raises, and then everything is booked.
        """
        now = self._clock.now().replace(microsecond=0)
        tap = _Tap(TransitPurse(channel, protocol=protocol), GateSam(sam), now, opened, was_there)
        try:
            result = self._serve(tap)
        except RefusalError as refusal:
            amount = refusal.amount_fen if refusal.amount_fen is not None else tap.amount_fen
            result = TapResult(refusal.reason, amount, balance_fen=refusal.balance_fen)
        except SamKeyError:
            result = TapResult(Reason.ISSUER)
        except SamLostError:
            result = TapResult(Reason.PSAM, is_alarm=True)
        except CardNotGenuineError:
            result = TapResult(Reason.NOT_GENUINE, is_alarm=True)
        except (JournalError, OSError):
            result = TapResult(Reason.JOURNAL, is_alarm=True)
        except (ApduError, CardDataError, TransactionUnresolvedError) as error:
            result = TapResult(_reason_of(error))
        return replace(result, records=(*self.undelivered(), *tap.refusals))

    def _serve(self, tap: _Tap) -> TapResult:
        self._check_clock(tap)
        try:
            identity = tap.purse.open()
        except NotFoundError:
            raise RefusalError(Reason.NO_PURSE) from None
        except CardBlockedError:
            raise RefusalError(Reason.BLOCKED_CARD) from None
        was_torn = self._journal.pending(identity.serial) is not None
        recovered = self._recover(tap)
        if recovered is not None:
            return recovered
        if identity.serial in self._forged:
            raise RefusalError(Reason.NOT_GENUINE)
        seen = self._recent.get(identity.serial)
        is_recent = seen is not None and self._clock.monotonic() - seen < self.rules.limits.retap_s
        if is_recent or (tap.was_there and not was_torn and identity.serial == self._journal.last_serial):
            raise RefusalError(Reason.RETAP)
        issuer = self._check_purse(tap)
        product, management = self._product(tap, issuer)
        number = record_number(self.rules.mode)
        process = tap.purse.process(number) if number is not None else b""
        planned = charges(self.rules, product, process, tap.now, is_clock_sure=self._clock.is_trusted())
        for charge in planned:
            result = self._charge(tap, charge, product, management)
            if result.is_alarm and not charge.opens:
                raise CardNotGenuineError("MAC2")
        return result

    def _check_clock(self, tap: _Tap) -> None:
        """A clock that was set back could make old trips young and dead cards valid: nothing is decided by it."""
        rules, newest = self.rules, self._journal.newest_moment
        if not rules.holds(tap.now.date()):
            raise RefusalError(Reason.RULES)
        earliest = encode_moment(tap.now + datetime.timedelta(seconds=rules.limits.skew_s)).hex()
        if newest <= earliest:
            return
        if not self._clock.is_trusted():
            raise RefusalError(Reason.CLOCK)
        self._journal.set_clock(tap.moment)

    def _check_purse(self, tap: _Tap) -> Issuer:
        """§7, 2 to 4 and 7. Raises RefusalError."""
        identity = tap.identity
        issuer = self.rules.issuer_of(identity.issuer[:4].hex())
        if issuer is None or issuer.key_index != tap.sam.key_index:
            raise RefusalError(Reason.ISSUER)
        if not identity.is_activated:
            raise RefusalError(Reason.NOT_ACTIVE)
        if identity.trouble(tap.now.date()):
            raise RefusalError(Reason.EXPIRED)
        is_blocked = self._is_blocked(identity)
        if is_blocked:
            self._lock(tap)
            raise RefusalError(Reason.BLOCKED)
        if is_blocked is None and self.rules.policy.block_list == "required":
            raise RefusalError(Reason.BLOCK_LIST)
        return issuer

    def _lock(self, tap: _Tap) -> None:
        """Whatever comes of it, the card is refused."""
        is_locked: bool | None = None
        if self.rules.policy.lock != "none" and self._names_purses():
            try:
                tap.purse.block(tap.sam, permanently=self.rules.policy.lock == "permanent")
                is_locked = True
            except (ApduError, CardDataError, SamKeyError, SamLostError):
                is_locked = False
        record = refusal_record(
            self.rules, tap.sam.terminal_number, tap.identity, Reason.BLOCKED, tap.moment, is_locked=is_locked
        )
        tap.refusals.append(record)

    def _product(self, tap: _Tap, issuer: Issuer) -> tuple[Product, Management]:
        """§7, 5 and 6; EF17 is read where a rule asks for it. Raises RefusalError."""
        rules, digits = self.rules, tap.identity.issuer[:4].hex()
        if issuer.home and not rules.products and not rules.policy.refuses_test_cards:
            return PLAIN, Management("", tap.identity.city, True, 0)
        management = tap.purse.management()
        if not issuer.home and not management.is_interoperable:
            raise RefusalError(Reason.FOREIGN)
        kind = management.passenger_class
        if kind == TEST_CLASS and rules.policy.refuses_test_cards:
            raise RefusalError(Reason.TEST_CARD)
        product = rules.product_of(digits, kind)
        if product is None and rules.policy.unknown_class == "refuse" and kind != 1:
            raise RefusalError(Reason.CLASS)
        if product is None or (product.item is not None and not self._in_force(product.item, tap.now.date())):
            product = PLAIN
        return product, management

    # -- money --------------------------------------------------------------------------------------------------------

    def _charge(self, tap: _Tap, charge: Charge, product: Product, management: Management) -> TapResult:
        tap.amount_fen = charge.amount_fen
        details = note(self.rules, product, management.passenger_class, management.city, charge)
        sale = Sale(secrets.token_hex(8), charge.amount_fen, tap.now, charge.plan, details)
        opened = self._start(tap, sale, charge)
        pending = tap.purse.authorise(sale, opened, tap.sam)
        self._make_room()
        try:
            receipt, mac2 = tap.purse.debit(sale, pending, tap.sam, self._journal)
        except TransportError:
            self._torn[pending.serial] = self._clock.monotonic()
            self._known_torn.add(pending.serial)
            raise
        except StatusWordError as error:
            raise self._refused_debit(error) from error
        self._mac_failures = 0
        if mac2:
            # Before the gate opens, so that a program killed here does not open it again for the same money.
            self._journal.finish(receipt)
        is_free = charge.full_fare_fen and not product.price(charge.full_fare_fen)
        result = TapResult(
            Reason.FREE if is_free and charge.reason is not Reason.UPDATED else charge.reason,
            charge.amount_fen,
            charge.full_fare_fen,
            opened.balance - charge.amount_fen,
            None if product is PLAIN else product,
        )
        return self._open(tap, result, receipt, mac2) if charge.opens else self._close(tap, result, receipt, mac2)

    def _start(self, tap: _Tap, sale: Sale, charge: Charge) -> Opened:
        """INIT, which tells what the purse holds. Raises RefusalError when that is too little."""
        try:
            opened = tap.purse.start(sale.amount_fen, sale.kind, tap.sam)
        except StatusWordError as error:
            if error.sw == SW.AMOUNT_INSUFFICIENT:
                raise RefusalError(Reason.BALANCE, max(charge.amount_fen, charge.least_fen)) from None
            raise
        if opened.balance < charge.least_fen:
            raise RefusalError(Reason.BALANCE, max(charge.amount_fen, charge.least_fen), opened.balance)
        return opened

    def _refused_debit(self, error: StatusWordError) -> Exception:
        if error.sw != SW.TRANSACTION_MAC:
            return error
        self._mac_failures += 1
        return SamLostError("MAC1") if self._mac_failures >= MAC_FAILURES_MAX else CardNotGenuineError("MAC1")

    def _open(self, tap: _Tap, result: TapResult, receipt: Receipt, mac2: bytes) -> TapResult:
        if mac2 and self.rules.policy.waits_for_mac2:
            result = self._close(tap, result, receipt, mac2)
            if result.is_alarm:
                raise CardNotGenuineError("MAC2")
            mac2 = b""
        _remember(self._recent, receipt.transaction.serial, self._clock.monotonic())
        try:
            if tap.opened is not None:
                tap.opened(result)
        finally:
            result = self._close(tap, result, receipt, mac2)
        return result

    def _close(self, tap: _Tap, result: TapResult, receipt: Receipt, mac2: bytes) -> TapResult:
        """CREDIT SAM FOR PURCHASE. A wrong MAC2 may come too late for the gate, not for the record."""
        settled = tap.purse.settle(receipt, mac2, tap.sam, self._journal)
        if settled.is_verified is False:
            _remember(self._forged, receipt.transaction.serial, None)
        return replace(result, is_alarm=settled.is_verified is False)

    # -- torn taps ----------------------------------------------------------------------------------------------------

    def _recover(self, tap: _Tap) -> TapResult | None:
        """§8: what became of this purse's torn tap. A result when it was paid and the gate opens for it now."""
        pending = self._journal.pending(tap.identity.serial)
        if pending is None:
            return None
        try:
            receipt = tap.purse.recover(self._journal, tap.sam)
        except TransactionUnresolvedError:
            self._give_up(pending)
            return None
        except CardNotGenuineError:
            _remember(self._forged, pending.serial, None)
            raise
        is_young = self._is_young(pending, tap.now)
        self._forget(pending.serial)
        if receipt is None or not pending.note.get("opens") or not is_young:
            return None
        if not receipt.tac and self.rules.mode not in FLAT:
            return None  # the purse was used since, and its trip has gone on: it is judged anew
        result = TapResult(
            Reason.RECOVERED, pending.amount_fen, pending.note["fare"], pending.balance_fen - pending.amount_fen
        )
        return self._open(tap, result, receipt, b"")

    def _is_young(self, pending: Pending, now: datetime.datetime) -> bool:
        """Whether a gate that stayed shut then opens now. Time of this start counts without the clock; across a restart
        the clock must put the tap neither too far back nor into the future."""
        limit = self.rules.limits.recovered_s
        seen = self._clock.monotonic()
        if seen - self._torn.get(pending.serial, seen) > limit:
            return False
        if pending.serial in self._known_torn:
            return True
        age = (now - datetime.datetime.strptime(pending.moment, "%Y%m%d%H%M%S")).total_seconds()
        return -self.rules.limits.skew_s <= age <= limit

    def _make_room(self) -> None:
        waiting = self._journal.unresolved
        for pending in waiting[: max(0, len(waiting) - MAX_PENDING + 1)]:
            self._give_up(pending)

    def _give_up(self, pending: Pending) -> None:
        if not self._journal.is_doubted(pending):
            self._journal.doubt(pending)
        self._journal.drop(pending)
        self._forget(pending.serial)

    def _forget(self, serial: str) -> None:
        self._torn.pop(serial, None)
        self._known_torn.discard(serial)

    def overdue(self) -> tuple[TapRecord, ...]:
        """Tells as suspicious, once, every torn tap whose card has not come back in time; what is to be delivered."""
        now = self._clock.monotonic()
        for pending in self._journal.unresolved:
            since = self._torn.setdefault(pending.serial, now)
            if now - since >= self.rules.limits.torn_s and not self._journal.is_doubted(pending):
                self._journal.doubt(pending)
        return self.undelivered()

    # -- delivery -----------------------------------------------------------------------------------------------------

    def undelivered(self) -> tuple[TapRecord, ...]:
        """Of this journal, also of an earlier start; the oldest of them first."""
        return tuple(tap_record(settled) for settled in islice(self._journal.outbox, MAX_TOLD))

    def delivered(self, records: Iterable[TapRecord]) -> None:
        """They are safe where they were to go."""
        for record in records:
            self._journal.deliver(record.key)


def _remember(known: OrderedDict[str, T], serial: str, value: T) -> None:
    known[serial] = value
    known.move_to_end(serial)
    while len(known) > MAX_RECENT:
        known.popitem(last=False)


def _reason_of(error: Exception) -> Reason:
    if isinstance(error, TransportError):
        return Reason.REMOVED
    if isinstance(error, CardBlockedError):
        return Reason.BLOCKED_CARD
    return Reason.CARD_FAULT
