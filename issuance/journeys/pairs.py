"""Which entry and exit of a purse are one journey; no database here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from issuance.journeys.day_repository import ENTRIES
from issuance.journeys.models import TransitTapRow
from issuance.journeys.schemas import Trouble

_EXITS: Final = frozenset({"metro_exit", "bus_alight", "service_exit"})
_UNDER_WAY: Final = timedelta(hours=6)
"""No journey takes longer; an entry older than this has lost its exit."""


@dataclass(frozen=True, slots=True)
class Journey:
    taps: tuple[TransitTapRow, ...]
    trouble: Trouble | None = None

    @property
    def amount_fen(self) -> int:
        return sum(tap.amount_fen for tap in self.taps)


def journeys(taps: Iterable[TransitTapRow], now: datetime) -> list[Journey]:
    """Of takings of one purse, the newest first. An exit names its entry as the purse's record had it."""
    ordered = sorted(taps, key=lambda tap: (tap.offline, tap.at))
    entries = {(tap.psam, tap.time): tap for tap in ordered if tap.mode in ENTRIES}
    found: list[Journey] = []
    left: set[tuple[str, str]] = set()
    for tap in ordered:
        if tap.mode in ENTRIES:
            continue
        name = (tap.entry_psam or "", tap.entry_time or "")
        entry = entries.get(name)
        if entry is not None and name not in left:
            left.add(name)
            found.append(Journey((entry, tap)))
        else:
            found.append(Journey((tap,), "no_entry" if tap.mode in _EXITS else None))
    newest = ordered[-1] if ordered else None
    for name, entry in entries.items():
        if name not in left:
            is_under_way = entry is newest and now - entry.at < _UNDER_WAY
            found.append(Journey((entry,), "under_way" if is_under_way else "no_exit"))
    return sorted(found, key=lambda journey: (journey.taps[-1].offline, journey.taps[-1].at), reverse=True)
