"""`/v1/staff`: what a clerk does with a session cookie instead of a client's key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response, status

from issuance.clerks import login
from issuance.clerks.access import (
    ClerkDesk,
    OwnDesk,
    browser_of,
    clerk_desk,
    demand_own_origin,
    drop_cookie,
    set_cookies,
)
from issuance.clerks.acts import Act
from issuance.clerks.approvals import ApprovalService
from issuance.clerks.login import LoginAttempt
from issuance.clerks.schemas import (
    ApprovalDetail,
    ApprovalState,
    ApprovalView,
    AskedAct,
    CodesView,
    Decision,
    Ended,
    FirstCode,
    Id,
    LogIn,
    PasswordChange,
    SessionView,
    SignedInView,
)
from issuance.clerks.service import ClerkService
from issuance.clerks.sessions import SignedIn, signed_in
from issuance.paging import Page, PageQuery
from issuance.unit import services_of

STAFF = "/v1/staff"
router = APIRouter(prefix=STAFF, tags=["staff"])

ApprovalDesk = Annotated[ClerkDesk, Depends(clerk_desk(Act.APPROVAL_READ))]
ApprovalId = Annotated[Id, Path()]
_ACT_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What the act itself answers",
        "content": {"application/json": {"example": {"changed": 1, "unchanged": 0}}},
    }
}


# -- the own account --------------------------------------------------------------------------------------------------


@router.post("/log-in", summary="Log in; the session is in the cookie of the answer")
async def log_in(body: LogIn, request: Request, response: Response) -> SignedInView:
    demand_own_origin(request)
    services = services_of(request)
    given = {
        "login": body.login,
        "password": body.password.get_secret_value(),
        "code": body.code.get_secret_value(),
    }
    made = await login.log_in(services, attempt_of(request, "password", given))
    set_cookies(request, response, made.token, made.browser)
    return _view(await signed_in(services, made.token))


def attempt_of(request: Request, method: str, given: dict[str, str]) -> LoginAttempt:
    address = request.client.host if request.client is not None else ""
    return LoginAttempt(method, given, address, request.headers.get("User-Agent", ""), browser_of(request))


@router.post("/log-out", status_code=status.HTTP_204_NO_CONTENT, summary="End this session")
async def log_out(desk: OwnDesk, request: Request, response: Response) -> None:
    await login.log_out(desk.services, desk.who)
    drop_cookie(request, response)


@router.get("/me", summary="Who is logged in, and what this clerk may do")
async def me(desk: OwnDesk) -> SignedInView:
    return _view(desk.who)


@router.post("/password", status_code=status.HTTP_204_NO_CONTENT, summary="Change the own password")
async def change_password(body: PasswordChange, desk: OwnDesk) -> None:
    await login.change_password(desk.services, desk.who, body.old.get_secret_value(), body.password.get_secret_value())


@router.post("/codes", summary="Begin to set up one-time codes")
async def begin_codes(desk: OwnDesk) -> CodesView:
    made = login.begin_codes(desk.services, desk.who)
    return CodesView(secret=made.secret, uri=made.uri, ticket=made.ticket)


@router.post("/codes/confirm", status_code=status.HTTP_204_NO_CONTENT, summary="Prove the first one-time code")
async def confirm_codes(body: FirstCode, desk: OwnDesk) -> None:
    async with desk.ahead():
        await login.confirm_codes(desk.services, desk.who, body.ticket, body.code.get_secret_value())


@router.get("/sessions", summary="The own last sessions")
async def sessions(desk: OwnDesk) -> list[SessionView]:
    async with desk.unit(is_reading=True) as unit:
        return await ClerkService(unit).sessions(desk.who.clerk_id)


@router.post("/sessions/{session_id}/end", summary="End one of the own sessions")
async def end_session(session_id: Annotated[Id, Path()], desk: OwnDesk) -> Ended:
    async with desk.unit() as unit:
        return Ended(ended=await ClerkService(unit).end_sessions(desk.who.clerk_id, session_id))


# -- four eyes --------------------------------------------------------------------------------------------------------


@router.post(
    "/approvals", summary="Do an act, or ask a second clerk for it where the rules want one", responses=_ACT_ANSWER
)
async def ask(body: AskedAct, desk: ApprovalDesk) -> ApprovalView | dict[str, Any]:
    async with desk.unit() as unit:
        desk.who.demand(body.act)
        answer = await ApprovalService(unit).perform(body.act, body.body, body.reason)
    return answer if isinstance(answer, ApprovalView) else answer.model_dump(mode="json")


@router.get("/approvals", summary="Acts that wait for a second clerk, or waited, newest first")
async def list_approvals(
    desk: ApprovalDesk, page: PageQuery, state: Annotated[ApprovalState | None, Query()] = None
) -> Page[ApprovalView]:
    async with desk.unit(is_reading=True) as unit:
        return await ApprovalService(unit).find(state, page)


@router.get("/approvals/{approval_id}", summary="One of them, with what would be done")
async def get_approval(approval_id: ApprovalId, desk: ApprovalDesk) -> ApprovalDetail:
    async with desk.unit(is_reading=True) as unit:
        return await ApprovalService(unit).get(approval_id)


@router.post("/approvals/{approval_id}/approve", summary="Approve and do it", responses=_ACT_ANSWER)
async def approve(approval_id: ApprovalId, body: Decision, desk: ApprovalDesk) -> dict[str, Any]:
    async with desk.unit() as unit:
        answer = await ApprovalService(unit).approve(approval_id, desk.who, body.reason)
    return answer.model_dump(mode="json")


@router.post("/approvals/{approval_id}/refuse", summary="Refuse it")
async def refuse(approval_id: ApprovalId, body: Decision, desk: ApprovalDesk) -> ApprovalView:
    async with desk.unit() as unit:
        return await ApprovalService(unit).refuse(approval_id, desk.who, body.reason)


@router.post("/approvals/{approval_id}/withdraw", summary="Withdraw what one asked for oneself")
async def withdraw(approval_id: ApprovalId, body: Decision, desk: ApprovalDesk) -> ApprovalView:
    async with desk.unit() as unit:
        return await ApprovalService(unit).withdraw(approval_id, desk.who, body.reason)


def _view(who: SignedIn) -> SignedInView:
    return SignedInView(
        login=who.login,
        needs=tuple(sorted(who.needs)),
        roles=tuple(sorted(who.roles)),
        acts=tuple(sorted(who.acts)),
        region=who.region,
        office=who.office,
        csrf=who.csrf,
    )
