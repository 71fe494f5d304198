"""`/v1/ecards` and `/v1/ecard-codes`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response, status

from issuance.ecards.schemas import CodeRequest, CodeValidation, EcardView, IssuedCode, ValidatedCode
from issuance.ecards.service import EcardService
from issuance.idempotency import OptionalKey, once
from issuance.unit import VerifierUnit, WalletUnit

router = APIRouter(prefix="/v1", tags=["electronic cards"])
EcardNo = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@router.get("/ecards/{ecard_no}", summary="Show an electronic card")
async def view(ecard_no: EcardNo, unit: WalletUnit) -> EcardView:
    return await EcardService(unit).view(ecard_no)


@router.post(
    "/ecards/{ecard_no}/codes",
    status_code=status.HTTP_201_CREATED,
    summary="Make a code for one scene, valid for sixty seconds and once",
)
async def issue_code(ecard_no: EcardNo, request: CodeRequest, unit: WalletUnit) -> IssuedCode:
    return await EcardService(unit).issue_code(ecard_no, request.scene)


@router.post(
    "/ecard-codes/validate",
    response_model_exclude_none=True,
    summary="Validate a code and spend it",
)
async def validate(
    request: CodeValidation, unit: VerifierUnit, response: Response, key: OptionalKey = None
) -> ValidatedCode:
    service = EcardService(unit)

    async def make() -> ValidatedCode:
        return await service.validate(request)

    async def recheck(answer: ValidatedCode) -> None:
        await service.check_usable(answer.ecard_no)

    if key is None:
        return await make()
    # A spent code is "accepted" again only while it would have lived, and only for a card that is still good.
    expires_at = await service.expiry_of(request.code)
    return await once(
        unit,
        response,
        "ecard-codes",
        key,
        request,
        ValidatedCode,
        make,
        expires_at=expires_at,
        recheck=recheck,
    )
