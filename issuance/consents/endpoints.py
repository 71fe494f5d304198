"""Consents: `/v1/ecards/{ecard_no}/consents` for holders, `/v1/consent-requests` and `/v1/consents` for recipients."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response, status

from cardlib.wire import HexId, Message
from issuance.codes.schemas import Scene
from issuance.codes.spending import CodeSpending, Presented
from issuance.consents.schemas import (
    ConsentApproval,
    ConsentProof,
    ConsentRequest,
    ConsentStatus,
    ConsentUse,
    ConsentView,
    DataAnswer,
    DataRequest,
    WaitingConsents,
)
from issuance.consents.service import ConsentDesk, HolderConsents
from issuance.ecards.access import EcardNo, HolderUnit
from issuance.idempotency import RequiredKey, once, recall
from issuance.paging import Page, PageQuery
from issuance.unit import VerifierDesk, VerifierUnit

router = APIRouter(prefix="/v1", tags=["consents"])
ConsentId = Annotated[HexId, Path()]
_ASKING = "consent-requests"


class _Act(Message):
    """What an idempotency key of a holder's act stands for."""

    consent_id: str
    approval: ConsentApproval | None = None


# -- recipients -------------------------------------------------------------------------------------------------------


@router.post(
    "/consent-requests",
    status_code=status.HTTP_201_CREATED,
    summary="Ask a holder for consent to the use of data; the holder answers on the phone",
)
async def ask(request: ConsentRequest, desk: VerifierDesk, response: Response, key: RequiredKey) -> ConsentStatus:
    async with desk.unit(is_reading=True) as unit:
        kept = await recall(unit, response, _ASKING, key, request, ConsentStatus)
    if kept is not None:
        return kept
    ecard_no = request.ecard_no or ""
    if request.code is not None:  # in transactions of its own, so before ours
        async with desk.ahead():
            spending = CodeSpending(desk.services, desk.caller, desk.services.clock())
            shown = Presented(request.code, Scene.IDENTITY, "consent", request_id=key)
            ecard_no = (await spending.spend(shown)).standing.ecard_no
    async with desk.unit() as unit:

        async def make() -> ConsentStatus:
            return await ConsentDesk(unit).ask(request, ecard_no)

        return await once(unit, response, _ASKING, key, request, ConsentStatus, make)


@router.get("/consent-requests/{consent_id}", summary="How a request for consent stands")
async def request_status(consent_id: ConsentId, unit: VerifierUnit) -> ConsentStatus:
    return await ConsentDesk(unit).status(consent_id)


@router.post("/consents/{consent_id}/data", summary="Get data that a live consent allows; each answer is on record")
async def data(consent_id: ConsentId, request: DataRequest, unit: VerifierUnit) -> DataAnswer:
    return await ConsentDesk(unit).data(consent_id, request)


# -- holders ----------------------------------------------------------------------------------------------------------


@router.get("/ecards/{ecard_no}/consent-requests", summary="Requests for consent that wait for the holder")
async def waiting(ecard_no: EcardNo, call: HolderUnit) -> WaitingConsents:
    return WaitingConsents(items=await HolderConsents(call).waiting())


@router.post("/ecards/{ecard_no}/consent-requests/{consent_id}/approve", summary="Consent, signed by the phone")
async def approve(
    ecard_no: EcardNo,
    consent_id: ConsentId,
    request: ConsentApproval,
    call: HolderUnit,
    response: Response,
    key: RequiredKey,
) -> ConsentView:
    async def make() -> ConsentView:
        signature = bytes.fromhex(request.signature)
        return await HolderConsents(call).approve(consent_id, signature, request.busi_seq, key)

    act = _Act(consent_id=consent_id, approval=request)
    return await call.once(response, "consent-approve", key, act, ConsentView, make)


@router.post("/ecards/{ecard_no}/consent-requests/{consent_id}/refuse", summary="Refuse a request for consent")
async def refuse(
    ecard_no: EcardNo, consent_id: ConsentId, call: HolderUnit, response: Response, key: RequiredKey
) -> ConsentView:
    async def make() -> ConsentView:
        return await HolderConsents(call).refuse(consent_id)

    return await call.once(response, "consent-refuse", key, _Act(consent_id=consent_id), ConsentView, make)


@router.get("/ecards/{ecard_no}/consents", summary="What the holder has consented to, newest first")
async def consents(ecard_no: EcardNo, call: HolderUnit, page: PageQuery) -> Page[ConsentView]:
    return await HolderConsents(call).granted(page)


@router.post("/ecards/{ecard_no}/consents/{consent_id}/revoke", summary="Revoke a consent from now on")
async def revoke(
    ecard_no: EcardNo, consent_id: ConsentId, call: HolderUnit, response: Response, key: RequiredKey
) -> ConsentView:
    async def make() -> ConsentView:
        return await HolderConsents(call).revoke(consent_id)

    return await call.once(response, "consent-revoke", key, _Act(consent_id=consent_id), ConsentView, make)


@router.get("/ecards/{ecard_no}/consents/{consent_id}/uses", summary="When a consent was used and for what")
async def uses(ecard_no: EcardNo, consent_id: ConsentId, call: HolderUnit, page: PageQuery) -> Page[ConsentUse]:
    return await HolderConsents(call).uses(consent_id, page)


@router.get(
    "/ecards/{ecard_no}/consents/{consent_id}/proof",
    summary="Signed text and audit entries of a consent, for anybody to check",
)
async def proof(
    ecard_no: EcardNo,
    consent_id: ConsentId,
    call: HolderUnit,
    first: Annotated[int, Query(ge=1, le=1_000_000, description="Number of the first entry")] = 1,
) -> ConsentProof:
    return await HolderConsents(call).proof(consent_id, first)
