"""Time as the kiosk sees it, so that tests can make it pass."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from terminal_agent.waiting import until_set


class Clock(Protocol):
    def now(self) -> float:
        """Seconds that only ever grow."""

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Until the event is set, or the time is over; None waits for the event alone."""


class RealClock:
    def now(self) -> float:
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        await until_set(event, seconds)
