"""What somebody looks for, as the address of the page says it: read, and written in one canonical form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Final
from urllib.parse import urlencode

from apps_catalog import Carrier, Catalog, Channel
from apps_catalog.areas import is_area, overlaps
from apps_catalog.reader import GENERATIONS

MAX_WORDS: Final = 60
"""Characters of what is searched for."""
MAX_QUERY_BYTES: Final = 1024
ELSEWHERE: Final = "other"
"""In `holder_region`: a card of no region of the catalog."""
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2099, 12, 31)


@dataclass(frozen=True, slots=True)
class Query:
    """Filters by the names `/v1/catalog` uses; empty ones do not count. `on` None: today."""

    q: str = ""
    domain: str = ""
    region: str = ""
    holder_region: str = ""
    carrier: str = ""
    channel: str = ""
    generation: str = ""
    on: date | None = None

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the filters that are set."""
        return tuple(name for name in FILTERS if getattr(self, name))

    def pairs(self) -> list[tuple[str, str]]:
        return [(name, str(getattr(self, name))) for name in self.active]

    def path(self, root: str, **changes: str | None) -> str:
        """The address of the page with some filters changed; None or "" takes one away."""
        changed = replace(self, **{name: value or _EMPTY[name] for name, value in changes.items()})  # type: ignore[arg-type]
        text = urlencode(changed.pairs())
        return f"{root}?{text}" if text else root


FILTERS: Final = tuple(field.name for field in fields(Query))
_EMPTY: Final = {field.name: field.default for field in fields(Query)}


def read(pairs: Iterable[tuple[str, str]], catalog: Catalog) -> tuple[Query, tuple[str, ...]]:
    """The query, and the names of filters whose value cannot be: those are left out of it.

    Of several values of one filter the first counts; what is no filter is passed over.
    """
    given: dict[str, str] = {}
    for name, value in pairs:
        given.setdefault(name, value)
    known = {name: _printable(given[name]) for name in FILTERS if given.get(name)}
    wrong = tuple(name for name, value in known.items() if value and not _can_be(name, value, catalog))
    kept = {name: value for name, value in known.items() if name not in wrong}
    on = kept.pop("on", "")
    return Query(**kept, on=date.fromisoformat(on) if on else None), wrong


def day_of(pairs: Iterable[tuple[str, str]]) -> date | None:
    """The day asked about, before any catalog is known; None where there is none that can be."""
    text = next((value for name, value in pairs if name == "on"), "")
    return date.fromisoformat(text) if is_day(text) else None


def _printable(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _can_be(name: str, value: str, catalog: Catalog) -> bool:
    match name:
        case "q":
            return len(value) <= MAX_WORDS
        case "domain":
            return value in {domain.key for domain in catalog.domains}
        case "region":
            return is_covered(value, catalog)
        case "holder_region":
            return value == ELSEWHERE or is_covered(value, catalog)
        case "carrier":
            return value in set(Carrier)
        case "channel":
            return value in set(Channel)
        case "generation":
            return value in GENERATIONS
        case _:
            return is_day(value)


def is_covered(code: str, catalog: Catalog) -> bool:
    """Whether `code` is a place in one of the catalog's regions."""
    return is_area(code) and any(overlaps(region.code, code) for region in catalog.regions)


def is_day(text: str) -> bool:
    """Written as 2027-01-01, in the years the site answers for."""
    try:
        return len(text) == 10 and FIRST_DAY <= date.fromisoformat(text) <= LAST_DAY
    except ValueError:
        return False
