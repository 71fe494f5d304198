"""The form of an item: its fields as names and values of a form, its choices, and what is wrong at which field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import zip_longest
from typing import Any, Final

from apps_catalog.areas import NATIONWIDE, contains
from apps_catalog.catalog import Catalog
from apps_catalog.fault_words import words_of
from apps_catalog.fields import MAX_LIST, Fault
from apps_catalog.model import (
    JOINT,
    LABELS,
    LOCAL,
    Carrier,
    Channel,
    Datum,
    Equipment,
    Function,
    Item,
    Level,
    Standing,
    Text,
    Validation,
)
from apps_catalog.reader import GENERATIONS
from apps_catalog.rule import CardState, Category, Opened
from issuance.catalog.authority import Authority
from issuance.console.words import Language, words
from issuance.input_rules import FieldError
from issuance.problems import ProblemError, bad_input

NEEDED: Final = ("name", "summary", "department", "provider", "eligibility", "terms")
OPTIONAL: Final = ("accessibility", "differs", "change")
LINES: Final = ("guide", "materials")
SINGLE: Final[Mapping[str, type[StrEnum]]] = {"level": Level, "validation": Validation, "standing": Standing}
MANY: Final[Mapping[str, type[StrEnum]]] = {
    "carriers": Carrier,
    "functions": Function,
    "channels": Channel,
    "equipment": Equipment,
}
RULE_MANY: Final[Mapping[str, type[StrEnum]]] = {
    "card_states": CardState,
    "categories": Category,
    "opened": Opened,
}
_OTHER_MANY: Final = ("areas", "holders", "generations", "sources")
_NUMBERS: Final = ("age_from", "age_to", "ecard_level")
_DAYS: Final = ("effective_from", "effective_to")
_PLACE: Final = ("area", "name.zh", "name.en", "address.zh", "address.en", "closed")
_PLACE_FIELD: Final = re.compile(r"places\.(\d{1,3})\.(.+)", re.ASCII)
GROUPS: Final = frozenset({*MANY, *_OTHER_MANY, *(f"rule.{name}" for name in RULE_MANY), "returns.data"})
"""Fields that are several boxes."""
_BREAK: Final = re.compile(r"\s*[\r\n]+\s*")
MOST_CHARACTERS: Final = 64 * 1024
ROWS_LEFT: Final = 2
"""Empty rows for places that the page offers."""

Values = Mapping[str, str]


def compact(values: Values) -> dict[str, str]:
    """The same form with the rows of places counted from 0, without the empty ones."""
    rows: dict[int, dict[str, str]] = {}
    kept = {}
    for name, value in values.items():
        match = _PLACE_FIELD.fullmatch(name)
        if match is None:
            kept[name] = value
        elif match[2] in _PLACE and value:
            rows.setdefault(int(match[1]), {})[match[2]] = value
    for number, index in enumerate(sorted(rows)):
        kept |= {f"places.{number}.{part}": value for part, value in rows[index].items()}
    return kept


def table_from(values: Values) -> dict[str, Any]:
    """The item's table as a file would have it; what has no right form stays text, for the reader to refuse."""
    table: dict[str, Any] = {name: _text(values, name) for name in NEEDED}
    table |= {name: _text(values, name) for name in OPTIONAL if any(_text(values, name).values())}
    table |= {name: values.get(name, "") for name in ("id", "domain", *SINGLE)}
    lists = {name: _chosen(values, name) for name in (*MANY, *_OTHER_MANY)}
    table |= {name: chosen for name, chosen in lists.items() if chosen or name not in ("equipment", "generations")}
    table |= {name: _day(values[name]) for name in _DAYS if values.get(name)}
    table |= {name: lines for name in LINES if (lines := _lines(values, name))}
    rule: dict[str, Any] = {name: _number(values[f"rule.{name}"]) for name in _NUMBERS if values.get(f"rule.{name}")}
    rule |= {name: chosen for name in RULE_MANY if (chosen := _chosen(values, f"rule.{name}"))}
    rule |= {"whole": True} if values.get("rule.whole") == "true" else {}
    places = _places(values)
    data, basis = _chosen(values, "returns.data"), values.get("returns.basis", "")
    return (
        table
        | ({"rule": rule} if rule else {})
        | ({"places": places} if places else {})
        | ({"returns": {"data": data, "basis": basis}} if data or basis else {})
    )


def _text(values: Values, name: str) -> dict[str, str]:
    """Each side on one line, however wide the field was."""
    sides = {language: values.get(f"{name}.{language}", "") for language in ("zh", "en")}
    return {language: _BREAK.sub(" ", text) for language, text in sides.items()}


def _chosen(values: Values, name: str) -> list[str]:
    start = f"{name}."
    return [key.removeprefix(start) for key, value in values.items() if key.startswith(start) and value == "true"]


def _lines(values: Values, name: str) -> list[dict[str, str]]:
    """Line by line, the Chinese beside the English."""
    sides = [[line.strip() for line in values.get(f"{name}.{side}", "").splitlines()] for side in ("zh", "en")]
    pairs = [pair for pair in zip_longest(*sides, fillvalue="") if any(pair)]
    return [{"zh": zh, "en": en} for zh, en in pairs]


