"""What a transit terminal is told: its part and place, fares and discounts, whom it takes, what it puts up with.

One file, TOML or JSON, docs/transit-gate.md has the tables. A file with an error is not used at all. Amounts are fen.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeVar

from pydantic import Field, StringConstraints, ValidationError, model_validator

from cardlib.strict_json import once
from cardlib.transit_fares import FareTable, Fen, Percent
from cardlib.transit_records import Place
from cardlib.wire import Message

MAX_BYTES: Final = 1 << 20
MAX_ISSUERS, MAX_PRODUCTS, MAX_NETWORK = 2000, 200, 100
ANY: Final = "*"

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.-]{1,32}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
Institution = Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{16}$")]
Seconds = Annotated[int, Field(ge=0, le=172_800)]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
M = TypeVar("M", bound=Message)


class TransitRulesError(ValueError):
    """The file does not say what a terminal must know; none of it is used. The text names the place."""

    failure: ClassVar[str] = "TRANSIT_RULES_INVALID"


class Mode(StrEnum):
    """What the terminal is for. SERVICE_*: the staff's reader beside the entry or the exit gates (补票)."""

    METRO_ENTRY = "metro_entry"
    METRO_EXIT = "metro_exit"
    BUS_FLAT = "bus_flat"
    FERRY = "ferry"
    BUS_BOARD = "bus_board"
    BUS_ALIGHT = "bus_alight"
    SERVICE_ENTRY = "service_entry"
    SERVICE_EXIT = "service_exit"


FLAT: Final = frozenset({Mode.BUS_FLAT, Mode.FERRY})
ON_BUS: Final = frozenset({Mode.BUS_BOARD, Mode.BUS_ALIGHT})
WITH_TRIP: Final = frozenset({Mode.METRO_EXIT, Mode.BUS_ALIGHT})
"""Modes whose fare needs to know where the trip began."""


class Degraded(StrEnum):
    """降级模式 of the station (transit_card.md §6). ENTRY_FREE: order of entry and exit is not looked at. DATE_FREE:
    nor are the length of the stay and the clock. FARE_FREE: the ride costs nothing. EXIT_FREE and EMERGENCY: out
    without a charge; in an emergency nobody goes in."""

    ENTRY_FREE = "entry_free"
    DATE_FREE = "date_free"
    FARE_FREE = "fare_free"
    EXIT_FREE = "exit_free"
    EMERGENCY = "emergency"


class RulePlace(Message):
    """Codes are the operator's. `institution` accepts the cards; `network` are those whose open trips end here, its
    own always among them."""

    industry: int = Field(ge=1, le=0x0E)
    line: int = Field(ge=0, le=0xFFFF)
    station: int = Field(ge=0, le=0xFFFF)
    city: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")]
    institution: Institution
    network: tuple[Institution, ...] = Field(default=(), max_length=MAX_NETWORK)
    name_zh: str = Field(default="", max_length=40)
    name_en: str = Field(default="", max_length=80)

    def on_card(self) -> Place:
        return Place(self.industry, self.line, self.station, self.city, bytes.fromhex(self.institution))

    def is_own(self, institution: bytes) -> bool:
        return institution.hex().upper() in (self.institution, *self.network)


class Issuer(Message):
    """`issuer` are the first eight digits of the purse's issuer id, `*` any other; a card of another city (`home`
    false) must be interoperable. `key_index` is what the PSAM's application must say."""

    issuer: Annotated[str, StringConstraints(pattern=r"^(?:[0-9]{8}|\*)$")]
    key_index: int = Field(default=1, ge=1, le=0xFF)
    home: bool = False


