"""From TOML tables to records: the catalog's head, and items with the rules they must obey."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from apps_catalog.areas import NATIONWIDE, contains, is_area, is_province
from apps_catalog.fields import Fault, Fields, each
from apps_catalog.model import (
    JOINT,
    LOCAL,
    Carrier,
    Channel,
    Datum,
    Domain,
    Equipment,
    Function,
    Item,
    Level,
    Place,
    Region,
    Returned,
    Source,
    Standing,
    Text,
    Validation,
)
from apps_catalog.rule import CardState, Category, Opened, Rule

GENERATIONS = ("1.0", "2.0", "3.0")
MAX_AGE = 150
ITEM_ID = r"[a-z0-9]+(-[a-z0-9]+)+"
MAX_ID = 96
SLUG = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
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
    areas: tuple[Region, ...] = ()
    """Names of the cities and counties that items mention."""


def read_head(table: Mapping[str, Any]) -> Head:
    fields = Fields(table)
    head = Head(
        version=fields.string("version", pattern=r"\d{4}\.\d{1,2}\.\d{1,3}"),
        published=fields.day("published"),
        notice=fields.text("notice"),
        domains=each(_domain, fields.tables("domain")),
        regions=each(_region, fields.tables("region")),
        sources=each(_source, fields.tables("source")),
        areas=each(_area, fields.optional("area", fields.tables) or ()),
    )
    fields.finish()
    _distinct("domain", [domain.key for domain in head.domains])
    _distinct("region", [region.code for region in head.regions])
    _distinct("source", [source.key for source in head.sources])
    for index, area in enumerate(head.areas):
        if not any(contains(region.code, area.code) and region.code != area.code for region in head.regions):
            raise Fault("area.code", f"{area.code!r} lies in no region of this catalog", index)
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


def _area(table: Mapping[str, Any]) -> Region:
    fields = Fields(table, "area.")
    area = Region(fields.string("code"), fields.text("name"))
    fields.finish()
    if not is_area(area.code):
        raise Fault("area.code", f"{area.code!r} is no area code")
    return area


def _source(table: Mapping[str, Any]) -> Source:
    fields = Fields(table, "source.")
    source = Source(
        fields.string("key", pattern=SLUG),
        fields.text("title"),
        fields.string("confidence", pattern="high|medium|low"),
        fields.optional("expires", fields.day),
    )
    fields.finish()
    return source


def _distinct(field: str, keys: Sequence[str]) -> None:
    if not keys:
        raise Fault(field, "must have at least one entry")
    doubled = next((index for index, key in enumerate(keys) if key in keys[:index]), None)
    if doubled is not None:
        raise Fault(field, f"{keys[doubled]!r} is there twice", doubled)


def read_item(table: Mapping[str, Any], *, owner: str, head: Head) -> Item:
    """One item of the owner's part. Raises Fault at the first field or rule that fails."""
    item, faults = check_item(table, owner=owner, head=head)
    if item is None:
        raise faults[0]
    return item


def check_item(table: Mapping[str, Any], *, owner: str, head: Head) -> tuple[Item | None, list[Fault]]:
    """The item, or None and every fault: one a field; where all fields can be read, one a rule."""
    fields = Fields(table)
    read, faults = {}, []
    for key, reader in _READERS.items():
        try:
            read[key] = reader(fields, key)
        except Fault as fault:
            faults.append(fault)
    try:
        fields.finish()
    except Fault as fault:
        faults.append(fault)
    if faults:
        return None, faults
    item = Item(owner=owner, **read)
    for rule in _RULES:
        try:
            rule(item, head)
        except Fault as fault:
            faults.append(fault)
    return (None if faults else item), faults


def read_rule(table: Mapping[str, Any]) -> Rule:
    """Raises Fault."""
    fields = Fields(table, "rule.")
    rule = Rule(
        age_from=fields.optional("age_from", lambda key: fields.count(key, least=0, most=MAX_AGE)),
        age_to=fields.optional("age_to", lambda key: fields.count(key, least=0, most=MAX_AGE)),
        card_states=fields.optional("card_states", lambda key: fields.members(key, CardState)) or (),
        ecard_level=fields.optional("ecard_level", lambda key: fields.count(key, most=2)),
        categories=fields.optional("categories", lambda key: fields.members(key, Category)) or (),
        opened=fields.optional("opened", lambda key: fields.members(key, Opened)) or (),
        whole=bool(fields.optional("whole", fields.flag)),
    )
    fields.finish()
    return rule


def _place(table: Mapping[str, Any]) -> Place:
    fields = Fields(table, "places.")
    place = Place(
        fields.string("area"),
        fields.text("name"),
        fields.optional("address", fields.text),
        fields.optional("closed", fields.day),
    )
    fields.finish()
    return place


def _short(key: str, item_id: str) -> str:
    """It is part of addresses."""
    if len(item_id) > MAX_ID:
        raise Fault(key, f"must have at most {MAX_ID} characters")
    return item_id


def _returned(table: Mapping[str, Any]) -> Returned:
    fields = Fields(table, "returns.")
    returned = Returned(fields.members("data", Datum), fields.string("basis"))
    fields.finish()
    return returned


