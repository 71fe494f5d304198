"""Log-in, unlocking and log-out by scan: to the log-in provider and back, as with any other relying party of it.

The provider may be of another site, whose way back brings no strict cookie along; so the browser keeps the errand in a
lax one, and the page that follows is loaded by a page of ours.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from issuance.clerks.access import (
    clerk_of,
    cookie_name,
    demand_own_origin,
    drop_cookie,
    locked_clerk_of,
    set_cookies,
)
from issuance.clerks.errands import AWAY, Errand, Ticket, come_back, errand_in, set_out, ticket_for
from issuance.clerks.login import log_in, log_out, shortened
from issuance.clerks.provider import ProviderUnreachableError
from issuance.clerks.scans import unlock_by_scan
from issuance.clerks.sessions import SignedIn
from issuance.clerks.staff_endpoints import attempt_of
from issuance.clerks.tries import demand_try
from issuance.console.forms import Form
from issuance.console.login import login_page, own_path
from issuance.console.page import ROOT, Look
from issuance.problems import ProblemError
from issuance.unit import services_of

BACK: Final = f"{ROOT}/login/back"
LEFT: Final = f"{ROOT}/login/left"
"""Registered at the provider: where browsers come back to, and where they end."""
_COOKIE: Final = "-scan"
router = APIRouter()


@router.post("/login/scan")
async def begin(request: Request) -> Response:
    demand_own_origin(request)
    after = own_path((await Form.of(request)).get("next"))
    try:
        await demand_try(services_of(request), f"scan {_network(request)}")  # each asks the provider something
        return await away(request, Errand("log_in", after=after))
    except (ProblemError, ProviderUnreachableError) as error:
        return await login_page(request, after, error)


@router.post("/login/unlock")
async def begin_unlocking(request: Request) -> Response:
    who, is_locked = await locked_clerk_of(request)
    after = own_path((await Form.of(request)).get("next"))
    if not is_locked:
        return Look.of(request).go(after)
    return await away(request, Errand("unlock", who.session_id, who.clerk_id, after=after))


@router.get("/login/back")
async def back(request: Request) -> Response:
    services, kept, is_answer = services_of(request), kept_in(request), False
    answer = dict(request.query_params)
    try:
        errand, begun = errand_in(services, kept)
        is_answer = begun.is_answered_by(answer)
        if errand.purpose == "log_in":
            return await _logged_in(request, errand, answer | {"kept": kept})
    except Exception as error:
        response = await login_page(request, "/", error)
        # what the browser has begun since goes on after an answer to something else
        return _dropped(request, response) if is_answer else response
    await demand_try(services, _network(request))
    errand, known = await come_back(services, kept, answer)
    if errand.purpose == "unlock":
        await unlock_by_scan(services, errand.session_id, known)
        return _dropped(request, onward(request, f"{ROOT}{errand.after}"))
    ticket = Ticket(known.subject, errand.session_id, errand.clerk_id, errand.by)
    return _keeping(request, onward(request, f"{ROOT}{errand.after}"), ticket_for(services, ticket))


async def _logged_in(request: Request, errand: Errand, given: dict[str, str]) -> Response:
    made = await log_in(services_of(request), attempt_of(request, "scan", given))
    response = onward(request, f"{ROOT}/me/begin" if made.needs else f"{ROOT}{errand.after}")
    set_cookies(request, response, made.token, made.browser)
    return _dropped(request, response)


@router.post("/logout")
async def leave(request: Request, who: Annotated[SignedIn, Depends(clerk_of)]) -> Response:
    """Ends the log-in at the provider as well, where the session came of one."""
    services = services_of(request)
    id_token, url = await log_out(services, who), ""
    if id_token:
        with suppress(ProviderUnreachableError):  # the own session is over, which is what the clerk asked for
            url = await services.login_provider.log_out_url(id_token, own_address(request, LEFT))
    response = onward(request, url) if url else Look.of(request).go("/login", said="login.said_out")
    drop_cookie(request, response)
    return response


@router.get("/login/left")
async def left(request: Request) -> Response:
    return Look.of(request).go("/login", said="login.said_out")


async def away(request: Request, errand: Errand) -> Response:
    """To the provider. Raises ProviderUnreachableError."""
    look = Look.of(request)
    url, kept = await set_out(services_of(request), errand, own_address(request, BACK), look.language)
    return _keeping(request, onward(request, url), kept)


def onward(request: Request, url: str) -> Response:
    """A page that leads on by itself: another site's address is no target that a form may be redirected to."""
    return Look.of(request).draw("onward.html", url=url)


def own_address(request: Request, path: str) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{path}"


def _network(request: Request) -> str:
    return shortened(request.client.host if request.client is not None else "")


def kept_in(request: Request) -> str:
    """Empty where this browser has begun nothing."""
    return request.cookies.get(cookie_name(request) + _COOKIE, "")


def _keeping(request: Request, response: Response, kept: str) -> Response:
    name = cookie_name(request)
    response.set_cookie(
        name + _COOKIE,
        kept,
        max_age=int(AWAY.total_seconds()),
        path="/",
        secure=name.startswith("__Host-"),
        httponly=True,
        samesite="lax",
    )
    return response


def _dropped(request: Request, response: Response) -> Response:
    name = cookie_name(request)
    secure = name.startswith("__Host-")
    response.delete_cookie(name + _COOKIE, path="/", secure=secure, httponly=True, samesite="lax")
    return response
