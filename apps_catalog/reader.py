"""From TOML tables to records: the catalog's head, and items with the rules they must obey."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from apps_catalog.areas import NATIONWIDE, contains, is_area, is_province
from apps_catalog.fields import Fault, Fields
from apps_catalog.model import (
    JOINT,
    LOCAL,
    Carrier,
    Channel,
    Domain,
    Function,
    Item,
    Level,
    Region,
    Source,
    Standing,
    Text,
    Validation,
)

GENERATIONS = ("1.0", "2.0", "3.0")
_SLUG = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
_OFFLINE_QR_DOMAIN = "transport"


@dataclass(frozen=True, slots=True)
class Head:
    """`catalog.toml`: what all item files share."""

    version: str
    published: date
    notice: Text
    domains: tuple[Domain, ...]
    regions: tuple[Region, ...]
    sources: tuple[Source, ...]


def read_head(table: Mapping[str, Any]) -> Head:
    fields = Fields(table)
    head = Head(
        version=fields.string("version", pattern=r"\d{4}\.\d{1,2}\.\d{1,3}"),
        published=fields.day("published"),
        notice=fields.text("notice"),
        domains=tuple(map(_domain, fields.tables("domain"))),
        regions=tuple(map(_region, fields.tables("region"))),
        sources=tuple(map(_source, fields.tables("source"))),
    )
    fields.finish()
    _distinct("domain", [domain.key for domain in head.domains])
    _distinct("region", [region.code for region in head.regions])
    _distinct("source", [source.key for source in head.sources])
    return head


def _domain(table: Mapping[str, Any]) -> Domain:
    fields = Fields(table, "domain.")
    domain = Domain(fields.string("key", pattern="[a-z]+"), fields.text("name"), fields.string("glyph", pattern="."))
    fields.finish()
    return domain


def _region(table: Mapping[str, Any]) -> Region:
    fields = Fields(table, "region.")
    region = Region(fields.string("code"), fields.text("name"))
    fields.finish()
    if not is_province(region.code):
        raise Fault("region.code", f"{region.code!r} is no province")
    return region


def _source(table: Mapping[str, Any]) -> Source:
    fields = Fields(table, "source.")
    source = Source(
        fields.string("key", pattern=_SLUG),
        fields.text("title"),
        fields.string("confidence", pattern="high|medium|low"),
    )
    fields.finish()
    return source


def _distinct(field: str, keys: Sequence[str]) -> None:
    if not keys:
        raise Fault(field, "must have at least one entry")
    doubled = next((key for key in keys if keys.count(key) > 1), None)
    if doubled is not None:
        raise Fault(field, f"{doubled!r} is there twice")


def read_item(table: Mapping[str, Any], *, owner: str, head: Head) -> Item:
    """One item of the owner's part. Raises Fault at the first field or rule that fails."""
    fields = Fields(table)
    item = Item(
        id=fields.string("id", pattern=r"[a-z0-9]+(-[a-z0-9]+)+"),
        owner=owner,
        name=fields.text("name"),
        summary=fields.text("summary"),
        domain=fields.string("domain"),
        level=fields.member("level", Level),
        areas=fields.strings("areas"),
        holders=fields.strings("holders"),
        carriers=fields.members("carriers", Carrier),
        functions=fields.members("functions", Function),
        channels=fields.members("channels", Channel),
        validation=fields.member("validation", Validation),
        department=fields.text("department"),
        provider=fields.text("provider"),
        eligibility=fields.text("eligibility"),
        terms=fields.text("terms"),
        standing=fields.member("standing", Standing),
        sources=fields.strings("sources"),
        version=fields.count("version"),
        effective_from=fields.day("effective_from") if fields.has("effective_from") else None,
        effective_to=fields.day("effective_to") if fields.has("effective_to") else None,
        generations=fields.strings("generations") if fields.has("generations") else (),
        accessibility=fields.text("accessibility") if fields.has("accessibility") else None,
    )
    fields.finish()
    for rule in _RULES:
        rule(item, head)
    return item


def _names_what_exists(item: Item, head: Head) -> None:
    if item.domain not in {domain.key for domain in head.domains}:
        raise Fault("domain", f"{item.domain!r} is no domain of this catalog")
    unknown = set(item.sources) - {source.key for source in head.sources}
    if unknown:
        raise Fault("sources", f"{min(unknown)!r} is no source of this catalog")
    unknown = set(item.generations) - set(GENERATIONS)
    if unknown:
        raise Fault("generations", f"{min(unknown)!r} is none of {', '.join(GENERATIONS)}")
    if not item.id.startswith(f"{item.owner}-{item.domain}-"):
        raise Fault("id", f"must begin with {item.owner}-{item.domain}-")


def _areas_are_covered(item: Item, head: Head) -> None:
    for area in item.areas:
        if not is_area(area) or not any(contains(region.code, area) for region in head.regions):
            raise Fault("areas", f"{area!r} is no area of the regions covered")
    for holder in item.holders:
        if holder not in (NATIONWIDE, LOCAL) and not is_area(holder):
            raise Fault("holders", f"{holder!r} is no area, nor {NATIONWIDE} or {LOCAL}")
    if NATIONWIDE in item.holders and len(item.holders) > 1:
        raise Fault("holders", f"{NATIONWIDE} already holds every other entry")


def _owner_speaks_for_itself(item: Item, head: Head) -> None:
    """A province promises nothing on behalf of another, and the level says whose promise it is."""
    is_joint = item.level in (Level.NATIONAL, Level.REGIONAL)
    if is_joint != (item.owner == JOINT):
        raise Fault("level", f"{item.level.value!r} does not belong in the part of {item.owner}")
    if is_joint:
        return
    for area in item.areas:
        if not contains(item.owner, area):
            raise Fault("areas", f"{area!r} is not in {item.owner}, which owns this file")
        if (item.level is Level.CITY) == is_province(area):
            raise Fault("level", f"{item.level.value!r} does not fit the area {area!r}")


def _money_goes_to_the_account(item: Item, head: Head) -> None:
    """Benefits are paid to the card's bank account and nowhere else (人社用卡: 待遇领取)."""
    has_account = Carrier.BANK_ACCOUNT in item.carriers
    if Function.BENEFIT in item.functions and not has_account:
        raise Fault("carriers", "a benefit is paid to the bank_account")
    if has_account and not {Function.BENEFIT, Function.PAYMENT, Function.FINANCE} & set(item.functions):
        raise Fault("functions", "a bank_account serves benefit, payment or finance only")


def _validation_is_possible(item: Item, head: Head) -> None:
    """The identity QR is an opaque token checked online; only the transit QR can be verified offline."""
    if Carrier.QR in item.carriers and item.validation is Validation.OFFLINE and item.domain != _OFFLINE_QR_DOMAIN:
        raise Fault("validation", "a QR code outside transport is checked online")
    if Channel.ONLINE in item.channels and item.is_physical_only:
        raise Fault("channels", "an online matter needs the qr or bank_account carrier")


def _days_make_sense(item: Item, head: Head) -> None:
    if (item.standing is Standing.PLANNED) != (item.effective_from is None):
        raise Fault("effective_from", "is given exactly when the item is more than planned")
    if item.effective_to is not None and (item.effective_from is None or item.effective_to < item.effective_from):
        raise Fault("effective_to", "lies before effective_from")


_RULES: tuple[Callable[[Item, Head], None], ...] = (
    _names_what_exists,
    _areas_are_covered,
    _owner_speaks_for_itself,
    _money_goes_to_the_account,
    _validation_is_possible,
    _days_make_sense,
)
