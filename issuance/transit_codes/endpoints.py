"""`/v1/ecards/{ecard_no}/transit-authorisation`."""

from __future__ import annotations

from fastapi import APIRouter, status

from issuance.ecards.access import EcardNo, HolderUnit
from issuance.transit_codes.schemas import TransitAuthorisation
from issuance.transit_codes.service import authorise_phone

router = APIRouter(prefix="/v1", tags=["codes"])


@router.post(
    "/ecards/{ecard_no}/transit-authorisation",
    status_code=status.HTTP_201_CREATED,
    summary="Let this phone make transit codes without a network for some hours (脱机乘车码授权)",
)
async def authorise(ecard_no: EcardNo, call: HolderUnit) -> TransitAuthorisation:
    return await authorise_phone(call)
