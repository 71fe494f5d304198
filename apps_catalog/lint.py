"""What is wrong with a catalog that loads: promises that conflict, and what time has made untrue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import combinations
from typing import Any

from apps_catalog.catalog import Catalog
from apps_catalog.model import Carrier, Item, Text
from apps_catalog.rule import CardState


class Defect(StrEnum):
    CONFLICT = "conflict"
    EXPIRED_BASIS = "expired_basis"
    UNREACHABLE = "unreachable"
    UNNAMED_AREA = "unnamed_area"
    DEAD_PLACE = "dead_place"


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect of one item, or of two that conflict."""

    defect: Defect
    items: tuple[str, ...]
    text: Text

    def to_json(self) -> dict[str, Any]:
        return {"defect": self.defect.value, "items": list(self.items), "text": self.text.to_json()}


def findings(catalog: Catalog, on: date) -> list[Finding]:
    """Every defect on that day. Ended items are left alone."""
    alive = [item for item in catalog.items if item.effective_to is None or on <= item.effective_to]
    found = list(_conflicts(alive))
    for item in alive:
        for check in _CHECKS:
            found.extend(Finding(defect, (item.id,), text) for defect, text in check(catalog, item, on))
    return found


def _conflicts(items: list[Item]) -> Iterator[Finding]:
    """The same matter promised by two provinces with other carriers, conditions or money, and nobody says why.

    Two items are the same matter when their ids agree after the owner.
    """
    matters: dict[str, list[Item]] = {}
    for item in items:
        matters.setdefault(item.id.removeprefix(f"{item.owner}-"), []).append(item)
    for same in matters.values():
        for one, other in combinations(same, 2):
            if one.differs or other.differs:
                continue
            fields = [name for name in _PROMISED if getattr(one, name) != getattr(other, name)]
            if fields:
                named = ", ".join(fields)
                zh = f"两地对同一事项说法不同（{named}）；若确有差别，用 differs 写明原因"
                en = f"the same matter is promised differently ({named}); if that is meant, say why in differs"
                yield Finding(Defect.CONFLICT, (one.id, other.id), Text(zh, en))


_GONE = {CardState.LOST, CardState.TEMPORARILY_LOST, CardState.CANCELLED}
_PROMISED = ("carriers", "functions", "channels", "validation", "generations", "rule")

_Check = Callable[[Catalog, Item, date], Iterator[tuple[Defect, Text]]]


def _rests_on_law_in_force(catalog: Catalog, item: Item, on: date) -> Iterator[tuple[Defect, Text]]:
    named = {*item.sources, *([item.returns.basis] if item.returns else [])}
    for source in catalog.sources:
        if source.key in named and source.expires is not None and source.expires < on:
            zh, en = f"依据已于{source.expires}失效：", f"its basis ended on {source.expires}: "
            yield Defect.EXPIRED_BASIS, Text(zh + source.title.zh, en + source.title.en)


def _somebody_can_use_it(catalog: Catalog, item: Item, on: date) -> Iterator[tuple[Defect, Text]]:
    states = set(item.rule.card_states)
    if states == {CardState.CANCELLED}:
        yield Defect.UNREACHABLE, Text("只有已注销的卡符合条件", "only cancelled cards meet the rule")
    elif states and states <= _GONE and set(item.carriers) <= {Carrier.CONTACT, Carrier.CONTACTLESS}:
        zh, en = "只限已挂失的卡，却只收实体卡", "is for lost cards only, but takes nothing but the card itself"
        yield Defect.UNREACHABLE, Text(zh, en)


def _areas_have_names(catalog: Catalog, item: Item, on: date) -> Iterator[tuple[Defect, Text]]:
    known = {region.code for region in (*catalog.regions, *catalog.areas)}
    for area in sorted({*item.areas, *(place.area for place in item.places)} - known):
        zh, en = f"区划{area}没有名称，写进catalog.toml的[[area]]", f"area {area} has no name; add it as [[area]]"
        yield Defect.UNNAMED_AREA, Text(zh, en)


def _places_are_open(catalog: Catalog, item: Item, on: date) -> Iterator[tuple[Defect, Text]]:
    for place in item.places:
        if place.closed is not None and place.closed < on:
            zh, en = f"地点已于{place.closed}关闭：", f"place closed on {place.closed}: "
            yield Defect.DEAD_PLACE, Text(zh + place.name.zh, en + place.name.en)


_CHECKS: tuple[_Check, ...] = (_rests_on_law_in_force, _somebody_can_use_it, _areas_have_names, _places_are_open)
