"""What one tap costs and writes, from the rules, the card's process record and the time: no card and no PSAM here.

transit_card.md §6, first rule that applies. Where the order of the trip is broken the gate refuses and the service
point mends it; nothing here opens a gate for free but what the rules say.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cardlib.transit_gate_result import Reason
from cardlib.transit_process import OpenTrip, bus_trip, rail_trip
from cardlib.transit_records import (
    BUS,
    RAIL,
    TripPlan,
    bus_alight,
    bus_board,
    encode_moment,
    rail_entry,
    rail_entry_update,
    rail_exit,
    rail_exit_update,
    single_ride,
)
from cardlib.transit_rules import FLAT, Degraded, Mode, Product, TransitRules


class RefusalError(Exception):
    """No charge and no open gate; `amount_fen` is what would have been needed."""

    def __init__(self, reason: Reason, amount_fen: int | None = None, balance_fen: int | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.amount_fen = amount_fen
        self.balance_fen = balance_fen


@dataclass(frozen=True, slots=True)
class Charge:
    """One purchase. `least_fen` is what the purse must hold for it; `opens` False where it only settles what an
    earlier trip left; `is_emergency` where a degraded mode let the card out for nothing."""

    amount_fen: int
    full_fare_fen: int
    plan: TripPlan | None
    reason: Reason
    least_fen: int = 0
    opens: bool = True
    entry: OpenTrip | None = None
    marked_fen: int | None = None
    is_emergency: bool = False


def record_number(mode: Mode) -> int | None:
    """The process record the mode needs."""
    if mode in FLAT:
        return None
    return BUS if mode in (Mode.BUS_BOARD, Mode.BUS_ALIGHT) else RAIL


def charges(
    rules: TransitRules, product: Product, process: bytes, now: datetime.datetime, *, is_clock_sure: bool = False
) -> list[Charge]:
    """What this tap is to do, in order. `is_clock_sure`: the centre agrees with `now`. Raises RefusalError;
    CardDataError for a malformed record."""
    if rules.has(Degraded.EMERGENCY) and rules.mode not in (Mode.METRO_EXIT, Mode.BUS_ALIGHT):
        raise RefusalError(Reason.CLOSED)
    desk = _Desk(rules, product, process, now, is_clock_sure)
    match rules.mode:
        case Mode.METRO_ENTRY:
            return [desk.rail_entry()]
        case Mode.METRO_EXIT:
            return [desk.rail_exit()]
        case Mode.BUS_BOARD:
            return desk.bus_board()
        case Mode.BUS_ALIGHT:
            return [desk.bus_alight()]
        case Mode.SERVICE_ENTRY:
            return [desk.service_entry()]
        case Mode.SERVICE_EXIT:
            return [desk.service_exit()]
    return [desk.flat()]


@dataclass(frozen=True, slots=True)
class _Desk:
    rules: TransitRules
    product: Product
    process: bytes
    now: datetime.datetime
    is_clock_sure: bool

    def flat(self) -> Charge:
        fares = self.rules.fares
        fare = 0 if self.rules.has(Degraded.FARE_FREE) else fares.at(fares.flat_fen or 0, self.now)
        amount = self.product.price(fare)
        is_composite = self.rules.policy.writes_trip or not amount
        plan = single_ride(self.rules.place.on_card()) if is_composite else None
        reason = Reason.PAID if amount else Reason.FREE
        return Charge(amount, fare, plan, reason, amount + self._left(amount))

    def rail_entry(self) -> Charge:
        trip = rail_trip(self.process)
        if trip.is_open and not self.rules.has(Degraded.ENTRY_FREE):
            raise RefusalError(self._unfinished(trip))
        maximum = self.product.price(self.rules.fares.maximum_fen)
        plan = rail_entry(self.rules.place.on_card(), self.process, maximum)
        least = self.rules.limits.minimum_entry_fen if maximum else 0
        return Charge(0, 0, plan, Reason.ENTRY, least, marked_fen=maximum)

    def rail_exit(self) -> Charge:
        trip, rules = rail_trip(self.process), self.rules
        plan = rail_exit(rules.place.on_card(), self.process)
        if rules.has(Degraded.EMERGENCY) or rules.has(Degraded.EXIT_FREE):
            entry = trip if trip.is_open else None
            return Charge(0, 0, plan, Reason.EXIT, entry=entry, is_emergency=True)
        fare = self._trip_fare(trip)
        amount = max(0, self.product.price(fare) - trip.paid_fen)
        return Charge(amount, fare, plan, Reason.EXIT, amount + self._left(amount), entry=_known(trip))

    def bus_board(self) -> list[Charge]:
        trip, place = bus_trip(self.process), self.rules.place.on_card()
        maximum = self.product.price(self.rules.fares.maximum_fen)
        board = Charge(
            0,
            0,
            bus_board(place, self.process, maximum),
            Reason.ENTRY,
            max(self.rules.limits.minimum_entry_fen, maximum) if maximum else 0,
            marked_fen=maximum,
        )
        if not trip.is_open or self.rules.has(Degraded.ENTRY_FREE):
            return [board]
        if not self.rules.place.is_own(trip.institution):
            raise RefusalError(Reason.OTHER_NETWORK)
        # What the card says is nobody's word: it never costs more than this operator's longest ride.
        marked = min(trip.marked_fen, self.rules.fares.maximum_fen)
        plan = bus_alight(place, self.process, is_supplement=True)
        return [
            Charge(marked, marked, plan, Reason.PAID, marked, opens=False, entry=trip, marked_fen=marked),
            board,
        ]

    def bus_alight(self) -> Charge:
        trip, rules = bus_trip(self.process), self.rules
        plan = bus_alight(rules.place.on_card(), self.process)
        if rules.has(Degraded.EMERGENCY) or rules.has(Degraded.EXIT_FREE):
            return Charge(0, 0, plan, Reason.EXIT, entry=_known(trip), is_emergency=True)
        if trip.is_open and trip.line != rules.place.line:
            raise RefusalError(Reason.OTHER_NETWORK)
        fare = self._trip_fare(trip)
        amount = self.product.price(fare)
        return Charge(amount, fare, plan, Reason.EXIT, amount + self._left(amount), entry=_known(trip))

    def service_entry(self) -> Charge:
        """For a card the entry gates turned away: the open trip is ended, for nothing within the free window."""
        trip = rail_trip(self.process)
        if not trip.is_open:
            raise RefusalError(Reason.NOTHING_TO_DO)
        reason = self._unfinished(trip)
        if reason is Reason.OTHER_NETWORK:
            raise RefusalError(reason)
        if self._stay(trip) is Reason.CLOCK and not self.is_clock_sure:
            raise RefusalError(Reason.CLOCK)
        fare = 0 if reason is Reason.ENTERED else self.rules.fares.maximum_fen
        amount = max(0, self.product.price(fare) - trip.paid_fen)
        plan = rail_exit_update(self.rules.place.on_card(), self.process)
        return Charge(amount, fare, plan, Reason.UPDATED, amount, entry=trip, marked_fen=amount or None)

    def service_exit(self) -> Charge:
        """For a card the exit gates turned away: an entry here for the lowest fare, or a trip that took too long ended
        for the highest."""
        trip, place = rail_trip(self.process), self.rules.place.on_card()
        if not trip.is_open:
            fare = self.rules.fares.minimum_fen
            amount = self.product.price(fare)
            marked = self.product.price(self.rules.fares.maximum_fen)
            return Charge(amount, fare, rail_entry_update(place, self.process, marked), Reason.UPDATED, amount)
        if not self.rules.place.is_own(trip.institution):
            raise RefusalError(Reason.OTHER_NETWORK)
        if self._stay(trip) is None:
            raise RefusalError(Reason.NOTHING_TO_DO)
        fare = self.rules.fares.maximum_fen
        amount = max(0, self.product.price(fare) - trip.paid_fen)
        return Charge(amount, fare, rail_exit_update(place, self.process), Reason.UPDATED, amount, entry=trip)

    # ------------------------------------------------------------------------------------------------------------------

    def _left(self, amount_fen: int) -> int:
        return self.rules.limits.minimum_left_fen if amount_fen else 0

    def _unfinished(self, trip: OpenTrip) -> Reason:
        """Why a card with an open trip does not go in. A trip that began later than now counts as just begun."""
        if not self.rules.place.is_own(trip.institution):
            return Reason.OTHER_NETWORK
        if trip.moment is None:
            return Reason.UPDATE_PAID
        age = (self.now - trip.moment).total_seconds()
        return Reason.ENTERED if age < self.rules.limits.free_update_s else Reason.UPDATE_PAID

    def _stay(self, trip: OpenTrip) -> Reason | None:
        """Why the time since the trip began is out of order; None when it is not."""
        if self.rules.has(Degraded.DATE_FREE):
            return None
        if trip.moment is None:
            return Reason.CLOCK
        stay = (self.now - trip.moment).total_seconds()
        if stay < -self.rules.limits.skew_s:
            return Reason.CLOCK
        return Reason.OVERTIME if stay > self.rules.limits.maximum_stay_s else None

    def _trip_fare(self, trip: OpenTrip) -> int:
        """Of an exit or of getting off. Raises RefusalError."""
        rules, here = self.rules, (self.rules.place.line, self.rules.place.station)
        if not trip.is_open:
            if not rules.has(Degraded.ENTRY_FREE):
                raise RefusalError(Reason.NOT_ENTERED)
            return 0 if rules.has(Degraded.FARE_FREE) else rules.fares.minimum_fen
        if not rules.place.is_own(trip.institution):
            raise RefusalError(Reason.OTHER_NETWORK)
        trouble = self._stay(trip)
        if trouble is not None:
            raise RefusalError(trouble)
        if rules.has(Degraded.FARE_FREE):
            return 0
        fare = rules.fares.between(trip.place, here)
        if fare is None:
            raise RefusalError(Reason.FARE_UNKNOWN)
        return fare if trip.moment is None else rules.fares.at(fare, trip.moment)


def _known(trip: OpenTrip) -> OpenTrip | None:
    return trip if trip.is_open else None


def entry_note(trip: OpenTrip) -> dict[str, str | int] | None:
    """As the centre is told of it; None where the card's record has no time."""
    if trip.moment is None or not trip.terminal.isdecimal():
        return None
    return {"psam": trip.terminal, "line": trip.line, "station": trip.station, "time": encode_moment(trip.moment).hex()}
