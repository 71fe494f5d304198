"""`/v1/journeys`: a day of transit terminals, one purse's journeys; and the purse of a card."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path, Query

from issuance.cards.schemas import CardNumber
from issuance.clients.schemas import ClientId
from issuance.journeys.days import DayService
from issuance.journeys.purses import PurseService
from issuance.journeys.schemas import CardPurse, DayReconciliation, FaceNumber, PurseJourneys
from issuance.unit import AttendedUnit, OperatorUnit, RecordedOperatorUnit

router = APIRouter(prefix="/v1", tags=["journeys"])


@router.get("/journeys/days/{day}", summary="A day's journeys and takings, with every difference explained")
async def day(
    unit: OperatorUnit,
    day: Annotated[date, Path(description="In China")],
    terminal: Annotated[ClientId | None, Query(description="One alone")] = None,
) -> DayReconciliation:
    return await DayService(unit).of(day, terminal=terminal)


@router.get("/journeys/purses/{face_number}", summary="Where a purse has travelled (recorded)")
async def purse(
    unit: RecordedOperatorUnit,
    face_number: Annotated[FaceNumber, Path(description="19 digits, as on the card")],
) -> PurseJourneys:
    return await PurseService(unit).of_face(face_number)


@router.put("/cards/{card_number}/purse", summary="Say which transit purse the chip of a card bears")
async def put(card_number: CardNumber, told: CardPurse, unit: AttendedUnit) -> CardPurse:
    return await PurseService(unit).put(card_number, told)