def _places(values: Values) -> list[dict[str, Any]]:
    found = []
    for number in range(MAX_LIST):
        row = {part: values.get(f"places.{number}.{part}", "") for part in _PLACE}
        if not any(row.values()):
            break
        place: dict[str, Any] = {"area": row["area"], "name": {"zh": row["name.zh"], "en": row["name.en"]}}
        if row["address.zh"] or row["address.en"]:
            place["address"] = {"zh": row["address.zh"], "en": row["address.en"]}
        found.append(place | ({"closed": _day(row["closed"])} if row["closed"] else {}))
    return found


def _day(text: str) -> date | str:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return text


def _number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"\d{1,4}", text, re.ASCII) else text


def values_of(item: Item) -> dict[str, str]:
    """The form's fields for an item; `table_from` makes the same item of them."""
    document = item.to_json()
    found = {name: str(document[name]) for name in ("id", "domain", *SINGLE)}
    texts = {name: document[name] for name in (*NEEDED, *OPTIONAL) if document[name]}
    found |= {f"{name}.{side}": text[side] for name, text in texts.items() for side in text}
    found |= {f"{name}.{code}": "true" for name in (*MANY, *_OTHER_MANY) for code in document[name]}
    found |= {name: document[name] for name in _DAYS if document[name]}
    for name in LINES:
        found |= {f"{name}.{side}": "\n".join(line[side] for line in document[name]) for side in ("zh", "en")}
    rule = document["rule"]
    found |= {f"rule.{name}": str(rule[name]) for name in _NUMBERS if rule[name] is not None}
    found |= {f"rule.{name}.{code}": "true" for name in RULE_MANY for code in rule[name]}
    found |= {"rule.whole": "true"} if rule["whole"] else {}
    for number, place in enumerate(document["places"]):
        found |= {f"places.{number}.{part}": value for part, value in _flat(place).items()}
    if item.returns:
        found |= {f"returns.data.{code}": "true" for code in document["returns"]["data"]}
        found["returns.basis"] = item.returns.basis
    return found


def _flat(place: dict[str, Any]) -> dict[str, str]:
    sides = {
        f"{name}.{side}": place[name][side] for name in ("name", "address") if place[name] for side in ("zh", "en")
    }
    return {"area": place["area"]} | sides | ({"closed": place["closed"]} if place["closed"] else {})


# -- choices ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choices:
    """By field, what can be chosen: code and word."""

    by_field: Mapping[str, Sequence[tuple[str, str]]]

    def of(self, field: str) -> Sequence[tuple[str, str]]:
        return self.by_field[field]


def choices(catalog: Catalog, owner: str, authority: Authority, item: Item | None, language: Language) -> Choices:
    """Areas are those the clerk may offer the item in, and those it has already."""

    def say(text: Text) -> str:
        return text.zh if language == "zh" else text.en

    known = {place.code: say(place.name) for place in (*catalog.regions, *catalog.areas)}
    within = authority.region if owner != JOINT else NATIONWIDE
    have = set(item.areas) if item else set()
    everywhere = words(language)["catalog"]
    holders = {NATIONWIDE: everywhere["holders_all"], LOCAL: everywhere["holders_local"]} | known
    extra = {code: code for code in (item.holders if item else ()) if code not in holders}
    kinds: dict[str, type[StrEnum]] = {
        **SINGLE,
        **MANY,
        **{f"rule.{name}": kind for name, kind in RULE_MANY.items()},
        "returns.data": Datum,
    }
    return Choices(
        {name: [(member.value, say(LABELS[member])) for member in kind] for name, kind in kinds.items()}
        | {
            "areas": sorted(
                (code, known.get(code, code)) for code in have | {code for code in known if contains(within, code)}
            ),
            "holders": [*(holders | extra).items()],
            "places": sorted(known.items()),
            "sources": [(source.key, say(source.title)) for source in catalog.sources],
            "domain": [(domain.key, say(domain.name)) for domain in catalog.domains],
            "generations": [(code, code) for code in GENERATIONS],
        }
    )


# -- faults -----------------------------------------------------------------------------------------------------------


def told(faults: Iterable[Fault]) -> ProblemError:
    """Each fault at the field of the form, in both languages, with the field's own help as the remedy."""
    return bad_input(*(_field_error(fault) for fault in faults))


def _field_error(fault: Fault) -> FieldError:
    said, name = words_of(fault.text), field_of(fault)
    zh, en = said.zh, said.en
    if fault.index is not None and name.partition(".")[0] in LINES:
        zh, en = f"第{fault.index + 1}行：{zh}", f"Line {fault.index + 1}: {en}"
    helps = [words(language)["catalog"] for language in ("zh", "en")]
    remedy_zh, remedy_en = (known[f"help_{word_key(name)}"] for known in helps)
    return FieldError(
        location=f"body.{name}",
        reason="catalog_field",
        text_zh=zh,
        text_en=en,
        remedy_zh=remedy_zh,
        remedy_en=remedy_en,
    )


def word_key(name: str) -> str:
    """Under which a field of the form has its name and its help in the words of the pages."""
    top, _, rest = name.partition(".")
    if top == "places":
        part = rest.partition(".")[2]
        return part if part in ("area", "closed") else "places"
    if top == "rule" and rest:
        return rest
    return name.replace(".", "_") if top == "returns" and rest else top


def field_of(fault: Fault) -> str:
    """Name of the form's field that a fault is shown at."""
    top, _, rest = fault.field.partition(".")
    if top == "places":
        part = rest or "area"
        return f"places.{fault.index or 0}.{part if part in _PLACE else f'{part}.zh'}"
    if top in (*NEEDED, *OPTIONAL, *LINES):
        return f"{top}.{rest or 'zh'}"
    return fault.field
