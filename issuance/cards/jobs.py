"""What happens to cards at its moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from issuance.cards.found import FoundCards
from issuance.cards.life_cycle import LifeCycle
from issuance.cards.repository import CardRepository
from issuance.scope import EVERYWHERE
from issuance.unit import system_unit

if TYPE_CHECKING:
    from issuance.services import Services

BATCH = 200


async def release_temporary_losses(services: Services) -> int:
    """Release every card whose temporary loss has ended, each in its own transaction; returns how many."""
    released = 0
    while True:
        async with services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
            numbers = await CardRepository(session).temporary_over(services.clock(), BATCH)
        if not numbers:
            return released
        for number in numbers:
            released += await _release(services, number)


async def _release(services: Services, number: str) -> bool:
    """False when somebody else was faster, or the card has moved on."""
    async with system_unit(services) as unit:
        cycle = LifeCycle(unit)
        row = await cycle.card(number)
        if row.temporary_until is None or row.temporary_until > unit.now:
            return False
        return await cycle.do(row, "expire_loss", reason="temporary_loss_over")


async def mark_overdue_found_cards(services: Services) -> int:
    """Found cards that nobody fetched: whoever keeps them is told to destroy them."""
    async with system_unit(services) as unit:
        return await FoundCards(unit).mark_overdue(BATCH)
