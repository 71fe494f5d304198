"""What the templates are given: lists of choices with their counts, an item's sheet, the words of an answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from apps_catalog import Answer, Catalog, Item, Outcome
from apps_catalog.areas import contains
from apps_catalog.diff import Kind, diff
from issuance.catalog.current import Release
from issuance.catalog.site import asking
from issuance.catalog.site.listing import Counts, Listing
from issuance.catalog.site.query import ELSEWHERE, Query
from issuance.catalog.site.sheet import TONES, Sheet, Speech
from issuance.console.words import Language, words
from onecard_ui.code_picture import picture_of

LIST_PATH: Final = "/catalog/"
NEWS: Final = 5
_KINDS: Final = (Kind.ADDED, Kind.CHANGED, Kind.REMOVED)
_FIRST: Final = (False, None, True)
"""What speaks against comes first."""
OUTCOME_TONES: Final = {Outcome.YES: "ok", Outcome.DEPENDS: "warn", Outcome.NO: "bad"}


@dataclass(frozen=True, slots=True)
class Option:
    value: str
    text: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """Some options under one heading; the first have none."""

    heading: str
    options: tuple[Option, ...]


class _Choices:
    """The values of filters in words."""

    def __init__(self, catalog: Catalog, language: Language) -> None:
        self._catalog = catalog
        self._speech = Speech(catalog, language)
        self._words = words(language)["catalog_site"]

    def places(self, counts: Counts | None = None, chosen: str = "", *, has_elsewhere: bool = False) -> list[Options]:
        """Regions, then the cities of each; a place the catalog has no name for only while it is chosen."""
        regions, areas = self._catalog.regions, self._catalog.areas
        codes = [region.code for region in regions]
        if chosen and chosen != ELSEWHERE and chosen not in {*codes, *(area.code for area in areas)}:
            codes.append(chosen)
        top = [self._option(code, self._speech.name(code), counts) for code in codes]
        if has_elsewhere:
            top.append(self._option(ELSEWHERE, self._words["elsewhere"], counts))
        found = [Options("", tuple(top))]
        for region in regions:
            cities = [area for area in areas if contains(region.code, area.code)]
            if cities:
                heading = self._words["cities_of"].format(region=self._speech.say(region.name))
                options = (self._option(area.code, self._speech.say(area.name), counts) for area in cities)
                found.append(Options(heading, tuple(options)))
        return found

    def of(self, name: str, counts: Counts, chosen: str) -> list[Options]:
        if name in ("region", "holder_region"):
            return self.places(counts, chosen, has_elsewhere=name == "holder_region")
        values = tuple(reversed(counts)) if name == "generation" else tuple(counts)
        return [Options("", tuple(self._option(value, self.named(name, value), counts) for value in values))]

    def named(self, name: str, value: str) -> str:
        """A chosen value in words."""
        match name:
            case "region" | "holder_region":
                return self._words["elsewhere"] if value == ELSEWHERE else self._speech.name(value)
            case "domain":
                return next(self._speech.say(known.name) for known in self._catalog.domains if known.key == value)
            case "generation":
                return self._words["generation"].format(number=self._words[f"number_{value[0]}"])
            case "carrier" | "channel":
                return self._words[f"{name}_{value}"]
            case _:
                return value

    def ages(self) -> list[Option]:
        bands = asking.bands_of(self._catalog)
        return [Option(band.value, self._age(band)) for band in bands]

    def cards(self) -> list[Option]:
        generations = [value for value in asking.CARDS if value != asking.CODE_ONLY]
        return [
            *(Option(value, self.named("generation", value)) for value in generations),
            Option(asking.CODE_ONLY, self._words["ask_ecard"]),
        ]

    def _age(self, band: asking.Band) -> str:
        if band.to is None:
            return self._words["age_from"].format(start=band.start) if band.start else self._words["age_all"]
        name = "age_between" if band.start else "age_to"
        return self._words[name].format(start=band.start, to=band.to)

    def _option(self, value: str, text: str, counts: Counts | None) -> Option:
        return Option(value, text, None if counts is None else counts.get(value, 0))


def _common(language: Language, catalog: Catalog, today: date) -> dict[str, Any]:
    speech = Speech(catalog, language)
    return {
        "t": words(language)["catalog_site"],
        "catalog": catalog,
        "today": today,
        "speech": speech,
        "say": speech.say,
        "tones": TONES,
        "list_path": LIST_PATH,
        "regions": speech.listed(speech.say(region.name) for region in catalog.regions),
    }


def of_listing(
    language: Language,
    found: Listing,
    catalog: Catalog,
    editions: tuple[Release, ...],
    news: tuple[Catalog, Catalog] | None,
    today: date,
) -> dict[str, Any]:
    """`news`: the version in force and the one before it."""
    choices, asked = _Choices(catalog, language), found.query
    sheets = {item.id: Sheet.of(catalog, item, language) for item in (*found.items, *found.announced)}
    selects = {
        name: choices.of(name, found.counts[name], getattr(asked, name))
        for name in ("region", "holder_region", "carrier", "channel", "generation")
    }
    return _common(language, catalog, today) | {
        "asked": asked,
        "found": found,
        "count": len(found.items),
        "sheets": sheets,
        "selects": selects,
        "chosen": [(name, choices.named(name, str(getattr(asked, name)))) for name in asked.active],
        "carried": _carried(asked),
        "news": diff(*news)[:NEWS] if news else None,
        "to_come": [edition for edition in editions if edition.effective > today],
        "data_path": asked.path("/catalog/data"),
    }


def _carried(asked: Query) -> asking.Question:
    """What an item's page is asked with where the list was filtered by it."""
    on = str(asked.on) if asked.on else ""
    if not asked.holder_region:
        return asking.Question(on=on)
    return asking.Question(asked.holder_region, asked.region, asked.generation, on=on)