class Product(Message):
    """Price = fare · percent / 100 − fixed, not below 0, rounded down, for these passenger classes; only while `item`
    is in force in the catalog of the day."""

    slug: Slug
    zh: Text
    en: Text
    issuer: Annotated[str, StringConstraints(pattern=r"^(?:[0-9]{8}|\*)$")] = ANY
    classes: tuple[Annotated[int, Field(ge=0, le=0xFF)], ...] = Field(min_length=1, max_length=32)
    percent: Percent = 100
    fixed_fen: Fen = 0
    item: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")] | None = None

    def price(self, fare_fen: int) -> int:
        return max(0, fare_fen * self.percent // 100 - self.fixed_fen)

    def is_for(self, issuer: str, passenger_class: int) -> bool:
        return passenger_class in self.classes and self.issuer in (issuer, ANY)


PLAIN: Final = Product(slug="plain", zh="普通票", en="Full fare", classes=tuple(range(0x20)))


class Limits(Message):
    """`torn_s`: when a torn tap is told as suspicious. `recovered_s`: how long after it the gate still opens for what
    was paid then. `skew_s`: by how much clocks of two gates may differ."""

    minimum_entry_fen: Fen = 0
    minimum_left_fen: Fen = 0
    maximum_stay_s: Seconds = 4 * 3600
    free_update_s: Seconds = 20 * 60
    retap_s: Seconds = 2
    torn_s: Seconds = 60
    recovered_s: Seconds = 600
    skew_s: Seconds = 120


class Policy(Message):
    """`code_fare_fen` is the plain fare of a ride with a code; without one no code is taken. `lock` says how a purse on
    the block list is locked. `waits_for_mac2`: the gate opens after the PSAM has found MAC2 right, not before."""

    degraded: frozenset[Degraded] = frozenset()
    block_list: Literal["required", "preferred"] = "required"
    lock: Literal["temporary", "permanent", "none"] = "temporary"
    unknown_class: Literal["plain", "refuse"] = "plain"
    refuses_test_cards: bool = True
    writes_trip: bool = True
    waits_for_mac2: bool = False
    code_fare_fen: Fen | None = None


def demand_order(first: date, last: date, issuers: Iterable[Issuer], products: Iterable[Product]) -> None:
    """What any rules keep, whoever they are for. Raises ValueError."""
    if first > last:
        raise ValueError("the rules end before they begin")
    slugs = [each.slug for each in products]
    for name, values in (("issuer", [each.issuer for each in issuers]), ("product", slugs)):
        if len(set(values)) != len(values):
            raise ValueError(f"one {name} is named twice")
    if PLAIN.slug in slugs:
        raise ValueError("the plain fare needs no product")


class TransitRules(Message):
    """All of it. Immutable; `valid_from` and `valid_until` are days of the terminal's clock, both included."""

    format: Literal["transit-rules-1"]
    version: Version
    mode: Mode
    valid_from: date
    valid_until: date
    place: RulePlace
    issuers: tuple[Issuer, ...] = Field(min_length=1, max_length=MAX_ISSUERS)
    fares: FareTable
    products: tuple[Product, ...] = Field(default=(), max_length=MAX_PRODUCTS)
    limits: Limits = Limits()
    policy: Policy = Policy()

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        demand_order(self.valid_from, self.valid_until, self.issuers, self.products)
        if self.mode in WITH_TRIP and not self.fares.tells_trips:
            raise ValueError("this mode needs fares.pairs, or fares.positions with fares.tiers")
        if self.mode in ON_BUS and self.place.station > 0xFF:
            raise ValueError("the card has one byte for a bus stop")
        if self.mode in FLAT and self.fares.flat_fen is None:
            raise ValueError("this mode needs fares.flat_fen")
        if self.mode not in FLAT and not self.fares.maximum_fen:
            raise ValueError("this mode needs fares.maximum_fen")
        return self

    @classmethod
    def parse(cls, raw: bytes | str, *, is_json: bool = False) -> TransitRules:
        """Raises TransitRulesError."""
        return as_message(cls, parse_table(raw, is_json=is_json))

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def issuer_of(self, digits: str) -> Issuer | None:
        """The entry for the first eight digits of a purse's issuer id."""
        return self._issuers.get(digits) or self._issuers.get(ANY)

    @cached_property
    def _issuers(self) -> dict[str, Issuer]:
        return {each.issuer: each for each in self.issuers}

    def product_of(self, digits: str, passenger_class: int) -> Product | None:
        """The first that fits; the plain fare is the caller's."""
        return next((each for each in self.products if each.is_for(digits, passenger_class)), None)

    def holds(self, day: date) -> bool:
        return self.valid_from <= day <= self.valid_until

    def has(self, mode: Degraded) -> bool:
        return mode in self.policy.degraded


def read_table(path: Path) -> dict[str, Any]:
    """A `.json` file as JSON, any other as TOML. Raises TransitRulesError, OSError."""
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    return parse_table(raw, is_json=path.suffix == ".json")


def parse_table(raw: bytes | str, *, is_json: bool = False) -> dict[str, Any]:
    """Raises TransitRulesError."""
    raw = raw.encode() if isinstance(raw, str) else raw
    if len(raw) > MAX_BYTES:
        raise TransitRulesError(f"more than {MAX_BYTES} bytes")
    try:
        text = raw.decode()
        table = json.loads(text, object_pairs_hook=once) if is_json else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise TransitRulesError(f"not {'JSON' if is_json else 'TOML'}: {error}"[:200]) from None
    if not isinstance(table, dict):
        raise TransitRulesError("rules: an object was expected")
    return table


def as_message(kind: type[M], table: dict[str, Any]) -> M:
    """Raises TransitRulesError, which names the place."""
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "rules"
        raise TransitRulesError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None
    except RecursionError:
        raise TransitRulesError("rules: nested too deep") from None
