"""The catalog in memory: loaded whole from a directory of TOML files or not at all, and asked."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from apps_catalog.areas import is_area, overlaps
from apps_catalog.errors import CatalogError, Problem, QueryError, RegionUnknownError
from apps_catalog.fields import Fault, Fields
from apps_catalog.model import JOINT, Carrier, Domain, Item, Region, Source, Text
from apps_catalog.reader import Head, read_head, read_item

DATA: Final = Path(__file__).parent / "data"
HEAD_FILE: Final = "catalog.toml"
MAX_FILES: Final = 256
MAX_FILE_BYTES: Final = 1 << 20
CHINA_TIME: Final = timezone(timedelta(hours=8))


class Catalog:
    """Immutable, so one catalog may serve every thread. Items stand in the order of domains, then of ids."""

    def __init__(self, head: Head, items: Iterable[Item]) -> None:
        rank = {domain.key: place for place, domain in enumerate(head.domains)}
        self._head = head
        self._items = tuple(sorted(items, key=lambda item: (rank[item.domain], item.id)))
        self._by_id: Mapping[str, Item] = MappingProxyType({item.id: item for item in self._items})

    @property
    def version(self) -> str:
        return self._head.version

    @property
    def published(self) -> date:
        return self._head.published

    @property
    def notice(self) -> Text:
        """What a reader must know before trusting the content; every screen and print shows it."""
        return self._head.notice

    @property
    def domains(self) -> tuple[Domain, ...]:
        return self._head.domains

    @property
    def regions(self) -> tuple[Region, ...]:
        return self._head.regions

    @property
    def sources(self) -> tuple[Source, ...]:
        return self._head.sources

    @property
    def items(self) -> tuple[Item, ...]:
        """Every item, planned and expired ones too."""
        return self._items

    def item(self, item_id: str) -> Item:
        try:
            return self._by_id[item_id]
        except KeyError:
            raise QueryError(f"no item {item_id!r} in catalog {self.version}") from None

    def what_can(
        self,
        region: str,
        *,
        holder_region: str | None = None,
        domain: str | None = None,
        carrier: Carrier | str | None = None,
        on: date | None = None,
    ) -> list[Item]:
        """What a card can do in `region`, a province or a place in one.

        A province answers with what any of its cities offers. `holder_region` is where the card was issued; without
        it nothing is left out on the holder's account. `on` defaults to today in China. Raises RegionUnknownError
        for a region the catalog does not cover, QueryError for any other argument that cannot be.
        """
        self._check_region(region)
        if holder_region is not None and not is_area(holder_region):
            raise QueryError(f"{holder_region!r} is no area code")
        if domain is not None and domain not in {known.key for known in self.domains}:
            raise QueryError(f"no domain {domain!r}; there are {', '.join(known.key for known in self.domains)}")
        wanted = None if carrier is None else _carrier(carrier)
        day = datetime.now(CHINA_TIME).date() if on is None else on
        return [
            item
            for item in self._items
            if (domain is None or item.domain == domain)
            and (wanted is None or wanted in item.carriers)
            and item.is_in_force(day)
            and item.is_offered_in(region)
            and (holder_region is None or item.honours(holder_region, region=region))
        ]

    def to_json(self, items: Iterable[Item] | None = None) -> dict[str, Any]:
        """The form served over HTTP: the head with `items`, such as an answer of `what_can`, or with all of them."""
        return {
            "version": self.version,
            "published": self.published.isoformat(),
            "notice": self.notice.to_json(),
            "domains": [domain.to_json() for domain in self.domains],
            "regions": [region.to_json() for region in self.regions],
            "sources": [source.to_json() for source in self.sources],
            "items": [item.to_json() for item in (self._items if items is None else items)],
        }

    def _check_region(self, region: str) -> None:
        if not is_area(region):
            raise QueryError(f"{region!r} is no area code")
        if not any(overlaps(known.code, region) for known in self.regions):
            covered = ", ".join(f"{known.code} {known.name.zh}" for known in self.regions)
            raise RegionUnknownError(f"{region} is not covered by this catalog; it covers {covered}")


def load(path: Path | None = None) -> Catalog:
    """Read the catalog in directory `path`, by default the one shipped with this package.

    Raises CatalogError with every fault found, each naming file, item and field; nothing is loaded by halves.
    """
    directory = DATA if path is None else path
    try:
        files = sorted(directory.glob("*.toml"))
    except OSError as exc:
        raise CatalogError([Problem(directory.name, "", "", f"cannot be read: {exc.strerror}")]) from exc
    if directory / HEAD_FILE not in files:
        raise CatalogError([Problem(HEAD_FILE, "", "", "is missing from the catalog directory")])
    if len(files) > MAX_FILES:
        raise CatalogError([Problem(HEAD_FILE, "", "", f"stands among more than {MAX_FILES} files")])
    problems: list[Problem] = []
    head = _load_head(directory / HEAD_FILE)
    items: dict[str, Item] = {}
    for file in files:
        if file.name == HEAD_FILE:
            continue
        for item in _load_items(file, head, problems):
            if item.id in items:
                problems.append(Problem(file.name, item.id, "id", "is used by an earlier item"))
            items[item.id] = item
    if not items and not problems:
        problems.append(Problem(HEAD_FILE, "", "", "has no item file beside it"))
    if problems:
        raise CatalogError(problems)
    return Catalog(head, items.values())


def _load_head(file: Path) -> Head:
    try:
        return read_head(_table(file))
    except Fault as fault:
        raise CatalogError([Problem(file.name, "", fault.field, fault.text)]) from fault


def _load_items(file: Path, head: Head, problems: list[Problem]) -> list[Item]:
    """The good items of a file; its faults go to `problems`."""
    try:
        fields = Fields(_table(file))
        owner = fields.string("owner")
        defaults = fields.table("defaults") if fields.has("defaults") else {}
        tables = fields.tables("item")
        fields.finish()
        if owner != JOINT and owner not in {region.code for region in head.regions}:
            raise Fault("owner", f"{owner!r} is neither {JOINT!r} nor a region of this catalog")
        if "id" in defaults:
            raise Fault("defaults.id", "cannot be shared by items")
        if not tables:
            raise Fault("item", "must have at least one entry")
    except CatalogError as exc:
        problems.extend(exc.problems)
        return []
    except Fault as fault:
        problems.append(Problem(file.name, "", fault.field, fault.text))
        return []
    items = []
    for number, table in enumerate(tables, start=1):
        try:
            items.append(read_item({**defaults, **table}, owner=owner, head=head))
        except Fault as fault:
            name = table.get("id")
            problems.append(
                Problem(file.name, name if isinstance(name, str) else f"number {number}", fault.field, fault.text)
            )
    return items


def _table(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise CatalogError([Problem(file.name, "", "", f"is larger than {MAX_FILE_BYTES} bytes")])
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise CatalogError([Problem(file.name, "", "", f"cannot be read: {exc.strerror}")]) from exc
    except (ValueError, RecursionError) as exc:
        raise CatalogError([Problem(file.name, "", "", f"is not TOML in UTF-8: {exc}")]) from exc


def _carrier(value: Carrier | str) -> Carrier:
    try:
        return Carrier(value)
    except ValueError:
        choices = ", ".join(member.value for member in Carrier)
        raise QueryError(f"no carrier {value!r}; there are {choices}") from None
