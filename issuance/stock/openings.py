"""What the ledger adds up to at the first of each month, so that a balance need not add up all of its rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from issuance.clock import china_date
from issuance.services import Services
from issuance.stock.movement_repository import MovementRepository

CLOSED_AFTER: Final = timedelta(days=2)
"""By then nothing is posted on a day before: a movement has the day on which its transaction began."""


async def keep_openings(services: Services) -> int:
    """The job: of the last month that is closed, once; returns how many openings are new."""
    day = china_date(services.clock() - CLOSED_AFTER).replace(day=1)
    async with services.database.look() as session:
        last = await MovementRepository(session).last_opening()
    if last is not None and last >= day:
        return 0
    async with services.database.transaction() as session:
        rows = MovementRepository(session)
        return await rows.keep_openings(day, await rows.posted_before(None, day))
