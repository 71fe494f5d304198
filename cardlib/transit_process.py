"""The open trip as the purse tells it: process records 2701 (rail) and 2702 (bus) (transit_card.md §2.4).

Nothing of it is in a MAC: it is trusted as little as any plain data of a card.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cardlib.transit_records import BUS, OPEN_STATUS, PAID_ENTRY_STATUS, RAIL, check_process


@dataclass(frozen=True, slots=True)
class OpenTrip:
    """Where a trip began and what is known of it. `moment` is None where the card's is no time; `paid_fen` was taken
    at the service point that wrote the entry, `marked_fen` is what the trip costs when nobody ends it."""

    is_open: bool
    terminal: str
    institution: bytes
    line: int
    station: int
    moment: datetime.datetime | None
    marked_fen: int
    paid_fen: int

    @property
    def place(self) -> tuple[int, int]:
        return self.line, self.station


def rail_trip(raw: bytes) -> OpenTrip:
    """Of record 2701. Raises CardDataError."""
    check_process(RAIL, raw)
    status = raw[14]
    paid = _number(raw[87:91]) if status == PAID_ENTRY_STATUS else 0
    line, station = _number(raw[39:41]), _number(raw[41:43])
    return OpenTrip(
        status in OPEN_STATUS,
        _terminal(raw[51:59]),
        raw[19:27],
        line,
        station,
        _moment(raw[67:74]),
        _number(raw[81:85]),
        paid,
    )


def bus_trip(raw: bytes) -> OpenTrip:
    """Of record 2702. Raises CardDataError."""
    check_process(BUS, raw)
    line, station = _number(raw[27:29]), raw[29]
    return OpenTrip(
        raw[14] in OPEN_STATUS,
        _terminal(raw[38:46]),
        raw[17:25],
        line,
        station,
        _moment(raw[46:53]),
        _number(raw[53:57]),
        0,
    )


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _terminal(raw: bytes) -> str:
    return raw.hex()[4:].upper()


def _moment(raw: bytes) -> datetime.datetime | None:
    """None also for a year below 1000, which no record could say again."""
    try:
        return datetime.datetime.strptime(raw.hex(), "%Y%m%d%H%M%S") if raw[0] >= 0x10 else None
    except ValueError:
        return None
