"""A small city of gates and purses, and a second opinion on every tap: what a purse should hold, which trip is open.

The model knows the rules in its own few lines and looks at nothing the gates decided; after every tap it is laid beside
the purse itself, the gate's answer and, at the end of a day, the centre's books.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cardlib.transit_clearing import Standing, Told, standings, verdict_of
from cardlib.transit_journal import Pending, TransitJournal
from cardlib.transit_takings import TransitTap
from hsm.primitives import default_engine
from hsm.transit_transactions import SoftTransitTransactionKeys
from simulators.contactless import ContactlessCard
from simulators.faults import Faults
from tests.cardlib.gate_stand import FARES, INSTITUTION, OTHER, START, Gate, Time, card, purse, rules, table
from tests.cardlib.transit import LOAD_TERMINAL, Bank, RootsAtHand, insert

FREE_S, STAY_S, RETAP_S, RECOVERED_S, SKEW_S = 1200, 14400, 2, 600, 120
FREE_ITEM = "joint-transport-free-ride"
FLAT_FEN, LEAST_ENTRY = 200, 300
QUIET = {"begins": "09:30", "ends": "16:00", "days": [1, 2, 3, 4, 5], "percent": 70}


@dataclass
class Trip:
    network: str
    line: int
    station: int
    since: float
    marked: int
    paid: int = 0


@dataclass
class Torn:
    """A tap that the passenger was told to repeat; `was_paid` is what the purse itself did."""

    reference: str
    name: tuple[str, str]
    was_paid: bool
    amount: int
    opens: bool
    at: float
    off_s: float
    transaction: int


@dataclass
class Rider:
    """What there should be in one purse."""

    holder: ContactlessCard
    number: int
    balance: int
    passenger_class: int
    rail: Trip | None = None
    bus: Trip | None = None
    transactions: int = 0
    start: int = 0
    is_locked: bool = False
    torn: dict[str, Torn] = field(default_factory=dict)
    last_go: dict[str, float] = field(default_factory=dict)

    @property
    def state(self) -> Any:
        return self.holder.state.neighbours.transit

    @property
    def serial(self) -> str:
        return self.state.public[10:20].hex()


@dataclass
class Step:
    """One purchase that a tap should make."""

    amount: int
    least: int
    reason: str
    rail: Trip | str | None = "same"
    bus: Trip | str | None = "same"
    opens: bool = True


class Refused(Exception):
    pass


class City:
    """Metro with two gates a side, a flat bus, a bus by distance, the staff's readers, a gate of another network."""

    def __init__(self, rng: random.Random, riders: int = 40) -> None:
        self.rng, self.time = rng, Time()
        self.items, self.blocked = {FREE_ITEM}, set[str]()
        self.gates = {
            "in1": self._gate("in1", "metro_entry", 5),
            "in2": self._gate("in2", "metro_entry", 5),
            "out1": self._gate("out1", "metro_exit", 17),
            "out2": self._gate("out2", "metro_exit", 17),
            "bus": self._gate("bus", "bus_flat", 9),
            "on": self._gate("on", "bus_board", 5),
            "off": self._gate("off", "bus_alight", 17),
            "staff_in": self._gate("staff_in", "service_entry", 5),
            "staff_out": self._gate("staff_out", "service_exit", 17),
            "far": self._gate("far", "metro_entry", 5, institution=OTHER),
        }
        self.riders = [self._rider(number) for number in range(riders)]
        self.told: dict[str, list[TransitTap]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self.debits = self.journeys = 0
        self.made_at: dict[tuple[str, str], float] = {}
        self.executed: set[tuple[str, str]] = set()
        self.restarted: dict[str, float] = {}
        self.bank = Bank("3DES", account=10**9)
        self.keys = SoftTransitTransactionKeys(RootsAtHand(default_engine()))

    def _gate(self, name: str, mode: str, station: int, institution: str = INSTITUTION) -> Gate:
        fares = ({"flat_fen": FLAT_FEN} if mode == "bus_flat" else FARES) | {"discounts": [QUIET]}
        place = table(mode, station)["place"] | {"institution": institution}
        limits = {"minimum_entry_fen": LEAST_ENTRY}
        number = f"0999{sum(map(ord, name)):08d}"
        told = rules(mode, station, fares=fares, place=place, limits=limits)
        return Gate(told, self.time, number, name, items=self.items, blocked=self.blocked)

    def _rider(self, number: int) -> Rider:
        kind = self.rng.choice([1, 1, 1, 2, 3])
        balance = self.rng.choice([0, 250, 800, 5000, 20000])
        holder = card(purse(number, passenger_class=kind, balance=balance), number)
        return Rider(holder, number, balance, kind, start=balance)

    # -- the second opinion -------------------------------------------------------------------------------------------

    def price(self, rider: Rider, fare: int) -> int:
        if rider.passenger_class == 3 and FREE_ITEM in self.items:
            return 0
        return max(0, fare // 2 - 1) if rider.passenger_class == 2 else fare

    def fare(self, fen: int, began: float) -> int:
        """Seven tenths between half past nine and four on a working day."""
        moment = START + timedelta(seconds=began)
        is_quiet = moment.weekday() < 5 and 570 <= moment.hour * 60 + moment.minute < 960
        return fen * 7 // 10 if is_quiet else fen

    def steps(self, gate: Gate, rider: Rider) -> list[Step]:
        """The purchases of a tap by a good card. Raises Refused."""
        now, place = self.time.passed_s + gate.off_s, gate.rules.place
        maximum = self.price(rider, 900)
        here = Trip(place.institution, 2, place.station, now, maximum)
        rail, bus = rider.rail, rider.bus
        match gate.name:
            case "bus":
                amount = self.price(rider, self.fare(FLAT_FEN, now))
                return [Step(amount, amount, "PAID" if amount else "FREE")]
            case "in1" | "in2" | "far":
                if rail is not None:
                    raise Refused(self._still_in(rail, place.institution, now))
                return [Step(0, LEAST_ENTRY if maximum else 0, "ENTRY", rail=here)]
            case "out1" | "out2":
                amount = self._exit(rider, rail, place.institution, now, 505 if rail and rail.station == 5 else 300)
                return [Step(amount, amount, "EXIT", rail=None)]
            case "on":
                board = Step(0, max(LEAST_ENTRY, maximum) if maximum else 0, "ENTRY", bus=here)
                return [Step(bus.marked, bus.marked, "PAID", bus=None, opens=False), board] if bus else [board]
            case "off":
                amount = self._exit(rider, bus, place.institution, now, 505)
                return [Step(amount, amount, "EXIT", bus=None)]
            case "staff_in":
                if rail is None:
                    raise Refused("NOTHING_TO_DO")
                trouble = self._still_in(rail, place.institution, now)
                if trouble == "OTHER_NETWORK":
                    raise Refused(trouble)
                if now - rail.since < -SKEW_S and not gate.is_trusted:
                    raise Refused("CLOCK")
                amount = 0 if trouble == "ENTERED" else max(0, maximum - rail.paid)
                return [Step(amount, amount, "UPDATED", rail=None)]
        if rail is None:
            paid = self.price(rider, 300)
            return [Step(paid, paid, "UPDATED", rail=Trip(place.institution, 2, place.station, now, maximum, paid))]
        if rail.network != place.institution:
            raise Refused("OTHER_NETWORK")
        if -SKEW_S <= now - rail.since <= STAY_S:
            raise Refused("NOTHING_TO_DO")
        amount = max(0, maximum - rail.paid)
        return [Step(amount, amount, "UPDATED", rail=None)]

    def _still_in(self, trip: Trip, network: str, now: float) -> str:
        if trip.network != network:
            return "OTHER_NETWORK"
        return "ENTERED" if now - trip.since < FREE_S else "UPDATE_PAID"

    def _exit(self, rider: Rider, trip: Trip | None, network: str, now: float, fare: int) -> int:
        if trip is None:
            raise Refused("NOT_ENTERED")
        if trip.network != network:
            raise Refused("OTHER_NETWORK")
        if now - trip.since < -SKEW_S:
            raise Refused("CLOCK")
        if now - trip.since > STAY_S:
            raise Refused("OVERTIME")
        return max(0, self.price(rider, self.fare(fare, trip.since)) - trip.paid)

    def first_refusal(self, gate: Gate, rider: Rider) -> str | None:
        newest = gate.journal.newest_moment
        now = START + timedelta(seconds=self.time.passed_s + gate.off_s)
        if not "20260101" <= f"{now:%Y%m%d}" <= "20261231":
            return "RULES"
        if newest > f"{now + timedelta(seconds=SKEW_S):%Y%m%d%H%M%S}" and not gate.is_trusted:
            return "CLOCK"
        if rider.is_locked:
            return "BLOCKED_CARD"
        return None

    # -- a tap --------------------------------------------------------------------------------------------------------

    def tap(self, name: str, rider: Rider, tear: tuple[str, int] | None = None) -> str:
        """One tap, checked; the reason the gate gave."""
        gate = self.gates[name]
        rider.holder.faults = Faults(**({f"tear_{tear[0]}": tear[1]} if tear else {}))
        before = self._truth(rider)
        opened: list[Any] = []
        result = gate.tap(rider.holder, opened.append)
        rider.holder.faults = Faults()
        for sale in (*gate.journal.unresolved, *(one.receipt.transaction for one in gate.journal.outbox)):
            self.made_at.setdefault(_name(sale), self.time.passed_s)
        reason = result.reason.value
        self.counts[f"{name}:{reason}"] += 1
        assert bool(opened) == (result.state == "go"), "the gate opens for GO alone, once"
        if reason == "REMOVED":
            self._torn(gate, rider, before, tear)
        else:
            self._whole(gate, rider, before, result)
        self._check(rider)
        return reason

    def _truth(self, rider: Rider) -> tuple[int, int]:
        return rider.state.balance, rider.state.offline

    def _settle_torn(self, gate: Gate, rider: Rider) -> str | None:
        """The torn tap of this purse here, if any: what the gate should say to it before all else."""
        torn = rider.torn.pop(gate.name, None)
        if torn is None or not torn.was_paid or not torn.opens:
            return None
        is_young = self.time.passed_s - torn.at <= RECOVERED_S
        restarted = self.restarted.get(gate.name, -1.0)
        if restarted >= torn.at:
            age = self.time.passed_s + gate.off_s - torn.at - torn.off_s
            is_young = -SKEW_S <= age <= RECOVERED_S and self.time.passed_s - restarted <= RECOVERED_S
        is_last = torn.transaction == rider.transactions
        return "RECOVERED" if is_young and (is_last or gate.name == "bus") else None

    def _expected(self, gate: Gate, rider: Rider, *, is_blocked: bool) -> tuple[str, list[Step]]:
        last = rider.last_go.get(gate.name)
        if last is not None and self.time.passed_s - last < RETAP_S:
            return "RETAP", []
        if not rider.state.public[9]:
            return "NOT_ACTIVE", []
        if rider.state.public[24:28].hex() < "2026":
            return "EXPIRED", []
        if is_blocked:
            return "BLOCKED", []
        if rider.state.management[10] == 4:
            return "TEST_CARD", []
        try:
            steps = self.steps(gate, rider)
        except Refused as refused:
            return str(refused), []
        done = []
        balance = rider.balance
        for step in steps:
            if balance < max(step.amount, step.least):
                return "BALANCE", done
            if gate.psam.is_gone:
                return "PSAM", done
            balance -= step.amount
            done.append(step)
        reason = steps[-1].reason
        free = reason == "EXIT" and not self.price(rider, 900)
        return "FREE" if free else reason, done

    def _whole(self, gate: Gate, rider: Rider, before: tuple[int, int], result: Any) -> None:
        """A tap that came to its end. A torn one of before is settled first, whatever comes then."""
        first = self.first_refusal(gate, rider)
        reason, steps = (first, []) if first else (None, [])
        if reason is None:
            is_blocked = rider.serial in gate.blocked
            reason = self._settle_torn(gate, rider)
            if reason is None:
                reason, steps = self._expected(gate, rider, is_blocked=is_blocked)
        assert result.reason == reason, (gate.name, result, rider)
        for step in steps:
            self._apply(rider, step)
        if result.state == "go":
            rider.last_go[gate.name] = self.time.passed_s
            assert result.balance_fen is not None
            assert reason == "RECOVERED" or result.balance_fen == rider.balance
        if reason == "BLOCKED":
            rider.is_locked = rider.state.block != 0
        assert before[0] - rider.state.balance == sum(step.amount for step in steps)

    def _apply(self, rider: Rider, step: Step) -> None:
        rider.balance -= step.amount
        rider.transactions += 1
        self.debits += step.amount
        if step.rail != "same":
            rider.rail = step.rail  # type: ignore[assignment]
        if step.bus != "same":
            rider.bus = step.bus  # type: ignore[assignment]

    def _torn(self, gate: Gate, rider: Rider, before: tuple[int, int], tear: Any) -> None:
        """The purse went away. What it did itself is the truth; it did one of the steps whole, or none of it."""
        assert tear is not None
        pending, old = gate.journal.pending(rider.serial), rider.torn.get(gate.name)
        if old is not None and pending is not None and pending.reference == old.reference:
            assert rider.state.offline == before[1]
            return  # torn again while the older one was looked into
        if old is not None:
            assert self._settle_torn(gate, rider) is None, "nothing else before an open one was answered"
        made = rider.state.offline - before[1]
        if not made and pending is None:
            return
        _, steps = self._expected(gate, rider, is_blocked=False)
        assert made <= len(steps)
        for step in steps[:made]:
            self._apply(rider, step)
        if pending is None:
            return
        was_paid = pending.sequence < rider.state.offline
        step = steps[made - 1 if was_paid else made]
        assert (pending.amount_fen, pending.note["opens"]) == (step.amount, step.opens)
        told = pending.reference, _name(pending), was_paid, step.amount, step.opens
        rider.torn[gate.name] = Torn(*told, self.time.passed_s, gate.off_s, rider.transactions)
        if was_paid:
            self.executed.add(_name(pending))

    def _check(self, rider: Rider) -> None:
        """The purse is what the model says: money, trip records, log."""
        state, rail, bus = rider.state, rider.rail, rider.bus
        assert state.balance == rider.balance, rider
        for record, trip in ((state.processes[0], rail), (state.processes[1], bus)):
            assert (record[14] in (1, 3)) == (trip is not None), (record[14], trip)
        if rail is not None:
            moment = f"{START + timedelta(seconds=rail.since):%Y%m%d%H%M%S}"
            assert state.processes[0][67:74].hex() == moment
            assert int.from_bytes(state.processes[0][41:43], "big") == rail.station
        if state.trips and state.log and state.log[0][9] == 9:
            newest, entry = state.trips[0], state.log[0]
            assert newest[17:21] == entry[5:9], "trip and log tell the same amount"
            assert newest[25:32] == entry[16:23]
            assert newest[3:9] == entry[10:16]

    # -- the rest of the world ----------------------------------------------------------------------------------------

    def load(self, rider: Rider, fen: int) -> None:
        insert(rider.holder).load(f"{self.journeys} {rider.number}", fen, LOAD_TERMINAL, self.bank, TransitJournal())
        rider.balance += fen
        rider.start += fen
        rider.transactions += 1

    def restart(self, name: str) -> None:
        """The gate's program is killed and started again."""
        self.gates[name].restart()
        self.restarted[name] = self.time.passed_s
        for rider in self.riders:
            rider.last_go.pop(name, None)

    def deliver(self) -> None:
        """Every gate hands on what it has."""
        for gate in self.gates.values():
            gate.gate.overdue()
            for payload in gate.told():
                if isinstance(payload, TransitTap):
                    self.told[payload.serial].append(payload)

    def balance_the_books(self) -> Counter[str]:
        """Σ debits of the purses = Σ takings at the centre, purse by purse, to the fen, but for what nobody can know
        there yet; the records come to it in any order and some of them twice."""
        sums: Counter[str] = Counter()
        for rider in self.riders:
            taps = [*self.told[rider.serial], *self.told[rider.serial][::7]]
            self.rng.shuffle(taps)
            told = [Told.of(tap, verdict_of(tap, self.keys), self._at(tap)) for tap in taps]
            paid = taken = 0
            for tap, one in zip(taps, standings(told), strict=True):
                sums[one.standing.value] += 1
                assert one.standing is not Standing.REFUSED, tap
                if one.is_taking:
                    taken += tap.amount_fen
                elif one.standing is Standing.OPEN and (tap.psam, tap.number) in self.executed:
                    sums["open_fen"] += tap.amount_fen
                    paid -= tap.amount_fen
            paid += rider.start - rider.balance
            assert paid == taken, (rider, taps)
            sums["taken_fen"] += taken
        assert sums["taken_fen"] + sums["open_fen"] == self.debits
        return sums

    def _at(self, tap: TransitTap) -> datetime:
        return START + timedelta(seconds=self.made_at[tap.psam, tap.number])


def _name(sale: Pending) -> tuple[str, str]:
    return sale.terminal.upper(), sale.terminal_sequence.upper()
