"""The lock screen: the session stays, the clerk's password unlocks it, and until then no page shows anything."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from issuance.clerks.access import locked_clerk_of
from issuance.clerks.login import lock, unlock
from issuance.clerks.sessions import SignedIn
from issuance.console.forms import Form
from issuance.console.login import own_path
from issuance.console.page import ROOT, Look, clerk_name
from issuance.problems import ProblemError
from issuance.unit import services_of

router = APIRouter()


@router.get("/lock")
async def show(request: Request) -> Response:
    who, is_locked = await locked_clerk_of(request)
    after = own_path(request.query_params.get("next", ""))
    return await _show(request, who, after) if is_locked else Look.of(request).go(after)


async def _show(request: Request, who: SignedIn, after: str, error: Exception | None = None) -> Response:
    look = Look.of(request)
    return look.draw(
        "lock.html",
        name=await clerk_name(services_of(request), who),
        next="" if after == "/" else f"{ROOT}{after}",
        csrf=who.csrf,
        has_scan=services_of(request).login_provider.is_there,
        has_password=who.takes_password,
        refusal=None if error is None else look.refusal(error),
    )


@router.post("/lock")
async def begin(request: Request) -> Response:
    who, is_locked = await locked_clerk_of(request)
    if not is_locked:
        await lock(services_of(request), who)
    return Response(status_code=204) if _is_script(request) else Look.of(request).go("/lock")


@router.post("/unlock")
async def end(request: Request) -> Response:
    who, is_locked = await locked_clerk_of(request)
    form = await Form.of(request)
    after = own_path(form.get("next"))
    address = request.client.host if request.client is not None else ""
    try:
        if is_locked:
            await unlock(services_of(request), who, form.get("password"), address)
    except ProblemError as error:
        if _is_script(request):
            raise
        return await _show(request, who, after, error)
    return Response(status_code=204) if _is_script(request) else Look.of(request).go(after)


def _is_script(request: Request) -> bool:
    return "application/json" in request.headers.get("Accept", "")
