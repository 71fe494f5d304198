"""Events for every listener, replayable for a while. Everything here belongs to the event loop's thread."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

RING_EVENTS = 512
QUEUE_EVENTS = 256

RESYNC = "resync"


@dataclass(frozen=True, slots=True)
class Event:
    """`id` is `<run>-<number>`: numbers of an earlier run of the agent are recognised as strange."""

    id: str
    name: str
    data: dict[str, Any]


class EventHub:
    """Numbers events, keeps the last `RING_EVENTS`, and hands them to subscribers.

    A subscriber whose last seen event has left the ring, or comes from another run, first gets `resync`: it must
    read the state anew. One that reads too slowly is cut off; its browser reconnects and catches up from the ring.
    """

    def __init__(self) -> None:
        self._run = secrets.token_hex(4)
        self._number = 0
        self._ring: deque[Event | None] = deque(maxlen=RING_EVENTS)
        self._queues: set[asyncio.Queue[Event | None]] = set()
        self._is_closed = False

    def publish(self, name: str, data: dict[str, Any], *, is_kept: bool = True) -> None:
        """An event that is not kept reaches those who listen now and is never replayed."""
        self._number += 1
        event = Event(f"{self._run}-{self._number}", name, data)
        self._ring.append(event if is_kept else None)
        for queue in tuple(self._queues):
            if queue.qsize() >= QUEUE_EVENTS:
                self._queues.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    def close(self) -> None:
        """Ends every subscription, now and later."""
        self._is_closed = True
        for queue in self._queues:
            queue.put_nowait(None)
        self._queues.clear()

    def subscribe(self, last_id: str | None = None) -> AsyncIterator[Event]:
        """Events after `last_id`, else from now on. It counts from this call, not from the first event asked for."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        for event in self._missed(last_id):
            queue.put_nowait(event)
        if self._is_closed:
            queue.put_nowait(None)
        self._queues.add(queue)
        return self._drain(queue)

    async def _drain(self, queue: asyncio.Queue[Event | None]) -> AsyncIterator[Event]:
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._queues.discard(queue)

    def _missed(self, last_id: str | None) -> list[Event]:
        if last_id is None:
            return []
        run, _, digits = last_id.partition("-")
        seen = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else -1
        oldest = self._number - len(self._ring)
        if run != self._run or not oldest <= seen <= self._number:
            return [Event(f"{self._run}-{self._number}", RESYNC, {})]
        return [event for event in list(self._ring)[seen - oldest :] if event is not None]
