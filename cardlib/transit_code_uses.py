"""Which codes a gate has accepted, so that none passes twice: in memory, or in a file that outlives the program.

A name is the digest of what the user signed, so a code signed anew over the same content is the same code. Names are
kept until their code could no longer be valid. Gates that share a station may bring a store of their own.
"""

from __future__ import annotations

import heapq
import sqlite3
import threading
from pathlib import Path
from typing import ClassVar, Final, Protocol

from cardlib.transit_code import TransitCodeError

CAPACITY: Final = 100_000
_BUSY_S = 2.0
_TABLES = """
CREATE TABLE IF NOT EXISTS uses (name BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uses_until ON uses (until);
CREATE TABLE IF NOT EXISTS clock (one INTEGER PRIMARY KEY CHECK (one = 1), latest INTEGER NOT NULL);
INSERT OR IGNORE INTO clock VALUES (1, 0);
"""


class UsesFullError(TransitCodeError):
    """No room to remember one more code; accepting it unremembered would let it pass twice."""

    failure: ClassVar[str] = "TRANSIT_CODE_MEMORY_FULL"


class UsesUnavailableError(TransitCodeError):
    """The store did not answer, so nobody knows whether the code was used."""

    failure: ClassVar[str] = "TRANSIT_CODE_MEMORY_FULL"


class ClockSetBackError(TransitCodeError):
    """The store has seen a time at which this code was over, and may have forgotten it."""

    failure: ClassVar[str] = "TRANSIT_CODE_CLOCK"


class UsedCodes(Protocol):
    """Remembers names until a moment. Called from several threads at once."""

    def claim(self, name: bytes, until: int, now: int) -> bool:
        """True the first time, and only then, at whatever gate that shares this store.

        `until` is the last second in which the code is valid, `now` the gate's clock, both in Unix seconds. Raises
        UsesFullError, UsesUnavailableError and ClockSetBackError.
        """
        ...


class MemoryUses:
    """Names in this process. They are lost when it ends: a gate that restarts needs `FileUses`."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._names: set[bytes] = set()
        self._ends: list[tuple[int, bytes]] = []
        self._latest = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._names)

    def claim(self, name: bytes, until: int, now: int) -> bool:
        with self._lock:
            self._latest = max(self._latest, now)
            while self._ends and self._ends[0][0] < self._latest:
                self._names.discard(heapq.heappop(self._ends)[1])
            if until < self._latest:
                raise ClockSetBackError(_went_back(self._latest, now))
            if name in self._names:
                return False
            if len(self._names) >= self._capacity:
                raise UsesFullError(f"{self._capacity} codes are remembered")
            self._names.add(name)
            heapq.heappush(self._ends, (until, name))
            return True


class FileUses:
    """Names in an SQLite file, for gates that restart and for several processes of one gate.

    Raises UsesUnavailableError when the file cannot be opened.
    """

    def __init__(self, file: Path, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        try:
            self._store = sqlite3.connect(file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._store.execute("PRAGMA journal_mode = WAL")
            self._store.executescript(_TABLES)
        except sqlite3.Error as error:
            raise UsesUnavailableError(str(error)) from error

    def close(self) -> None:
        self._store.close()

    def claim(self, name: bytes, until: int, now: int) -> bool:
        with self._lock:
            try:
                self._store.execute("BEGIN IMMEDIATE")
                try:
                    return self._claim(name, until, now)
                finally:
                    self._store.execute("COMMIT")
            except sqlite3.Error as error:
                raise UsesUnavailableError(str(error)) from error

    def _claim(self, name: bytes, until: int, now: int) -> bool:
        self._store.execute("UPDATE clock SET latest = max(latest, ?)", (now,))
        ((latest,),) = self._store.execute("SELECT latest FROM clock")
        self._store.execute("DELETE FROM uses WHERE until < ?", (latest,))
        if until < latest:
            raise ClockSetBackError(_went_back(latest, now))
        ((count,),) = self._store.execute("SELECT count(*) FROM uses")
        is_known = self._store.execute("SELECT 1 FROM uses WHERE name = ?", (name,)).fetchone()
        if is_known:
            return False
        if count >= self._capacity:
            raise UsesFullError(f"{self._capacity} codes are remembered")
        self._store.execute("INSERT INTO uses VALUES (?, ?)", (name, until))
        return True


def _went_back(latest: int, now: int) -> str:
    return f"the clock was {latest - now} s ahead of what it shows now"
