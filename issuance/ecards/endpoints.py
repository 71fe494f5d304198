"""`/v1/ecards`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response, status
from fastapi.responses import JSONResponse

from apps_catalog.model import Carrier
from apps_catalog.question import CatalogAnswers
from issuance.ecards import busi_seq, passwords, signing
from issuance.ecards.access import EcardNo, Holder, HolderCall, HolderDesk, HolderUnit, Wallet, prove
from issuance.ecards.busi_seq import Purpose
from issuance.ecards.holder import HolderActs
from issuance.ecards.schemas import (
    Confirmed,
    EcardPasswordChange,
    EcardView,
    HolderLoss,
    PasswordCheck,
    PasswordProof,
    PasswordReset,
    PasswordSet,
    SignedEcard,
    SigningRequest,
)
from issuance.ecards.what import what_can_i
from issuance.idempotency import RequiredKey, once
from issuance.persons.repository import PersonRepository
from issuance.persons.schemas import PersonData
from issuance.problems import ProblemError
from issuance.services import Services

router = APIRouter(prefix="/v1", tags=["electronic cards"])
SignNo = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
ECARD = "/ecards/{ecard_no}"


@router.post(
    "/ecards",
    status_code=status.HTTP_201_CREATED,
    summary="Sign an electronic card onto a phone (签发): the person's own name, number and card",
)
async def sign(
    request: SigningRequest, desk: Wallet, http: Request, key: RequiredKey, response: Response
) -> SignedEcard:
    async with desk.ahead():
        await prove(http, desk, bytes.fromhex(request.public_key))
        found = await signing.claimed(desk, request)
        epoch = await signing.password_for(desk, found, request.password)
        first_hash = "" if epoch is not None else await _hashed(desk.services, found.person_id, request.password)
    async with desk.unit() as unit:

        async def make() -> SignedEcard:
            return await signing.sign(unit, request, found, epoch, first_hash)

        return await once(unit, response, "ecard.sign", key, request, SignedEcard, make)


@router.get(ECARD, summary="Show an electronic card to its holder: level, whether it can be used, its channels")
async def view(ecard_no: EcardNo, call: HolderUnit) -> EcardView:
    return await HolderActs(call).view()


@router.get(
    f"{ECARD}/catalog",
    summary="What the holder can do with the own card there, on that day, each answer with its reasons",
    response_model=CatalogAnswers,
)
async def what(
    ecard_no: EcardNo,
    call: HolderUnit,
    region: Annotated[str, Query(alias="in", pattern="^[0-9]{6}$", description="Where the card is to be used")],
    on: Annotated[date | None, Query(description="Default today, China")] = None,
    carrier: Annotated[Carrier | None, Query(description="How the card is shown")] = None,
) -> JSONResponse:
    return JSONResponse(await what_can_i(call, region, on, carrier))


@router.post(
    f"{ECARD}/password-checks", status_code=status.HTTP_201_CREATED, summary="Check the password for one act (密码校验)"
)
async def check_password(ecard_no: EcardNo, request: PasswordCheck, holder: Holder) -> PasswordProof:
    epoch = await _checked(holder, request.password)
    services, now = holder.services, holder.services.clock()
    made = await busi_seq.issue(services, request.purpose, holder.sign_no, epoch, now)
    return PasswordProof(busi_seq=made, expires_at=now + busi_seq.TTL)


@router.put(f"{ECARD}/password", summary="Change the password of all channels")
async def change_password(
    ecard_no: EcardNo, request: EcardPasswordChange, holder: Holder, key: RequiredKey, response: Response
) -> PasswordSet:
    async with holder.call(is_reading=True) as call:
        kept = await call.recall(response, "ecard.password", key, request, PasswordSet)
        person = await _person(call)
    if kept is not None:
        return kept
    async with holder.ahead():
        passwords.demand_strong(request.new_password, person, "body.new_password")
    epoch = await _checked(holder, request.old_password)
    hashed = await _hashed(holder.services, call.ecard.person_id, request.new_password)
    async with holder.call() as call:

        async def make() -> PasswordSet:
            return await HolderActs(call).set_password(hashed, epoch, "change")

        return await call.once(response, "ecard.password", key, request, PasswordSet, make)


@router.post(f"{ECARD}/password/reset", summary="Set a forgotten password, the person being checked again (重置密码)")
async def reset_password(
    ecard_no: EcardNo, request: PasswordReset, holder: Holder, key: RequiredKey, response: Response
) -> PasswordSet:
    async with holder.call(is_reading=True) as call:
        seen = call.ecard
    async with holder.ahead():
        found = await signing.claimed(holder.desk, request)
        if found.ecard_no != ecard_no:
            raise ProblemError("ECARD_MISMATCH", subject=f"ecard:{ecard_no}")
        passwords.demand_strong(request.new_password, found.person, "body.new_password")
        hashed = await _hashed(holder.services, found.person_id, request.new_password)
    async with holder.call() as call:

        async def make() -> PasswordSet:
            return await HolderActs(call).set_password(hashed, seen.password_epoch, "reset")

        return await call.once(response, "ecard.reset", key, request, PasswordSet, make)


@router.post(f"{ECARD}/level", summary="Open payment (二级签发): needs an active bank account of the card")
async def raise_level(
    ecard_no: EcardNo, request: Confirmed, call: HolderUnit, key: RequiredKey, response: Response
) -> EcardView:
    return await _act(call, response, "ecard.level", Purpose.LEVEL, key, request, HolderActs.raise_level)


@router.post(f"{ECARD}/links/{{sign_no}}/unlink", summary="End one channel (解除绑定); the others stay")
async def unlink(
    ecard_no: EcardNo, sign_no: SignNo, request: Confirmed, call: HolderUnit, key: RequiredKey, response: Response
) -> EcardView:
    async def do(acts: HolderActs) -> EcardView:
        return await acts.unlink(sign_no)

    return await _act(call, response, f"unlink.{sign_no[:16]}", Purpose.UNLINK, key, request, do)


@router.post(f"{ECARD}/authorisation", summary="Go on with the electronic card after a loss, where the region allows")
async def authorise(
    ecard_no: EcardNo, request: Confirmed, call: HolderUnit, key: RequiredKey, response: Response
) -> EcardView:
    return await _act(call, response, "ecard.authorise", Purpose.AUTHORISE, key, request, HolderActs.authorise)


@router.post(f"{ECARD}/loss", summary="Report the own card lost (挂失), for a while or formally")
async def lose(
    ecard_no: EcardNo, request: HolderLoss, call: HolderUnit, key: RequiredKey, response: Response
) -> EcardView:
    async def do(acts: HolderActs) -> EcardView:
        return await acts.lose(request.kind)

    return await _act(call, response, "ecard.loss", Purpose.LOSS, key, request, do)


@router.post(f"{ECARD}/loss/release", summary="Release a temporary loss of the own card, where the region allows")
async def release(
    ecard_no: EcardNo, request: Confirmed, call: HolderUnit, key: RequiredKey, response: Response
) -> EcardView:
    return await _act(call, response, "ecard.release", Purpose.LOSS, key, request, HolderActs.release)


async def _act(
    call: HolderCall,
    response: Response,
    act: str,
    purpose: Purpose,
    key: str,
    request: Confirmed,
    do: Callable[[HolderActs], Awaitable[EcardView]],
) -> EcardView:
    """One act the password was given for; the same key again gets the first answer and spends nothing."""

    async def make() -> EcardView:
        await call.spend(request.busi_seq, purpose, f"{act}:{key}")
        return await do(HolderActs(call))

    return await call.once(response, act, key, request, EcardView, make)


async def _checked(holder: HolderDesk, password: str) -> int:
    """Epoch of the password. Raises as `passwords.check` does, after the try is stored."""
    async with holder.call(is_reading=True) as call:
        region = call.card.region
    async with holder.ahead():
        return await passwords.check(holder.desk, holder.ecard_no, password, region)


async def _person(call: HolderCall) -> PersonData:
    return await PersonRepository(call.unit.session, call.unit.services.sealer).data(call.ecard.person_id)


async def _hashed(services: Services, person_id: str, password: str) -> str:
    return await passwords.hashed(services.sealer, person_id, password)
