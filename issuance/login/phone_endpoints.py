"""`/v1/ecards/{ecard_no}/log-ins`: what a holder's phone does with a log-in that it scanned."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel

from issuance.ecards.access import EcardNo, Holder, HolderUnit
from issuance.idempotency import RequiredKey
from issuance.login.phone import HolderLogins
from issuance.login.phone_schemas import AskedLogin, LoginAnswer, LoginApproval, ScannedLogin, WaitingLogins
from issuance.problems import ProblemError

router = APIRouter(prefix="/v1/ecards/{ecard_no}/log-ins", tags=["log-ins"])
LoginId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


class _Act(BaseModel):
    login_id: str
    approval: LoginApproval | None = None


@router.post("", status_code=201, summary="Take a log-in by the code on the screen: who asks, from where, for what")
async def scanned(ecard_no: EcardNo, request: ScannedLogin, call: HolderUnit) -> AskedLogin:
    return await HolderLogins(call).claim(request.code)


@router.get("", summary="Log-ins that relying parties ask this holder for by name")
async def waiting(ecard_no: EcardNo, call: HolderUnit) -> WaitingLogins:
    return WaitingLogins(items=await HolderLogins(call).waiting())


@router.post("/{login_id}/claim", status_code=201, summary="Take a log-in that waits: who asks, and for what")
async def claim(ecard_no: EcardNo, login_id: LoginId, call: HolderUnit) -> AskedLogin:
    return await HolderLogins(call).claim_waiting(login_id)


@router.get("/{login_id}", summary="A log-in that this phone has taken and not answered yet")
async def asked(ecard_no: EcardNo, login_id: LoginId, call: HolderUnit) -> AskedLogin:
    return await HolderLogins(call).asked(login_id)


@router.post("/{login_id}/approve", summary="Approve with password, number and the phone's signature")
async def approve(
    ecard_no: EcardNo, login_id: LoginId, request: LoginApproval, holder: Holder, response: Response, key: RequiredKey
) -> LoginAnswer:
    """A wrong number is refused after what it ended has been stored."""
    async with holder.call() as call:

        async def make() -> LoginAnswer:
            signature = bytes.fromhex(request.signature)
            return await HolderLogins(call).approve(login_id, request.number, signature, request.busi_seq, key)

        act = _Act(login_id=login_id, approval=request)
        answer = await call.once(response, "login-approve", key, act, LoginAnswer, make)
    async with holder.ahead():
        if answer.state == "wrong_number":
            raise ProblemError("LOGIN_NUMBER_WRONG", "not the number on the screen", subject=f"login:{login_id}")
    return answer


@router.post("/{login_id}/refuse", summary="Refuse; the page and the relying party are told at once")
async def refuse(
    ecard_no: EcardNo, login_id: LoginId, call: HolderUnit, response: Response, key: RequiredKey
) -> LoginAnswer:
    async def make() -> LoginAnswer:
        return await HolderLogins(call).refuse(login_id)

    return await call.once(response, "login-refuse", key, _Act(login_id=login_id), LoginAnswer, make)
