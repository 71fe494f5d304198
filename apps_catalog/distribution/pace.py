"""When to ask again: spread over time in quiet days, and after an outage too."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_RANDOM: Final = random.SystemRandom().random


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. A thousand terminals that lost the server at once come back over a whole `longest_s`, not together."""

    interval_s: float = 300.0
    longest_s: float = 3600.0

    def next_s(self, failures: int, chance: Callable[[], float] = _RANDOM) -> float:
        """Wait after `failures` in a row: 3/4 to 5/4 of the interval, then any part of a window that doubles."""
        if failures == 0:
            return self.interval_s * (0.75 + 0.5 * chance())
        window = min(self.longest_s, self.interval_s * 2.0 ** min(failures, 32))
        return self.interval_s / 2 + window * chance()
