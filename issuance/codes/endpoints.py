"""`/v1/ecards/{ecard_no}/codes`, its uses, and `/v1/ecard-codes`."""

from __future__ import annotations

from fastapi import APIRouter, Response, status

from issuance.clients.schemas import Role
from issuance.codes.issuing import issue_code
from issuance.codes.repository import UseRepository
from issuance.codes.schemas import CodeRequest, CodeUse, CodeValidation, IssuedCode, ValidatedCode
from issuance.codes.spending import CodeSpending, Presented
from issuance.direct import DirectRoute
from issuance.ecards.access import EcardNo, HolderUnit
from issuance.idempotency import REPLAYED_HEADER, OptionalKey
from issuance.paging import Page, PageQuery
from issuance.unit import VerifierDesk

router = APIRouter(prefix="/v1", tags=["codes"])


@router.post(
    "/ecards/{ecard_no}/codes",
    status_code=status.HTTP_201_CREATED,
    summary="Make a code for one scene, valid for sixty seconds and once",
)
async def issue(ecard_no: EcardNo, request: CodeRequest, call: HolderUnit) -> IssuedCode:
    return await issue_code(call, request)


@router.get("/ecards/{ecard_no}/uses", summary="Who took a code of this card or logged its holder in, newest first")
async def uses(ecard_no: EcardNo, call: HolderUnit, page: PageQuery) -> Page[CodeUse]:
    return await UseRepository(call.unit.session).of(call.ecard, call.link.sign_no, page)


@router.post("/ecard-codes/validate", response_model_exclude_none=True, summary="Validate a code and spend it")
async def validate(
    request: CodeValidation, desk: VerifierDesk, response: Response, key: OptionalKey = None
) -> ValidatedCode:
    async with desk.ahead():
        spending = CodeSpending(desk.services, desk.caller, desk.services.clock())
        spent = await spending.spend(
            Presented(
                code=request.code,
                scene=request.scene,
                amount_fen=request.amount_fen,
                request_id=request.request_id or key,
            )
        )
        if spent.is_again:
            response.headers[REPLAYED_HEADER] = "true"
        return spending.answer(spent, request.scene)


DIRECT = (DirectRoute("/v1/ecard-codes/validate", CodeValidation, (Role.VERIFIER,), validate),)
