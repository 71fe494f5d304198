"""Days of transit terminals that nobody can explain."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Final

from issuance.clock import china_date
from issuance.journeys.days import GRACE, DayService
from issuance.unit import Unit

DAYS: Final = 7
"""What is older is history; records that come now change it no more often than anything else."""
Terminal = tuple[str, str | None]
"""Id and region."""


async def unexplained(unit: Unit) -> Counter[Terminal]:
    """How many of the last days that are over are unexplained, by terminal."""
    last = china_date(unit.now - GRACE) - timedelta(days=1)
    counts: Counter[Terminal] = Counter()
    days = DayService(unit)
    for back in range(DAYS):
        counts.update(await days.unexplained(last - timedelta(days=back)))
    return counts
