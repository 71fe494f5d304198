"""`/v1/clerks` and `/v1/approvals`, for an operator's system: what clerks do themselves is in `staff_endpoints`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response, status

from issuance.clerks.approvals import ApprovalService
from issuance.clerks.schemas import (
    ApprovalState,
    ApprovalView,
    ClerkChange,
    ClerkRequest,
    ClerkView,
    Ended,
    Id,
    Login,
    NewAccess,
    SessionView,
)
from issuance.clerks.service import ClerkService
from issuance.idempotency import OptionalKey, once
from issuance.paging import Page, PageQuery
from issuance.unit import OperatorUnit

router = APIRouter(prefix="/v1", tags=["clerks"])

ClerkId = Annotated[Id, Path(description="Id of the clerk, not the log-in name")]


@router.post("/clerks", status_code=status.HTTP_201_CREATED, summary="Make a clerk; answers the temporary password")
async def create(body: ClerkRequest, unit: OperatorUnit, response: Response, key: OptionalKey = None) -> NewAccess:
    service = ClerkService(unit)
    keep = NewAccess.without_password
    return await once(unit, response, "clerk", key, body, NewAccess, lambda: service.create(body), keep=keep)


@router.get("/clerks", summary="List clerks, of one office and those below if asked")
async def list_clerks(
    unit: OperatorUnit,
    page: PageQuery,
    office_id: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    status: Annotated[str | None, Query(pattern="^(active|suspended)$")] = None,
    login: Annotated[Login | None, Query()] = None,
) -> Page[ClerkView]:
    return await ClerkService(unit).find(office_id, status, login, page)


@router.get("/clerks/{clerk_id}", summary="One clerk")
async def get(clerk_id: ClerkId, unit: OperatorUnit) -> ClerkView:
    return await ClerkService(unit).get(clerk_id)


@router.post("/clerks/{clerk_id}/change", summary="Give a clerk other roles or another office, suspend or take back")
async def change(clerk_id: ClerkId, body: ClerkChange, unit: OperatorUnit) -> ClerkView:
    return await ClerkService(unit).change(clerk_id, body)


@router.post("/clerks/{clerk_id}/reset", summary="New temporary password, one-time codes to be set up anew")
async def reset(clerk_id: ClerkId, unit: OperatorUnit) -> NewAccess:
    return await ClerkService(unit).reset(clerk_id)


@router.post("/clerks/{clerk_id}/unbind", summary="Take the electronic card off a clerk's account")
async def unbind(clerk_id: ClerkId, unit: OperatorUnit) -> ClerkView:
    return await ClerkService(unit).unbind(clerk_id)


@router.get("/clerks/{clerk_id}/sessions", summary="The clerk's last sessions")
async def sessions(clerk_id: ClerkId, unit: OperatorUnit) -> list[SessionView]:
    return await ClerkService(unit).sessions(clerk_id)


@router.post("/clerks/{clerk_id}/sessions/end", summary="Log a clerk out everywhere")
async def end_sessions(clerk_id: ClerkId, unit: OperatorUnit) -> Ended:
    return Ended(ended=await ClerkService(unit).end_sessions(clerk_id))


@router.get("/approvals", summary="Acts that wait for a second clerk, or waited, newest first")
async def list_approvals(
    unit: OperatorUnit, page: PageQuery, state: Annotated[ApprovalState | None, Query()] = None
) -> Page[ApprovalView]:
    return await ApprovalService(unit).find(state, page)
