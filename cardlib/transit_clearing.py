"""What stands in the books of what terminals told of one purse: the clearing rule, without any books.

A purse counts its purchases: of all that terminals say about one offline number at most one was carried out. A TAC
proves which; without one the purse's own way on decides, as every later INIT shows how far it had come and what it
held (transit_card.md §8, 可疑). The rule looks at everything anew each time, so that late, repeated and disordered
records change what was decided before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Final, Protocol, Self

from cardlib.transit_psam import algorithm_of
from cardlib.transit_takings import Outcome, TransitTap
from hsm.api import Algorithm, BadInputError, KeyNotFoundError, KeyPurposeError
from hsm.transactions import CryptogramError
from hsm.transit_transactions import TransitTransaction


class Verdict(StrEnum):
    """On the TAC. FOREIGN: the key is not here, the purse's issuer has to say. NONE: there is no TAC."""

    GENUINE = "genuine"
    WRONG = "wrong"
    FOREIGN = "foreign"
    NONE = "none"


class Standing(StrEnum):
    """BOOKED: proved by the TAC. EXECUTED: without TAC, the purse went on. FOREIGN: taken, its issuer clears it. OPEN:
    nobody knows yet. NOT_EXECUTED: told without TAC, the purse says no. VOID: the terminal says no. REPEATED: told
    better by another record of its terminal about the same PSAM number. REFUSED: cannot be true."""

    BOOKED = "booked"
    EXECUTED = "executed"
    FOREIGN = "foreign"
    OPEN = "open"
    NOT_EXECUTED = "not_executed"
    VOID = "void"
    REPEATED = "repeated"
    REFUSED = "refused"

    @property
    def is_taking(self) -> bool:
        return self in (Standing.BOOKED, Standing.EXECUTED, Standing.FOREIGN)


class Why(StrEnum):
    """What decided where the record itself does not say."""

    TAC_WRONG = "tac_wrong"
    NUMBER_TAKEN = "number_taken"
    WENT_ON = "went_on"
    ASKED_AGAIN = "asked_again"
    BALANCE = "balance"
    TOLD_BETTER = "told_better"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Told:
    """One record about a purse. `sequence` and `balance_fen` as INIT showed them, `at` when, by the centre's time;
    `teller` the terminal, whose word about its own numbers no other terminal can take back."""

    psam: str
    number: str
    sequence: int
    balance_fen: int
    amount_fen: int
    outcome: Outcome
    verdict: Verdict
    at: datetime
    teller: str = ""

    @classmethod
    def of(cls, tap: TransitTap, verdict: Verdict, at: datetime, teller: str = "") -> Self:
        shown = tap.sequence, tap.balance_fen, tap.amount_fen
        return cls(tap.psam, tap.number, *shown, tap.outcome, verdict, at, teller)

    @property
    def name(self) -> tuple[str, str, str]:
        return self.teller, self.psam, self.number

    @property
    def is_proved(self) -> bool:
        return self.verdict in (Verdict.GENUINE, Verdict.FOREIGN)

    @property
    def after_fen(self) -> int:
        return self.balance_fen - self.amount_fen


@dataclass(frozen=True, slots=True)
class Judged:
    standing: Standing
    why: Why | None = None

    @property
    def is_taking(self) -> bool:
        return self.standing.is_taking


_REFUSED: Final = Judged(Standing.REFUSED, Why.TAC_WRONG)


class TacKeys(Protocol):
    """Such as `TransitTransactionKeys`."""

    def check_tac(
        self, algorithm: Algorithm, version: int, transaction: TransitTransaction, moment: bytes, tac: bytes
    ) -> None: ...


def verdict_of(tap: TransitTap, keys: TacKeys | None) -> Verdict:
    """`keys` None: the purse's issuer is none of those whose keys are here. Raises HsmError of a service that fails."""
    if tap.tac is None:
        return Verdict.NONE
    if keys is None:
        return Verdict.FOREIGN
    moment, tac = bytes.fromhex(tap.time), bytes.fromhex(tap.tac)
    try:
        keys.check_tac(algorithm_of(tap.algorithm), tap.key_version, _transaction(tap), moment, tac)
    except (KeyNotFoundError, KeyPurposeError):  # also of a key service that was not renewed yet
        return Verdict.FOREIGN
    except (CryptogramError, BadInputError):
        return Verdict.WRONG
    return Verdict.GENUINE


