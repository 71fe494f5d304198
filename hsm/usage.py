"""How often each key was used: counted in memory, added to a file beside the store from time to time.

Counts are for people who watch over keys; a killed process loses the last seconds of them.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hsm.sealed_store import exclusive, write_atomically

FLUSH_S = 5.0


class UseCounts:
    """Safe for several threads and several processes."""

    def __init__(self, store: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = store.with_name(store.name + ".uses")
        self._clock = clock
        self._lock = threading.Lock()
        self._new: Counter[str] = Counter()
        self._flushed = clock()

    def count(self, key: str, times: int = 1) -> None:
        with self._lock:
            self._new[key] += times
            is_due = self._clock() - self._flushed >= FLUSH_S
        if is_due:
            self.flush()

    def flush(self) -> None:
        """A file that cannot be written keeps the counts for the next time: no work stops for a statistic."""
        with self._lock:
            self._flushed = self._clock()
            if not self._new:
                return
            with contextlib.suppress(OSError), exclusive(self._path):
                total = self._read()
                total.update(self._new)
                write_atomically(self._path, json.dumps(total, sort_keys=True).encode("utf-8"))
                self._new.clear()

    def totals(self) -> dict[str, int]:
        with self._lock:
            total = self._read()
            total.update(self._new)
            return dict(total)

    def _read(self) -> Counter[str]:
        try:
            content = json.loads(self._path.read_bytes())
            return Counter({str(key): int(times) for key, times in content.items()})
        except (OSError, ValueError, AttributeError, TypeError):
            return Counter()
