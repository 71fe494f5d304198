"""What a network publishes for all of its gates, and the own file of a gate that takes its rules from there.

Together they are that gate's `TransitRules`. docs/transit-gate.md has the tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import Field, StringConstraints, model_validator

from cardlib.transit_fares import FareTable, Station
from cardlib.transit_rules import (
    ANY,
    MAX_ISSUERS,
    MAX_NETWORK,
    MAX_PRODUCTS,
    Degraded,
    Institution,
    Issuer,
    Limits,
    Mode,
    Policy,
    Product,
    RulePlace,
    TransitRules,
    TransitRulesError,
    Version,
    as_message,
    demand_order,
    parse_table,
)
from cardlib.wire import Message

GATE_FORMAT: Final = "transit-gate-1"
MAX_VARIATIONS: Final = 500
_SUFFIX: Final = ".toml"

NetworkName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
Line = Annotated[int, Field(ge=0, le=0xFFFF)]
P = TypeVar("P", FareTable, Limits, Policy)


class Variation(Message):
    """Other values for some gates: each list that is given must have the gate's. Where two name a value, the later
    one counts; a table such as `pairs` is replaced whole."""

    modes: frozenset[Mode] = frozenset()
    lines: frozenset[Line] = frozenset()
    stations: frozenset[Station] = frozenset()
    fares: dict[str, Any] = Field(default_factory=dict)
    limits: dict[str, Any] = Field(default_factory=dict)
    policy: dict[str, Any] = Field(default_factory=dict)

    def fits(self, mode: Mode, place: RulePlace) -> bool:
        return (
            (not self.modes or mode in self.modes)
            and (not self.lines or place.line in self.lines)
            and (not self.stations or f"{place.line}:{place.station}" in self.stations)
        )


class NetworkRules(Message):
    """One edition. `valid_from` and `valid_until` are days of the gate's clock, both included; `in_force` says which of
    several counts. `institutions`: whose open trips end in this network."""

    format: Literal["transit-network-1"]
    network: NetworkName
    version: Version
    valid_from: date
    valid_until: date
    institutions: tuple[Institution, ...] = Field(default=(), max_length=MAX_NETWORK)
    issuers: tuple[Issuer, ...] = Field(min_length=1, max_length=MAX_ISSUERS)
    fares: FareTable
    products: tuple[Product, ...] = Field(default=(), max_length=MAX_PRODUCTS)
    limits: Limits = Limits()
    policy: Policy = Policy()
    variations: tuple[Variation, ...] = Field(default=(), max_length=MAX_VARIATIONS)

    @model_validator(mode="after")
    def _each_variation_can_be(self) -> Self:
        demand_order(self.valid_from, self.valid_until, self.issuers, self.products)
        for number, each in enumerate(self.variations):
            try:
                _varied(self.fares, [each.fares])
                _varied(self.limits, [each.limits])
                _varied(self.policy, [each.policy])
            except TransitRulesError as error:
                raise ValueError(f"variations.{number}: {error}") from None
        return self

    @classmethod
    def parse(cls, raw: bytes | str) -> Self:
        """TOML. Raises TransitRulesError."""
        return as_message(cls, parse_table(raw))

    @property
    def file_name(self) -> str:
        """What it is published as: one file for each network and first day."""
        return f"{self.network}.{self.valid_from}{_SUFFIX}"


class GateFile(Message):
    """`degraded` is the station's own and comes on top of what the network orders."""

    format: Literal["transit-gate-1"]
    network: NetworkName
    mode: Mode
    place: RulePlace
    degraded: frozenset[Degraded] = frozenset()

    def rules(self, published: NetworkRules) -> TransitRules:
        """This gate's. Raises TransitRulesError where the network has none for it."""
        fitting = [each for each in published.variations if each.fits(self.mode, self.place)]
        policy = _varied(published.policy, [each.policy for each in fitting])
        network = tuple(dict.fromkeys((*self.place.network, *published.institutions)))
        table = {
            "format": "transit-rules-1",
            "version": published.version,
            "mode": self.mode,
            "valid_from": published.valid_from,
            "valid_until": published.valid_until,
            "place": self.place.model_copy(update={"network": network}),
            "issuers": published.issuers,
            "fares": _varied(published.fares, [each.fares for each in fitting]),
            "products": published.products,
            "limits": _varied(published.limits, [each.limits for each in fitting]),
            "policy": policy.model_copy(update={"degraded": policy.degraded | self.degraded}),
        }
        return as_message(TransitRules, table)

    def no_rules(self) -> TransitRules:
        """Until the network's are there: nobody passes by them, as no clock says their only day."""
        return TransitRules(
            format="transit-rules-1",
            version="-",
            mode=self.mode,
            valid_from=date.min,
            valid_until=date.min,
            place=self.place,
            issuers=(Issuer(issuer=ANY),),
            fares=FareTable(flat_fen=0, maximum_fen=1, pairs={"0:0-0:0": 0}),
        )


def own_rules(table: dict[str, Any]) -> TransitRules | GateFile:
    """Of a gate's own file: all of its rules, or where they come from. Raises TransitRulesError."""
    return as_message(GateFile, table) if table.get("format") == GATE_FORMAT else as_message(TransitRules, table)


def check_published(files: Mapping[str, bytes]) -> list[NetworkRules]:
    """All that is to be published, by network and day. Raises TransitRulesError for a file that gates could not use,
    that is named otherwise, or whose version another one of its network has; and where there is none."""
    if not files:
        raise TransitRulesError("there are no rules")
    found: list[NetworkRules] = []
    for name, raw in sorted(files.items()):
        try:
            rules = NetworkRules.parse(raw)
        except TransitRulesError as error:
            raise TransitRulesError(f"{name}: {error}") from None
        if name != rules.file_name:
            raise TransitRulesError(f"{name}: its name must be {rules.file_name}")
        if (rules.network, rules.version) in [(other.network, other.version) for other in found]:
            raise TransitRulesError(f"{name}: version {rules.version} is there twice")
        found.append(rules)
    return found


def of_network(network: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: raw for name, raw in files.items() if name.partition(".")[0] == network}


def in_force(editions: Iterable[NetworkRules], day: date) -> NetworkRules | None:
    """Of those that hold that day the one that began last; else the one that ended last; None where none has begun."""
    begun = [each for each in editions if each.valid_from <= day]
    return max(begun, key=lambda each: (min(each.valid_until, day), each.valid_from), default=None)


def timeline(editions: Collection[NetworkRules]) -> list[tuple[date, date, NetworkRules | None]]:
    """Which edition counts from which day to which, from the first that begins to the last that ends; None where there
    is none in between."""
    turns = {each.valid_from.toordinal() for each in editions} | {each.valid_until.toordinal() + 1 for each in editions}
    found: list[tuple[date, date, NetworkRules | None]] = []
    for begins, after in pairwise(sorted(turns)):
        first, last = date.fromordinal(begins), date.fromordinal(after - 1)
        counting = in_force(editions, first)
        counting = counting if counting is not None and counting.valid_until >= first else None
        if found and found[-1][2] is counting:
            first = found.pop()[0]
        found.append((first, last, counting))
    return found


def _varied(base: P, changes: Iterable[Mapping[str, Any]]) -> P:
    said = [change for change in changes if change]
    if not said:
        return base
    table = base.model_dump(exclude_unset=True)
    for change in said:
        table |= change
    return as_message(type(base), table)
