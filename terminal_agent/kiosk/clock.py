"""Time as the kiosk sees it, so that tests can make it pass."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds that only ever grow."""

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Until the event is set, or the time is over; None waits for the event alone."""


class RealClock:
    def now(self) -> float:
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for can lose a cancellation (ReaderWorker.call)
                await event.wait()
