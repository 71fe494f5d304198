"""Where the gate stands and what it is for, as records say it."""

from __future__ import annotations

from typing import Final

from cardlib.transit_rules import Degraded, Mode, TransitRules
from cardlib.transit_takings import Mode as ToldMode
from cardlib.transit_takings import TapPlace

_TOLD: Final[dict[Mode, ToldMode]] = {
    Mode.METRO_ENTRY: "metro_entry",
    Mode.METRO_EXIT: "metro_exit",
    Mode.BUS_FLAT: "bus_flat",
    Mode.FERRY: "ferry",
    Mode.BUS_BOARD: "bus_board",
    Mode.BUS_ALIGHT: "bus_alight",
}


def mode_of(rules: TransitRules) -> ToldMode | None:
    """None for the staff's readers, which take no codes."""
    return "emergency" if rules.has(Degraded.EMERGENCY) else _TOLD.get(rules.mode)


def place_of(rules: TransitRules) -> TapPlace:
    place = rules.place
    return TapPlace(city=place.city, industry=place.industry, line=place.line, station=place.station)