_READERS: Mapping[str, Callable[[Fields, str], Any]] = {
    "id": lambda fields, key: _short(key, fields.string(key, pattern=ITEM_ID)),
    "name": Fields.text,
    "summary": Fields.text,
    "domain": Fields.string,
    "level": lambda fields, key: fields.member(key, Level),
    "areas": Fields.strings,
    "holders": Fields.strings,
    "carriers": lambda fields, key: fields.members(key, Carrier),
    "functions": lambda fields, key: fields.members(key, Function),
    "channels": lambda fields, key: fields.members(key, Channel),
    "validation": lambda fields, key: fields.member(key, Validation),
    "department": Fields.text,
    "provider": Fields.text,
    "eligibility": Fields.text,
    "terms": Fields.text,
    "standing": lambda fields, key: fields.member(key, Standing),
    "sources": Fields.strings,
    "version": Fields.count,
    "effective_from": lambda fields, key: fields.optional(key, fields.day),
    "effective_to": lambda fields, key: fields.optional(key, fields.day),
    "generations": lambda fields, key: fields.optional(key, fields.strings) or (),
    "accessibility": lambda fields, key: fields.optional(key, fields.text),
    "rule": lambda fields, key: read_rule(fields.optional(key, fields.table) or {}),
    "places": lambda fields, key: each(_place, fields.optional(key, fields.tables) or ()),
    "guide": lambda fields, key: fields.optional(key, fields.texts) or (),
    "materials": lambda fields, key: fields.optional(key, fields.texts) or (),
    "equipment": lambda fields, key: fields.optional(key, lambda name: fields.members(name, Equipment)) or (),
    "returns": lambda fields, key: _returned(fields.table(key)) if fields.has(key) else None,
    "change": lambda fields, key: fields.optional(key, fields.text),
    "differs": lambda fields, key: fields.optional(key, fields.text),
}


def _names_what_exists(item: Item, head: Head) -> None:
    if item.domain not in {domain.key for domain in head.domains}:
        raise Fault("domain", f"{item.domain!r} is no domain of this catalog")
    unknown = set(item.sources) - {source.key for source in head.sources}
    if unknown:
        raise Fault("sources", f"{min(unknown)!r} is no source of this catalog")
    if item.returns and item.returns.basis not in {source.key for source in head.sources}:
        raise Fault("returns.basis", f"{item.returns.basis!r} is no source of this catalog")
    unknown = set(item.generations) - set(GENERATIONS)
    if unknown:
        raise Fault("generations", f"{min(unknown)!r} is none of {', '.join(GENERATIONS)}")
    if not item.id.startswith(f"{item.owner}-{item.domain}-"):
        raise Fault("id", f"must begin with {item.owner}-{item.domain}-")


def _areas_are_covered(item: Item, head: Head) -> None:
    for area in item.areas:
        if not is_area(area) or not any(contains(region.code, area) for region in head.regions):
            raise Fault("areas", f"{area!r} is no area of the regions covered")
    for index, place in enumerate(item.places):
        if not is_area(place.area) or not any(contains(area, place.area) for area in item.areas):
            raise Fault("places.area", f"{place.area!r} is in none of the areas that offer the item", index)
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


def _somebody_can_meet_the_rule(item: Item, head: Head) -> None:
    rule = item.rule
    if rule.age_from is not None and rule.age_to is not None and rule.age_to < rule.age_from:
        raise Fault("rule.age_to", "is less than age_from, so that nobody is of that age")
    if rule.ecard_level is not None and Carrier.QR not in item.carriers:
        raise Fault("rule.ecard_level", "asks for an electronic card, but qr is not among the carriers")
    if Opened.BANK in rule.opened and not {Carrier.BANK_ACCOUNT, Carrier.QR} & set(item.carriers):
        raise Fault("rule.opened", "asks for the account, but neither bank_account nor qr is among the carriers")
    if Opened.TRANSIT in rule.opened and Carrier.CONTACTLESS not in item.carriers:
        raise Fault("rule.opened", "asks for the transit purse, but contactless is not among the carriers")


def _equipment_reads_the_carriers(item: Item, head: Head) -> None:
    for equipment, carrier in _READS.items():
        if equipment in item.equipment and carrier not in item.carriers:
            raise Fault("equipment", f"{equipment.value!r} has no use: {carrier.value} is not among the carriers")


def _changes_are_told(item: Item, head: Head) -> None:
    if item.version > 1 and item.change is None:
        raise Fault("change", "is missing: a version above 1 says what it changed")


_READS = {
    Equipment.CONTACT_READER: Carrier.CONTACT,
    Equipment.CONTACTLESS_READER: Carrier.CONTACTLESS,
    Equipment.QR_SCANNER: Carrier.QR,
}
_RULES: tuple[Callable[[Item, Head], None], ...] = (
    _names_what_exists,
    _areas_are_covered,
    _owner_speaks_for_itself,
    _money_goes_to_the_account,
    _validation_is_possible,
    _days_make_sense,
    _somebody_can_meet_the_rule,
    _equipment_reads_the_carriers,
    _changes_are_told,
)
