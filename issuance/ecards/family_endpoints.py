"""`/v1/ecards/{ecard_no}/family` and `…/family-requests`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response, status

from issuance.ecards import signing
from issuance.ecards.access import EcardNo, Holder, HolderUnit
from issuance.ecards.busi_seq import Purpose
from issuance.ecards.family import FamilyService, portrait_of
from issuance.ecards.family_schemas import (
    FamilyAgreement,
    FamilyAsk,
    FamilyRequest,
    FamilyRequests,
    FamilyView,
    Member,
    NoMembers,
)
from issuance.idempotency import RequiredKey

router = APIRouter(prefix="/v1/ecards/{ecard_no}", tags=["electronic cards"])
FamilyId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
_ASK = "family.ask"


@router.get("/family", summary="List the family members of a holder and the places that are left (亲情账户)")
async def family(ecard_no: EcardNo, call: HolderUnit) -> FamilyView:
    return await FamilyService(call).view()


@router.post("/family", status_code=status.HTTP_201_CREATED, summary="Add a family member, who agrees on the own phone")
async def ask(ecard_no: EcardNo, request: FamilyAsk, holder: Holder, key: RequiredKey, response: Response) -> Member:
    async with holder.call(is_reading=True) as call:
        kept = await call.recall(response, _ASK, key, request, Member)
    if kept is not None:
        return kept
    async with holder.ahead():
        found = await signing.claimed(holder.desk, request)
        jpeg = await portrait_of(holder.desk, request, found)
    async with holder.call() as call:

        async def make() -> Member:
            await call.spend(request.busi_seq, Purpose.FAMILY, f"{_ASK}:{key}")
            return await FamilyService(call).ask(request, found, jpeg)

        return await call.once(response, _ASK, key, request, Member, make)


@router.post("/family/{family_id}/end", summary="End a family membership, by either side")
async def end(
    ecard_no: EcardNo, family_id: FamilyId, request: NoMembers, call: HolderUnit, key: RequiredKey, response: Response
) -> Member:
    async def make() -> Member:
        return await FamilyService(call).end(family_id)

    return await call.once(response, f"family.end.{family_id[:16]}", key, request, Member, make)


@router.get("/family-requests", summary="Who asks to show this holder's codes, and who may")
async def requests(ecard_no: EcardNo, call: HolderUnit) -> FamilyRequests:
    return await FamilyService(call).requests()


@router.post("/family-requests/{family_id}/confirm", summary="Agree to be a family member")
async def confirm(
    ecard_no: EcardNo,
    family_id: FamilyId,
    request: FamilyAgreement,
    call: HolderUnit,
    key: RequiredKey,
    response: Response,
) -> FamilyRequest:
    act = f"family.yes.{family_id[:16]}"

    async def make() -> FamilyRequest:
        await call.spend(request.busi_seq, Purpose.FAMILY, f"{act}:{key}")
        return await FamilyService(call).answer(family_id, is_agreed=True)

    return await call.once(response, act, key, request, FamilyRequest, make)


@router.post("/family-requests/{family_id}/refuse", summary="Refuse to be a family member")
async def refuse(
    ecard_no: EcardNo, family_id: FamilyId, request: NoMembers, call: HolderUnit, key: RequiredKey, response: Response
) -> FamilyRequest:
    async def make() -> FamilyRequest:
        return await FamilyService(call).answer(family_id, is_agreed=False)

    return await call.once(response, f"family.no.{family_id[:16]}", key, request, FamilyRequest, make)
