"""What can I do with my card there, on that day, with this carrier, with or without the network: answers with reasons.

The one implementation for service, agent and wallet. Sentences are made once per catalog; a question only chooses
among them, and conditions that items share are judged once per question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from apps_catalog import reasons
from apps_catalog.model import Carrier, Channel, Item, Text, Validation
from apps_catalog.reasons import Choice, Ground, Reason
from apps_catalog.rule import CardState, Category, Opened, Rule

REMEMBERED: Final = 1024
"""Places and pairs of places whose answers are kept; the three provinces have about 200 cities and counties."""

_NORMAL: Final = (CardState.NORMAL,)
_LOST: Final = (CardState.LOST, CardState.TEMPORARILY_LOST)


class Outcome(StrEnum):
    """`depends`: nothing speaks against it, but a condition is not known or is for people to judge."""

    YES = "yes"
    DEPENDS = "depends"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Holder:
    """What is known of holder and card; None where the question does not say.

    Without `card_state` the card counts as normal. `ecard_level` 0: no electronic card.
    """

    region: str
    age: int | None = None
    card_state: CardState | None = None
    generation: str | None = None
    ecard_level: int | None = None
    categories: frozenset[Category] | None = None
    opened: frozenset[Opened] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    item: Item
    outcome: Outcome
    reasons: tuple[Reason, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.item.id,
            "name": self.item.name.to_json(),
            "domain": self.item.domain,
            "outcome": self.outcome.value,
            "reasons": [reason.to_json() for reason in self.reasons],
        }


class _Verdict(NamedTuple):
    """Some reasons and what they come to."""

    outcome: Outcome
    reasons: tuple[Reason, ...]


_NOTHING: Final = _Verdict(Outcome.YES, ())


class Eligibility:
    """The sentences of one catalog, ready to be chosen from. Safe to share among threads."""

    def __init__(self, items: Iterable[Item], name: Callable[[str], Text]) -> None:
        self._items = tuple(items)
        self._days = [reasons.days(item) for item in self._items]
        self._places = [reasons.place(item, name) for item in self._items]
        self._origins = [reasons.card_origin(item, name) for item in self._items]
        self._carriers = [reasons.carrier(item) for item in self._items]
        self._generations = [reasons.generation(item) if item.generations else None for item in self._items]
        self._unjudged = [_sum(reasons.unjudged(item)) for item in self._items]
        conditions: dict[tuple[Rule, bool], int] = {}
        self._condition = [
            conditions.setdefault((item.rule, item.carriers == (Carrier.QR,)), len(conditions)) for item in self._items
        ]
        self._conditions = [_Condition(rule, is_code) for rule, is_code in conditions]
        self._in_place = lru_cache(REMEMBERED)(self._judge_places)
        self._with_carrier = lru_cache(REMEMBERED)(self._judge_carriers)

    def what(
        self, holder: Holder, region: str, on: date, carrier: Carrier | None = None, *, offline: bool = False
    ) -> list[Answer]:
        """One answer for every item, in the order of the catalog; `offline`: the accepting side has no network."""
        places = self._in_place(region, holder.region)
        carriers = self._with_carrier(carrier, holder.generation, offline)
        conditions = [condition.judge(holder, carrier) for condition in self._conditions]
        found = []
        for item, days, place, by_carrier, number, unjudged in zip(
            self._items, self._days, places, carriers, self._condition, self._unjudged, strict=True
        ):
            day = _day(item, days, on)
            rule = conditions[number]
            outcomes = (place.outcome, by_carrier.outcome, rule.outcome, unjudged.outcome)
            if day.met is False or Outcome.NO in outcomes:
                outcome = Outcome.NO
            else:
                outcome = Outcome.DEPENDS if Outcome.DEPENDS in outcomes else Outcome.YES
            texts = (day, *place.reasons, *by_carrier.reasons, *rule.reasons, *unjudged.reasons)
            found.append(Answer(item, outcome, texts))
        return found

    def _judge_places(self, region: str, holder_region: str) -> tuple[_Verdict, ...]:
        return tuple(
            _sum((place.met, origin.met if item.honours(holder_region, region=region) else origin.unmet))
            if item.is_offered_in(region)
            else _sum((place.unmet,))
            for item, place, origin in zip(self._items, self._places, self._origins, strict=True)
        )

    def _judge_carriers(self, carrier: Carrier | None, generation: str | None, offline: bool) -> tuple[_Verdict, ...]:
        verdicts = []
        for item, taken, wanted in zip(self._items, self._carriers, self._generations, strict=True):
            found = [] if carrier is None else [taken.met if carrier in item.carriers else taken.unmet]
            if wanted is not None:
                found.append(_choose(wanted, None if generation is None else generation in item.generations))
            if offline:
                works = item.validation is not Validation.ONLINE and Channel.OFFLINE in item.channels
                found.append(reasons.CHECKED_OFFLINE if works else reasons.NEEDS_NETWORK)
            verdicts.append(_sum(found))
        return tuple(verdicts)


class _Condition:
    """One rule as the items with these carriers share it; `is_code_only`: they take nothing but the QR code."""

    def __init__(self, rule: Rule, is_code_only: bool) -> None:
        self._rule = rule
        self._is_code_only = is_code_only
        choices = {ground: reasons.condition(ground, text) for ground, text in reasons.conditions(rule).items()}
        self._state = choices[Ground.CARD_STATE]
        self._level = choices.get(Ground.ECARD_LEVEL)
        self._age = choices.get(Ground.AGE)
        self._category = choices.get(Ground.CATEGORY)
        self._opened = choices.get(Ground.OPENED)

    def judge(self, holder: Holder, carrier: Carrier | None) -> _Verdict:
        is_code = carrier is Carrier.QR or (carrier is None and self._is_code_only)
        found = list(self._judge_state(holder.card_state, is_code))
        if is_code and holder.ecard_level == 0:
            found.append(reasons.NO_ECARD)
        elif is_code and self._level:
            level, wanted = holder.ecard_level, self._rule.ecard_level or 1
            enough = level is not None and level >= wanted
            found.append(_choose(self._level, True if wanted == 1 or enough else None if level is None else False))
        if self._age:
            found.append(_choose(self._age, _is_of_age(self._rule, holder.age)))
        if self._category:
            known = holder.categories
            found.append(_choose(self._category, None if known is None else bool(known & {*self._rule.categories})))
        if self._opened:
            done = holder.opened
            found.append(_choose(self._opened, None if done is None else done >= {*self._rule.opened}))
        return _sum(found) if found else _NOTHING

    def _judge_state(self, state: CardState | None, is_code: bool) -> tuple[Reason, ...]:
        allowed = self._rule.card_states or _NORMAL
        if state is None:
            return () if CardState.NORMAL in allowed else (self._state.unknown,)
        if state in allowed:
            return (self._state.met,)
        if is_code and state in _LOST and not self._rule.card_states:
            return (reasons.LOST_WITH_CODE,)
        return (self._state.unmet,)


def _is_of_age(rule: Rule, age: int | None) -> bool | None:
    if age is None:
        return None
    return (rule.age_from is None or age >= rule.age_from) and (rule.age_to is None or age <= rule.age_to)


def _day(item: Item, days: tuple[Reason, Reason, Reason], on: date) -> Reason:
    if item.is_in_force(on):
        return days[1]
    return days[0] if item.effective_from is None or on < item.effective_from else days[2]


def _choose(choice: Choice, met: bool | None) -> Reason:
    return choice.unknown if met is None else choice.met if met else choice.unmet


def _sum(found: Iterable[Reason]) -> _Verdict:
    kept = tuple(found)
    known = {reason.met for reason in kept}
    outcome = Outcome.NO if False in known else Outcome.DEPENDS if None in known else Outcome.YES
    return _Verdict(outcome, kept)
