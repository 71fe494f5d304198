"""`/v1/cards`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from issuance.cards.schemas import CardView
from issuance.cards.service import CardService
from issuance.unit import RecordedCounterUnit

router = APIRouter(prefix="/v1/cards", tags=["cards"])


@router.get("/{card_number}", summary="Show a card, its holder masked")
async def view(card_number: Annotated[str, Path(max_length=10)], unit: RecordedCounterUnit) -> CardView:
    return await CardService(unit).view(card_number)
