"""The gate's clock, and whether the centre agreed with it lately."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Final

from cardlib.transit_code import CHINA
from cardlib.transit_gate import GateClock
from terminal_agent.heartbeat import Heart

AGREES_S: Final = 60.0
LATELY_S: Final = 24 * 3600.0


class AgreedClock:
    """Trusted for a day after a heartbeat that agreed, unless it was set since: then it has parted from the clock that
    nobody sets."""

    def __init__(self, heart: Heart) -> None:
        self._heart = heart

    def now(self) -> datetime:
        """China's time, without a zone as cards and PSAMs have it."""
        return datetime.now(CHINA).replace(tzinfo=None)

    def is_trusted(self) -> bool:
        heard = self._heart.heard
        if heard is None:
            return False
        passed = time.monotonic() - heard.monotonic
        return passed <= LATELY_S and abs(time.time() - (heard.centre + passed)) <= AGREES_S

    def for_gate(self) -> GateClock:
        return GateClock(self.now, time.monotonic, self.is_trusted)
