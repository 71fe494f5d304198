"""Figures of days that are over, kept in this process: nothing changes them any more.

`created_at` and `ended_at` of applications are set once, at the moment of their transaction; the ledger of stock is
append-only, and applications are never deleted. A day is over for good an hour after midnight in China: no transaction
takes so long.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final
from weakref import WeakKeyDictionary

from issuance.clock import china_date
from issuance.database import Database
from issuance.supervision.schemas import Figures

CLOSED_AFTER: Final = timedelta(hours=1)
MOST_KEPT: Final = 20_000
"""Days of all who ask: two weeks of a thousand offices."""
Key = tuple[str, str, str]
"""Whose figures: the beginning of the regions' codes, the office of who asks, the office asked for."""


class ClosedDays:
    """Of one database."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Key, date], Figures] = {}

    @classmethod
    def of(cls, database: Database) -> ClosedDays:
        return _BY_DATABASE.setdefault(database, cls())

    def known(self, key: Key, days: list[date]) -> list[Figures]:
        """Of the days from the first on, up to one that is not known."""
        found = []
        for day in days:
            if (key, day) not in self._kept:
                break
            found.append(self._kept[key, day])
        return found

    def keep(self, key: Key, rows: list[Figures], now: datetime) -> None:
        """Of `rows`, one a day, those that are over."""
        open_from = china_date(now - CLOSED_AFTER)
        closed = {(key, day): row for row in rows if (day := date.fromisoformat(row.key)) < open_from}
        if len(self._kept) + len(closed) > MOST_KEPT:
            self._kept.clear()
        self._kept |= closed


_BY_DATABASE: Final[WeakKeyDictionary[Database, ClosedDays]] = WeakKeyDictionary()
