"""The catalog in memory: loaded whole from a directory of TOML files or not at all, and asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from apps_catalog.areas import is_area, overlaps
from apps_catalog.eligibility import Answer, Eligibility, Holder
from apps_catalog.errors import CatalogError, Problem, QueryError, RegionUnknownError
from apps_catalog.field_names import FIELD_HELP, HEAD_HELP
from apps_catalog.fields import Fault, Fields
from apps_catalog.model import JOINT, Carrier, Domain, Item, Region, Source, Text
from apps_catalog.reader import Head, read_head, read_item
from apps_catalog.source import parse_source, read_bytes

DATA: Final = Path(__file__).parent / "data"
HEAD_FILE: Final = "catalog.toml"
MAX_FILES: Final = 256
CHINA_TIME: Final = timezone(timedelta(hours=8))


def today() -> date:
    """The day in China."""
    return datetime.now(CHINA_TIME).date()


class Catalog:
    """Immutable, so one catalog may serve every thread. Items stand in the order of domains, then of ids."""

    def __init__(self, head: Head, items: Iterable[Item]) -> None:
        rank = {domain.key: place for place, domain in enumerate(head.domains)}
        self._head = head
        self._items = tuple(sorted(items, key=lambda item: (rank[item.domain], item.id)))
        self._by_id: Mapping[str, Item] = MappingProxyType({item.id: item for item in self._items})

    @property
    def head(self) -> Head:
        return self._head

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
    def areas(self) -> tuple[Region, ...]:
        """Names of cities, and of the counties that items mention."""
        return self._head.areas

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
        day = today() if on is None else on
        return [
            item
            for item in self._items
            if (domain is None or item.domain == domain)
            and (wanted is None or wanted in item.carriers)
            and item.is_in_force(day)
            and item.is_offered_in(region)
            and (holder_region is None or item.honours(holder_region, region=region))
        ]

    def what(
        self,
        holder: Holder,
        region: str,
        *,
        on: date | None = None,
        carrier: Carrier | str | None = None,
        offline: bool = False,
    ) -> list[Answer]:
        """Every item of the catalog with yes, no or depends, and each reason. Raises as `what_can` does."""
        self._check_region(region)
        if not is_area(holder.region):
            raise QueryError(f"{holder.region!r} is no area code")
        day = today() if on is None else on
        wanted = None if carrier is None else _carrier(carrier)
        return self._eligibility.what(holder, region, day, wanted, offline=offline)

    def name_of(self, area: str) -> Text:
        """The name of an area, its code where the catalog has none."""
        return self._names.get(area, Text(area, area))

    @cached_property
    def _names(self) -> dict[str, Text]:
        return {region.code: region.name for region in (*self.regions, *self.areas)}

    @cached_property
    def _eligibility(self) -> Eligibility:
        return Eligibility(self._items, self.name_of)

    def to_json(self, items: Iterable[Item] | None = None) -> dict[str, Any]:
        """The form served over HTTP: the head with `items`, such as an answer of `what_can`, or with all of them."""
        return {
            "version": self.version,
            "published": self.published.isoformat(),
            "notice": self.notice.to_json(),
            "domains": [domain.to_json() for domain in self.domains],
            "regions": [region.to_json() for region in self.regions],
            "areas": [area.to_json() for area in self.areas],
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
    """Read the catalog in directory `path`, by default the one shipped with this package. Raises as `read_catalog`."""
    return read_catalog(read_files(DATA if path is None else path))


def read_files(directory: Path) -> dict[str, bytes]:
    """The TOML files of a directory by name, unread. Raises CatalogError."""
    try:
        files = sorted(directory.glob("*.toml"))
    except OSError as exc:
        raise CatalogError([Problem(directory.name, "", "", f"cannot be read: {exc.strerror}")]) from exc
    return {file.name: read_bytes(file) for file in files[: MAX_FILES + 1]}


def read_catalog(files: Mapping[str, bytes]) -> Catalog:
    """A catalog from its files by name.

    Raises CatalogError with every fault found, each naming file, item and field; nothing is loaded by halves.
    """
    if HEAD_FILE not in files:
        raise CatalogError([Problem(HEAD_FILE, "", "", "is missing from the catalog directory")])
    if len(files) > MAX_FILES:
        raise CatalogError([Problem(HEAD_FILE, "", "", f"stands among more than {MAX_FILES} files")])
    problems: list[Problem] = []
    head = _load_head(files[HEAD_FILE])
    items: dict[str, Item] = {}
    for name in sorted(files):
        if name != HEAD_FILE:
            _load_items(name, files[name], head, items, problems)
    if not items and not problems:
        problems.append(Problem(HEAD_FILE, "", "", "has no item file beside it"))
    if problems:
        raise CatalogError(problems)
    return Catalog(head, items.values())


def _load_head(raw: bytes) -> Head:
    source = parse_source(HEAD_FILE, raw, HEAD_HELP)
    try:
        return read_head(source.table)
    except Fault as fault:
        raise CatalogError([source.problem(fault)]) from fault


def _load_items(name: str, raw: bytes, head: Head, items: dict[str, Item], problems: list[Problem]) -> None:
    """The good items of a file go to `items`, its faults to `problems`."""
    try:
        source = parse_source(name, raw, FIELD_HELP)
    except CatalogError as exc:
        problems.extend(exc.problems)
        return
    try:
        fields = Fields(source.table)
        owner, defaults = _owner_and_defaults(fields)
        tables = fields.tables("item")
        fields.finish()
        if owner != JOINT and owner not in {region.code for region in head.regions}:
            raise Fault("owner", f"{owner!r} is neither {JOINT!r} nor a region of this catalog")
        if not tables:
            raise Fault("item", "must have at least one entry")
    except Fault as fault:
        problems.append(source.problem(fault))
        return
    for number, table in enumerate(tables):
        try:
            item = read_item({**defaults, **table}, owner=owner, head=head)
            if item.id in items:
                raise Fault("id", "is used by an earlier item")
            items[item.id] = item
        except Fault as fault:
            given = table.get("id")
            told = given if isinstance(given, str) else f"number {number + 1}"
            problems.append(source.problem(fault, item=told, number=number))


def read_defaults(file: Path) -> tuple[str, Mapping[str, Any]]:
    """Owner and shared fields from an item file without items. Raises CatalogError."""
    source = parse_source(file.name, read_bytes(file), FIELD_HELP)
    try:
        fields = Fields(source.table)
        owner, defaults = _owner_and_defaults(fields)
        fields.finish()
    except Fault as fault:
        raise CatalogError([source.problem(fault)]) from fault
    return owner, defaults


def _owner_and_defaults(fields: Fields) -> tuple[str, Mapping[str, Any]]:
    owner = fields.string("owner")
    defaults = fields.optional("defaults", fields.table) or {}
    if "id" in defaults:
        raise Fault("defaults.id", "cannot be shared by items")
    return owner, defaults


def _carrier(value: Carrier | str) -> Carrier:
    try:
        return Carrier(value)
    except ValueError:
        choices = ", ".join(member.value for member in Carrier)
        raise QueryError(f"no carrier {value!r}; there are {choices}") from None