def _transaction(tap: TransitTap) -> TransitTransaction:
    """As far as the TAC covers it; the purse's random is in none."""
    return TransitTransaction(
        kind=tap.type,
        issuer=bytes.fromhex(tap.issuer),
        factor=bytes.fromhex(tap.serial)[2:],
        random=bytes(4),
        sequence=tap.sequence,
        balance=tap.balance_fen,
        amount=tap.amount_fen,
        terminal=bytes.fromhex(tap.psam),
        terminal_sequence=bytes.fromhex(tap.number),
    )


def standings(taps: Sequence[Told]) -> list[Judged]:
    """Of records about one purse, in the order given; the result does not depend on that order."""
    judged: dict[int, Judged] = {}
    by_name: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for place, tap in enumerate(taps):
        if tap.verdict is Verdict.WRONG:
            judged[place] = _REFUSED
        else:
            by_name[tap.name].append(place)
    best = []
    for places in by_name.values():
        first, *rest = sorted(places, key=lambda place: (_rank(taps[place]), taps[place].at))
        best.append(first)
        judged |= dict.fromkeys(rest, Judged(Standing.REPEATED, Why.TOLD_BETTER))
    by_sequence: dict[int, list[int]] = defaultdict(list)
    for place in sorted(best, key=lambda place: (taps[place].at, taps[place].name)):
        by_sequence[taps[place].sequence].append(place)
    numbers = sorted(by_sequence)
    following = dict(pairwise(numbers))
    for number in numbers:
        after = [taps[place] for place in by_sequence.get(following.get(number, -1), ())]
        judged |= _of_number(taps, by_sequence[number], number, after)
    return [judged[place] for place in range(len(taps))]


def _rank(tap: Told) -> int:
    """The less, the better it tells what became of one PSAM number."""
    if tap.verdict is Verdict.GENUINE:
        return 0
    if tap.verdict is Verdict.FOREIGN:
        return 1
    return {"void": 2, "recovered": 3}.get(tap.outcome, 4)


def _of_number(taps: Sequence[Told], places: Sequence[int], number: int, after: Sequence[Told]) -> dict[int, Judged]:
    """`places` of one offline number, the earliest first; `after` those of the purse's next number that is known."""
    judged = {place: Judged(Standing.VOID) for place in places if _is_void(taps[place])}
    claims = [place for place in places if place not in judged]
    proved = sorted(
        (place for place in claims if taps[place].is_proved), key=lambda place: taps[place].verdict is Verdict.FOREIGN
    )
    if proved:
        is_ours = taps[proved[0]].verdict is Verdict.GENUINE
        judged[proved[0]] = Judged(Standing.BOOKED if is_ours else Standing.FOREIGN)
        judged |= dict.fromkeys(proved[1:], Judged(Standing.REFUSED, Why.NUMBER_TAKEN))
        lost = Judged(Standing.NOT_EXECUTED, Why.NUMBER_TAKEN)
        return judged | {place: lost for place in claims if place not in judged}
    if after:
        return judged | _decided(taps, claims, [tap for tap in after if tap.sequence == number + 1])
    asked_again = max(taps[place].at for place in places)
    for place in claims:
        is_over = taps[place].at < asked_again
        open_ = Judged(Standing.OPEN, Why.UNDECIDED)
        judged[place] = Judged(Standing.NOT_EXECUTED, Why.ASKED_AGAIN) if is_over else open_
    return judged


def _is_void(tap: Told) -> bool:
    return tap.outcome == "void" and not tap.is_proved


def _decided(taps: Sequence[Told], claims: Sequence[int], following: Iterable[Told]) -> dict[int, Judged]:
    """The purse has gone on: one of these was carried out, or one that nobody has told of yet.

    What the purse held right afterwards says which; more than that may be a load in between, less is another purchase.
    """
    held = min((tap.balance_fen for tap in following), default=None)
    possible = [place for place in claims if held is None or taps[place].after_fen <= held]
    exact = [place for place in possible if taps[place].after_fen == held]
    carried_out = (exact or possible)[-1:]
    judged = {place: Judged(Standing.EXECUTED, Why.BALANCE if exact else Why.WENT_ON) for place in carried_out}
    lost = Judged(Standing.NOT_EXECUTED, Why.BALANCE if held is not None else Why.WENT_ON)
    return judged | {place: lost for place in claims if place not in judged}


def takings_fen(taps: Sequence[Told]) -> int:
    """What the purse has paid, as far as is known."""
    return sum(tap.amount_fen for tap, one in zip(taps, standings(taps), strict=True) if one.is_taking)
