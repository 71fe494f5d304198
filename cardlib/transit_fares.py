"""The fare table of a transit terminal: flat, by pairs of stations, or by the distance between two places of a line;
less at certain hours."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from cardlib.wire import Message

MAX_STATIONS, MAX_PAIRS, MAX_TIERS, MAX_DISCOUNTS, MAX_DATES = 2000, 20_000, 50, 50, 400
_STATION: Final = r"(?:0|[1-9][0-9]{0,4}):(?:0|[1-9][0-9]{0,4})"

Station = Annotated[str, StringConstraints(pattern=rf"^{_STATION}$")]
"""`line:station`, both decimal."""
Pair = Annotated[str, StringConstraints(pattern=rf"^{_STATION}-{_STATION}$")]
Fen = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]
Percent = Annotated[int, Field(ge=0, le=100, strict=True)]


def _local(moment: time) -> time:
    if moment.tzinfo is not None:
        raise ValueError("hours have no zone")
    return moment


Hour = Annotated[time, AfterValidator(_local)]
Dates = Annotated[frozenset[date], Field(max_length=MAX_DATES)]


class Tier(Message):
    """Up to this distance, the last metre included."""

    up_to_m: int = Field(ge=0, le=10_000_000)
    fen: Fen


class Discount(Message):
    """Percent of the fare of a trip that began from `begins` until before `ends` (00:00: the end of the day), on these
    days of the week (1 is Monday) and `also_on` these dates, but `not_on` those."""

    begins: Hour
    ends: Hour
    days: frozenset[Annotated[int, Field(ge=1, le=7)]] = frozenset(range(1, 8))
    also_on: Dates = frozenset()
    not_on: Dates = frozenset()
    percent: Percent

    @model_validator(mode="after")
    def _has_hours(self) -> Self:
        if self.begins >= self.ends > time():
            raise ValueError("a discount ends before it begins: past midnight it takes two")
        return self

    def holds(self, began: datetime) -> bool:
        is_day = began.isoweekday() in self.days or began.date() in self.also_on
        is_hour = self.begins <= began.time() and (self.ends == time() or began.time() < self.ends)
        return is_day and is_hour and began.date() not in self.not_on


class FareTable(Message):
    """`pairs` hold for both directions and come before distances. `minimum_fen` is the fare where only one end of the
    trip is known, `maximum_fen` what an unfinished trip costs (标注金额); neither has a discount."""

    flat_fen: Fen | None = None
    minimum_fen: Fen = 0
    maximum_fen: Fen = 0
    pairs: dict[Pair, Fen] = Field(default_factory=dict, max_length=MAX_PAIRS)
    positions: dict[Station, Annotated[int, Field(ge=0, le=10_000_000)]] = Field(
        default_factory=dict, max_length=MAX_STATIONS
    )
    tiers: tuple[Tier, ...] = Field(default=(), max_length=MAX_TIERS)
    discounts: tuple[Discount, ...] = Field(default=(), max_length=MAX_DISCOUNTS)

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        distances = [tier.up_to_m for tier in self.tiers]
        if distances != sorted(set(distances)):
            raise ValueError("tiers go up")
        if bool(self.positions) != bool(self.tiers):
            raise ValueError("positions and tiers go together")
        fares = [*self.pairs.values(), *(tier.fen for tier in self.tiers)]
        if self.maximum_fen and max([self.minimum_fen, *fares]) > self.maximum_fen:
            raise ValueError("a fare is above maximum_fen")
        for pair, fen in self.pairs.items():
            start, end = pair.split("-")
            if self.pairs.get(f"{end}-{start}", fen) != fen:
                raise ValueError(f"{pair} costs differently the other way")
        return self

    @property
    def tells_trips(self) -> bool:
        return bool(self.pairs or self.tiers)

    def at(self, fen: int, began: datetime) -> int:
        """A fare at the time when the trip began: the first discount that holds, rounded down to the fen."""
        found = next((each.percent for each in self.discounts if each.holds(began)), 100)
        return fen * found // 100

    def between(self, start: tuple[int, int], end: tuple[int, int]) -> int | None:
        """From (line, station) to (line, station); None where the table has no fare for it."""
        first, last = f"{start[0]}:{start[1]}", f"{end[0]}:{end[1]}"
        for pair in (f"{first}-{last}", f"{last}-{first}"):
            if pair in self.pairs:
                return self.pairs[pair]
        if first not in self.positions or last not in self.positions:
            return None
        distance = abs(self.positions[first] - self.positions[last])
        return next((tier.fen for tier in self.tiers if distance <= tier.up_to_m), None)
