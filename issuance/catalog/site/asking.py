"""Can I? One item, asked with what tells nobody who asks: an age band, where the card is from, what kind it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Final

from apps_catalog import Answer, Carrier, Catalog, Holder, Item
from apps_catalog.reader import GENERATIONS
from issuance.catalog.site.query import ELSEWHERE, is_covered, is_day

CODE_ONLY: Final = "ecard"
CARDS: Final = (*reversed(GENERATIONS), CODE_ONLY)
"""Kinds of card: its generation, or the electronic card alone."""
_SOMEWHERE_ELSE: Final = "990000"
"""An area code of no region, standing for every place that the catalog does not cover."""


@dataclass(frozen=True, slots=True)
class Band:
    """Ages that no rule of the catalog tells apart; both ends included, `to` None: and older."""

    start: int
    to: int | None

    @property
    def value(self) -> str:
        return str(self.start)


def bands_of(catalog: Catalog) -> tuple[Band, ...]:
    """Cut where rules of the catalog begin or end, so that a band's answer holds for each age in it."""
    cuts = {0}
    for item in catalog.items:
        cuts |= {item.rule.age_from} if item.rule.age_from is not None else set()
        cuts |= {item.rule.age_to + 1} if item.rule.age_to is not None else set()
    starts = sorted(cuts)
    return (*(Band(start, after - 1) for start, after in pairwise(starts)), Band(starts[-1], None))


@dataclass(frozen=True, slots=True)
class Question:
    """Empty fields are not said. `region`: where the card is to be used; `on`: the day, today where it is empty."""

    holder_region: str = ""
    region: str = ""
    card: str = ""
    age: str = ""
    on: str = ""

    def pairs(self) -> list[tuple[str, str]]:
        return [(name, value) for name in NAMES if (value := getattr(self, name))]


NAMES: Final = ("holder_region", "region", "card", "age", "on")


def read(pairs: Iterable[tuple[str, str]], catalog: Catalog) -> tuple[Question, tuple[str, ...]]:
    """The question, and the names of fields whose value cannot be: those are left out of it."""
    given: dict[str, str] = {}
    for name, value in pairs:
        given.setdefault(name, value)
    known = {name: given[name] for name in NAMES if given.get(name)}
    wrong = tuple(name for name, value in known.items() if not _can_be(name, value, catalog))
    return Question(**{name: value for name, value in known.items() if name not in wrong}), wrong


def _can_be(name: str, value: str, catalog: Catalog) -> bool:
    match name:
        case "holder_region":
            return value == ELSEWHERE or is_covered(value, catalog)
        case "region":
            return is_covered(value, catalog)
        case "card":
            return value in CARDS
        case "on":
            return is_day(value)
        case _:
            return value in {band.value for band in bands_of(catalog)}


def place_of_use(item: Item, question: Question) -> str:
    """Where it was asked about; else at home if the item is offered there, else at the first place that offers it."""
    if question.region:
        return question.region
    home = question.holder_region
    return home if home and home != ELSEWHERE and item.is_offered_in(home) else item.areas[0]


def ask(catalog: Catalog, item: Item, question: Question, on: date) -> Answer | None:
    """None while nobody said where the card is from."""
    if not question.holder_region:
        return None
    is_code = question.card == CODE_ONLY
    holder = Holder(
        _SOMEWHERE_ELSE if question.holder_region == ELSEWHERE else question.holder_region,
        age=int(question.age) if question.age else None,
        generation=question.card if question.card and not is_code else None,
    )
    carrier = Carrier.QR if is_code else None
    answers = catalog.what(holder, place_of_use(item, question), on=on, carrier=carrier)
    return next(answer for answer in answers if answer.item.id == item.id)
