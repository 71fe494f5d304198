"""Runs at the start of the kiosk's process in `test_kiosk`: its time is as far ahead as the file says."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

from terminal_agent.kiosk import clock

LOOK_S = 0.1
AHEAD = Path(os.environ["ONECARD_TEST_AHEAD"])


class HurriedClock:
    def now(self) -> float:
        return time.monotonic() + (float(AHEAD.read_text()) if AHEAD.exists() else 0.0)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        end = None if seconds is None else self.now() + seconds
        while not event.is_set() and (end is None or self.now() < end):
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), LOOK_S)


clock.RealClock = HurriedClock
