"""Runs at the start of the kiosk's process in `test_kiosk`: its time is as far ahead as the file says.

It has so many times the patience with whoever stands there: a browser that measures every screen may be slow.
"""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

from terminal_agent.kiosk import clock, visit

LOOK_S = 0.1
AHEAD = Path(os.environ["ONECARD_TEST_AHEAD"])


class HurriedClock:
    def now(self) -> float:
        return time.monotonic() + (float(AHEAD.read_text()) if AHEAD.exists() else 0.0)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        end = None if seconds is None else self.now() + seconds
        while not event.is_set() and (end is None or self.now() < end):
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await event.wait()


clock.RealClock = HurriedClock
for name in ("IDLE_S", "GRACE_S", "DONE_S"):
    setattr(visit, name, getattr(visit, name) * float(os.environ["ONECARD_TEST_PATIENCE"]))
