"""An item as people read it, in one language: what, for whom, where, how, what to bring, and on whose word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from apps_catalog import (
    LABELS,
    LOCAL,
    NATIONWIDE,
    CardState,
    Carrier,
    Catalog,
    Ground,
    Item,
    Place,
    Source,
    Standing,
    Text,
    reasons,
)
from issuance.console.words import Language, words

ICONS: Final = {
    Carrier.CONTACT: "reader",
    Carrier.CONTACTLESS: "tap",
    Carrier.QR: "qr",
    Carrier.BANK_ACCOUNT: "bank",
}
TONES: Final = {Standing.STATED: "ok", Standing.INFERRED: "warn", Standing.PLANNED: "idle"}


@dataclass(frozen=True, slots=True)
class Mark:
    """A carrier: its icon and its name."""

    icon: str
    text: str


@dataclass(frozen=True, slots=True)
class Places:
    """Doors in one area."""

    area: str
    doors: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """`where`, `whose` are short; `areas` one by one. `reach`: tone and words of how far the item is shared."""

    item: Item
    name: str
    summary: str
    domain: str
    where: str
    whose: str
    reach: tuple[str, str]
    areas: tuple[str, ...]
    marks: tuple[Mark, ...]
    conditions: tuple[str, ...]
    places: tuple[Places, ...]
    sources: tuple[Source, ...]
    basis: Source | None
    siblings: tuple[Item, ...]

    @classmethod
    def of(cls, catalog: Catalog, item: Item, language: Language) -> Sheet:
        in_words = Speech(catalog, language)
        known = {source.key: source for source in catalog.sources}
        return cls(
            item=item,
            name=in_words.say(item.name),
            summary=in_words.say(item.summary),
            domain=next(in_words.say(domain.name) for domain in catalog.domains if domain.key == item.domain),
            where=in_words.where(item),
            whose=in_words.whose(item),
            reach=in_words.reach(item),
            areas=tuple(in_words.name(area) for area in item.areas),
            marks=in_words.marks(item),
            conditions=in_words.conditions(item),
            places=in_words.places(item),
            sources=tuple(known[key] for key in item.sources),
            basis=known[item.returns.basis] if item.returns else None,
            siblings=_siblings(catalog, item),
        )


class Speech:
    """What is said about a catalog's items in one language."""

    def __init__(self, catalog: Catalog, language: Language) -> None:
        self._catalog = catalog
        self._language = language
        self._words = words(language)["catalog_site"]
        self._regions = {region.code for region in catalog.regions}

    def say(self, text: Text) -> str:
        return text.zh if self._language == "zh" else text.en

    def label(self, member: StrEnum) -> str:
        return self.say(LABELS[member])

    def labels(self, members: Iterable[StrEnum]) -> str:
        return self.listed(self.label(member) for member in members)

    def listed(self, texts: Iterable[str]) -> str:
        return ("、" if self._language == "zh" else ", ").join(texts)

    def name(self, area: str) -> str:
        return self.say(self._catalog.name_of(area))

    def where(self, item: Item) -> str:
        return self.listed(self.name(area) for area in item.areas)

    def whose(self, item: Item) -> str:
        if NATIONWIDE in item.holders:
            return self._words["whose_all"]
        named = self.listed(self.name(holder) for holder in item.holders if holder != LOCAL)
        cards = [self._words["whose_named"].format(places=named)] if named else []
        if LOCAL in item.holders:
            name = "whose_named" if len(item.areas) == 1 else "whose_local"
            cards.append(self._words[name].format(places=self.where(item)))
        return self.listed(cards)

    def reach(self, item: Item) -> tuple[str, str]:
        if not self._regions <= set(item.areas):
            return "idle", self._words["reach_some"].format(places=self.where(item))
        if NATIONWIDE in item.holders or self._regions <= set(item.holders):
            return "ok", self._words["reach_shared"]
        return "info", self._words["reach_own"]

    def conditions(self, item: Item) -> tuple[str, ...]:
        found = {ground: self.say(text) for ground, text in reasons.conditions(item.rule).items()}
        if set(item.rule.card_states) == set(CardState):
            found[Ground.CARD_STATE] = self._words["any_state"]
        return tuple(found.values())

    def marks(self, item: Item) -> tuple[Mark, ...]:
        return tuple(Mark(ICONS[carrier], self._words[f"carrier_{carrier}"]) for carrier in item.carriers)

    def places(self, item: Item) -> tuple[Places, ...]:
        by_area: dict[str, list[Place]] = {}
        for place in sorted(item.places, key=lambda place: place.area):
            by_area.setdefault(place.area, []).append(place)
        return tuple(Places(self.name(area), tuple(doors)) for area, doors in by_area.items())


def _siblings(catalog: Catalog, item: Item) -> tuple[Item, ...]:
    """The same matter at other owners: ids that agree after the owner."""
    matter = item.id.removeprefix(f"{item.owner}-")
    return tuple(
        other for other in catalog.items if other is not item and other.id.removeprefix(f"{other.owner}-") == matter
    )
