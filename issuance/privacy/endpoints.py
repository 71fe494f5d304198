"""`/v1/reveals` and `/v1/person-searches`: bodies, because addresses end up in logs."""

from __future__ import annotations

from fastapi import APIRouter

from issuance.privacy.schemas import PersonHit, PersonQuery, Revealed, RevealRequest
from issuance.privacy.service import PersonSearch, RevealService
from issuance.unit import OperatorUnit

router = APIRouter(prefix="/v1", tags=["privacy"])


@router.post("/reveals", summary="Show personal data unmasked; who, what and why is recorded")
async def reveal(request: RevealRequest, unit: OperatorUnit) -> Revealed:
    return await RevealService(unit).reveal(request)


@router.post("/person-searches", summary="Find persons by whole name or by number, masked; every search is recorded")
async def search(query: PersonQuery, unit: OperatorUnit) -> list[PersonHit]:
    return await PersonSearch(unit).find(query)
