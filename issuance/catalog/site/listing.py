"""What a query finds: items by domain, what is announced, and how many each filter would leave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Final

from apps_catalog import NATIONWIDE, Carrier, Catalog, Channel, Domain, Item, Standing
from apps_catalog.reader import GENERATIONS
from issuance.catalog.site.query import ELSEWHERE, Query
from issuance.catalog.site.search import Index, words_of

Counts = dict[str, int]
_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class Group:
    domain: Domain
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Looser:
    """The query without one of its filters, and how many items that gives."""

    name: str
    query: Query
    count: int


@dataclass(frozen=True, slots=True)
class Listing:
    """`counts`: by filter and value, how many items there are with that value and the other filters as they are.

    `totals`: the same with the filter left open. `announced`: what suits but is not in force on the day yet.
    `by_words`: how many the words alone find.
    """

    query: Query
    on: date
    groups: tuple[Group, ...]
    announced: tuple[Item, ...]
    counts: dict[str, Counts]
    totals: Counts
    by_words: int

    @property
    def items(self) -> list[Item]:
        """As they stand on the page."""
        return [item for group in self.groups for item in group.items]

    @property
    def looser(self) -> list[Looser]:
        """Queries that find more, the most first."""
        found = [
            Looser(name, replace(self.query, **{name: None if name == "on" else ""}), self.totals[name])  # type: ignore[arg-type]
            for name in self.query.active
            if self.totals[name] > len(self.items)
        ]
        return sorted(found, key=lambda looser: -looser.count)


class Finder:
    """Of one catalog; safe to share among threads."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._index = Index(catalog)
        self._regions = tuple(region.code for region in catalog.regions)
        places = (*self._regions, *(area.code for area in catalog.areas))
        self._choices: dict[str, tuple[str, ...]] = {
            "domain": tuple(domain.key for domain in catalog.domains),
            "region": places,
            "holder_region": (*places, ELSEWHERE),
            "carrier": tuple(Carrier),
            "channel": tuple(Channel),
            "generation": GENERATIONS,
        }
        self._honoured = lru_cache(_REMEMBERED)(self._honours)

    def find(self, query: Query, today: date) -> Listing:
        on, words = query.on or today, words_of(query.q)
        active = tuple(name for name in query.active if name not in ("q", "on"))
        scores: dict[str, float] = {}
        failing: dict[str, frozenset[str]] = {}
        for item in self.catalog.items:
            failed = {name for name in active if not self._suits(item, name, getattr(query, name), query)}
            if query.q:
                scores[item.id] = self._index.score(item, words) if words else 0.0
                if not scores[item.id]:
                    failed.add("q")
            if not item.is_in_force(on):
                failed.add("on")
            failing[item.id] = frozenset(failed)
        found = [item for item in self.catalog.items if not failing[item.id]]
        early = [item for item in self.catalog.items if failing[item.id] == {"on"} and _is_to_come(item, on)]
        counts, totals = self._count(query, failing)
        by_words = sum(not {"q", "on"} & failed for failed in failing.values())
        return Listing(query, on, self._grouped(found, scores), tuple(early), counts, totals, by_words)

    def _count(self, query: Query, failing: dict[str, frozenset[str]]) -> tuple[dict[str, Counts], Counts]:
        counts, totals = {}, {}
        for name in (*self._choices, "q", "on"):
            others = frozenset({name, "holder_region"} if name == "region" else {name})
            left = [item for item in self.catalog.items if failing[item.id] <= others]
            values = self._choices.get(name, ())
            totals[name] = sum(self._suits_with(item, name, "", query) for item in left)
            counts[name] = {value: sum(self._suits_with(item, name, value, query) for item in left) for value in values}
        return counts, totals

    def _suits_with(self, item: Item, name: str, value: str, query: Query) -> bool:
        """Whether an item that only this filter may have kept out suits with another value of it.

        Whose cards are honoured depends on the place: with another region it is judged anew.
        """
        suits = not value or self._suits(item, name, value, query)
        if name == "region" and suits and query.holder_region:
            return self._honoured(item.id, query.holder_region, value)
        return suits

    def _suits(self, item: Item, name: str, value: str, query: Query) -> bool:
        match name:
            case "domain":
                return item.domain == value
            case "region":
                return item.is_offered_in(value)
            case "holder_region":
                return self._honoured(item.id, value, query.region)
            case "carrier":
                return value in item.carriers
            case "channel":
                return value in item.channels
            case _:
                return not item.generations or value in item.generations

    def _honours(self, item_id: str, holder_region: str, region: str) -> bool:
        item = self.catalog.item(item_id)
        if holder_region == ELSEWHERE:
            return NATIONWIDE in item.holders
        return any(item.honours(holder_region, region=place) for place in ([region] if region else self._regions))

    def _grouped(self, items: Iterable[Item], scores: dict[str, float]) -> tuple[Group, ...]:
        """What is confirmed first; what was searched for by words stands by how well it answers."""
        by_domain: dict[str, list[Item]] = {}
        for item in sorted(items, key=lambda item: (-scores.get(item.id, 0.0), item.standing is not Standing.STATED)):
            by_domain.setdefault(item.domain, []).append(item)
        domains = {domain.key: domain for domain in self.catalog.domains}
        order = list(by_domain) if scores else list(domains)
        return tuple(Group(domains[key], tuple(by_domain[key])) for key in order if key in by_domain)


def _is_to_come(item: Item, on: date) -> bool:
    return item.effective_from is None or on < item.effective_from