def of_item(
    language: Language,
    catalog: Catalog,
    item: Item,
    asked: asking.Question,
    answer: Answer | None,
    today: date,
    address: str,
) -> dict[str, Any]:
    choices = _Choices(catalog, language)
    picture = picture_of(address.encode())
    place = asking.place_of_use(item, asked)
    return _common(language, catalog, today) | {
        "sheet": Sheet.of(catalog, item, language),
        "asked": asked,
        "answer": answer,
        "reasons": sorted(answer.reasons, key=lambda reason: _FIRST.index(reason.met)) if answer else [],
        "answer_tone": OUTCOME_TONES[answer.outcome] if answer else "",
        "place": choices.named("region", place),
        "holders": choices.places(chosen=asked.holder_region, has_elsewhere=True),
        "places": choices.places(chosen=place),
        "place_code": place,
        "cards": choices.cards(),
        "ages": choices.ages(),
        "address": address,
        "picture": {"size": picture.size, "path": picture.path()},
    }


def of_changes(
    language: Language,
    before: Catalog,
    after: Catalog,
    editions: tuple[Release, ...],
    current: Catalog,
    today: date,
) -> dict[str, Any]:
    made, speech = diff(before, after), Speech(current, language)
    notes: dict[str, list[Item]] = {}
    for item in current.items:
        if item.change is not None:
            notes.setdefault(speech.say(item.change), []).append(item)
    return _common(language, current, today) | {
        "before": before,
        "after": after,
        "editions": tuple(reversed(editions)),
        "kinds": [(kind.value, [change for change in made if change.kind is kind]) for kind in _KINDS],
        "count": len(made),
        "known": {item.id for item in current.items},
        "notes": notes,
    }


def as_json(catalog: Catalog, items: Iterable[Item]) -> bytes:
    """The form of `/v1/catalog`."""
    return json.dumps(catalog.to_json(items), ensure_ascii=False, separators=(",", ":")).encode()
