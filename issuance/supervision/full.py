"""Queues with more rows than are counted, kept in this process for half a minute: whatever a clerk does meanwhile, more
than `MOST_COUNTED` wait, and counting that far is what a page of queues spends its time on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from weakref import WeakKeyDictionary

from issuance.database import Database
from issuance.supervision.schemas import Queue

MOST_COUNTED: Final = 1000
FULL_FOR: Final = timedelta(seconds=30)
MOST_KEPT: Final = 20_000
Whose = tuple[str, str]
"""The beginning of the regions' codes and the office of who asks."""
Found = tuple[int, datetime | None]
"""How many wait, and the moment of the first."""


class FullQueues:
    """Of one database."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Whose, Queue], tuple[datetime, Found]] = {}

    @classmethod
    def of(cls, database: Database) -> FullQueues:
        return _BY_DATABASE.setdefault(database, cls())

    def known(self, whose: Whose, now: datetime) -> dict[Queue, Found]:
        found = {}
        for queue in Queue:
            counted = self._kept.get((whose, queue))
            if counted is not None and timedelta() <= now - counted[0] < FULL_FOR:
                found[queue] = counted[1]
        return found

    def keep(self, whose: Whose, found: dict[Queue, Found], now: datetime) -> None:
        """Of `found` those that are full; one that is kept already keeps its time."""
        known = self.known(whose, now)
        full = {(whose, queue): (now, one) for queue, one in found.items() if one[0] > MOST_COUNTED}
        if len(self._kept) + len(full) > MOST_KEPT:
            self._kept.clear()
        self._kept |= {key: one for key, one in full.items() if key[1] not in known}


_BY_DATABASE: Final[WeakKeyDictionary[Database, FullQueues]] = WeakKeyDictionary()
