"""One-time entries in the memory of this process; what another process put is unknown here."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from issuance.clock import Clock
from issuance.one_time.store import KEPT_LONGER_S, Claim, Claiming, OneTimeUnavailableError, Outcome, begun_later, check

MAX_ENTRIES = 200_000


@dataclass(slots=True)
class _Entry:
    value: bytes
    label: str
    expires_at: datetime
    claimant: str | None = None


class MemoryStore:
    """At most `limit` entries; a full store refuses new ones and forgets none before its time."""

    def __init__(self, clock: Clock, *, limit: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._limit = limit
        self._begun = int(clock().timestamp())
        self._entries: dict[str, _Entry] = {}
        self._slots: dict[str, str] = {}
        self._ends: list[tuple[datetime, str, str]] = []  # moment, key, slot

    @property
    def size(self) -> int:
        return len(self._entries)

    async def put(
        self, key: str, value: bytes, ttl_s: float, *, label: str = "", slot: str = "", since: int | None = None
    ) -> bool:
        check(key, value)
        now = self._clock()
        self._forget(now)
        if key in self._entries:
            return False
        if since is not None and since < self._begun:
            raise begun_later()
        if len(self._ends) >= self._limit:
            raise OneTimeUnavailableError("no room for another one-time entry")
        if slot:
            former = self._entries.get(self._slots.get(slot, ""))
            if former is not None and former.claimant is None:
                former.expires_at = min(former.expires_at, now)
            self._slots[slot] = key
        expires_at = now + timedelta(seconds=ttl_s)
        self._entries[key] = _Entry(value, label, expires_at)
        heapq.heappush(self._ends, (expires_at + timedelta(seconds=KEPT_LONGER_S), key, slot))
        return True

    async def claim(self, key: str, claimant: str, *, label: str = "") -> Claim:
        check(key)
        now = self._clock()
        self._forget(now)
        entry = self._entries.get(key)
        if entry is None:
            return Claim(Outcome.UNKNOWN)
        is_alive = now < entry.expires_at
        if entry.label != label:
            outcome = Outcome.OTHER_LABEL
        elif entry.claimant is not None:
            outcome = Outcome.AGAIN if entry.claimant == claimant and is_alive else Outcome.TAKEN
        elif not is_alive:
            outcome = Outcome.EXPIRED
        else:
            entry.claimant, outcome = claimant, Outcome.FIRST
        holder = entry.claimant or "" if outcome is Outcome.TAKEN else ""
        return Claim(outcome, entry.value, holder)

    async def claim_all(self, claims: Sequence[Claiming]) -> list[Claim]:
        return [await self.claim(one.key, one.claimant, label=one.label) for one in claims]

    async def drop(self, key: str) -> None:
        self._entries.pop(key, None)

    async def ping(self) -> None:
        return None

    async def close(self) -> None:
        self._entries.clear()
        self._slots.clear()
        self._ends.clear()

    def _forget(self, now: datetime) -> None:
        """A dropped entry keeps its place in the queue until its time; one put again after that has two."""
        while self._ends and self._ends[0][0] <= now:
            moment, key, slot = heapq.heappop(self._ends)
            entry = self._entries.get(key)
            if entry is not None and entry.expires_at + timedelta(seconds=KEPT_LONGER_S) <= moment:
                del self._entries[key]
            if self._slots.get(slot) == key and key not in self._entries:
                del self._slots[slot]
