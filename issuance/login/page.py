"""The log-in page below `/login`: the code to scan, the number to choose, and the way on when the phone has answered.

It works without a script, by loading itself again; with one it is woken by server-sent events.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Path, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.responses import StreamingResponse

from issuance.clerks.access import CSRF_FIELD, demand_own_origin
from issuance.clerks.sessions import csrf_of
from issuance.consents.catalogue import CATALOGUE
from issuance.console import guard
from issuance.console.forms import Form
from issuance.console.page import LANGUAGE_COOKIE, Look
from issuance.login.answers import authorization_response_url
from issuance.login.transactions import (
    LINK_RENEWED_S,
    Browser,
    Stage,
    Transaction,
    cancel,
    claims_of,
    finished,
    link_code,
    look_up,
)
from issuance.login.unit import login_unit
from issuance.problems import ProblemError
from issuance.services import Services
from issuance.unit import services_of
from onecard_ui.code_picture import picture_of

ROOT: Final = "/login"
LINK: Final = "/login/link"
"""Codes are addresses below the issuer's, the secret part behind `#`: any camera opens a page that says what to do."""
_STILL_S: Final = 15.0
_ROUNDS: Final = 40
"""A stream of events lasts ten minutes, as long as a log-in."""
LoginId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
router = APIRouter()


def install(app: FastAPI, services: Services) -> None:
    pages = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    pages.state.services = services
    guard.install(pages, guard.content_security_policy(""), failure_page="log_in_failure.html")
    pages.include_router(router)
    app.mount(ROOT, pages)


@router.get("/link")
async def scanned_elsewhere(request: Request) -> Response:
    """What a camera that is no wallet opens; the code stays in the browser."""
    return Look.of(request).draw("log_in_link.html")


@router.get("/{login_id}")
async def show(request: Request, login_id: LoginId) -> Response:
    """The page, or the way back to the relying party once there is an outcome."""
    services, secret = services_of(request), Browser.of(request).secret
    transaction = await _found(services, login_id, secret)
    if transaction.stage not in ("open", "claimed", "over"):
        url = await _way_back(services, login_id, secret)
        if url:
            return RedirectResponse(url, 303)
    look = _look(request, transaction)
    shown = await _link(services, transaction, secret) if transaction.stage == "open" else None
    items = [CATALOGUE[name] for name in claims_of(transaction.request)]
    return look.draw(
        "log_in.html",
        transaction=transaction,
        shown=shown,
        items=[item.zh if look.language == "zh" else item.en for item in items],
        csrf=csrf_of(secret),
    )


@router.get("/{login_id}/link")
async def renew(request: Request, login_id: LoginId) -> Response:
    """For the page's script: the next code's picture and its seconds."""
    services, secret = services_of(request), Browser.of(request).secret
    return JSONResponse(await _link(services, await _found(services, login_id, secret), secret))


@router.get("/{login_id}/events")
async def events(request: Request, login_id: LoginId, stage: Stage) -> Response:
    """`go` as soon as the log-in is in another stage than the page shows."""
    services = services_of(request)
    await _found(services, login_id, Browser.of(request).secret)
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_events(services, login_id, stage), media_type="text/event-stream", headers=headers)


@router.post("/{login_id}/cancel")
async def give_up(request: Request, login_id: LoginId) -> Response:
    """The page that leads back; a form may not be redirected to another site (`form-action`)."""
    demand_own_origin(request)
    services, secret = services_of(request), Browser.of(request).secret
    form = await Form.of(request)
    if not secret or not hmac.compare_digest(form.get(CSRF_FIELD).encode(), csrf_of(secret).encode()):
        raise ProblemError("CSRF_REFUSED", "the form's token is not this browser's")
    await _found(services, login_id, secret)
    async with login_unit(services) as unit:
        await cancel(unit, login_id, secret)
    url = await _way_back(services, login_id, secret)
    return Look.of(request).draw("log_in_left.html", url=url)


async def _found(services: Services, login_id: str, secret: str) -> Transaction:
    """Raises LOGIN_CLOSED with the status of what is not there, also in another browser: begin again is the remedy."""
    try:
        async with login_unit(services, is_reading=True) as unit:
            return await look_up(unit, login_id, secret)
    except ProblemError as error:
        raise ProblemError("LOGIN_CLOSED", error.detail, status=404) from None


async def _way_back(services: Services, login_id: str, secret: str) -> str:
    """Empty when the outcome was handed out before."""
    async with login_unit(services) as unit:
        outcome = await finished(unit, login_id, secret)
        if outcome is None:
            return ""
        return await authorization_response_url(unit, await look_up(unit, login_id, secret), outcome)


async def _link(services: Services, transaction: Transaction, secret: str) -> dict[str, Any]:
    link = await link_code(services, transaction, secret)
    url = f"{services.settings.login_issuer}{LINK}#{link.code}"
    picture = picture_of(url.encode())
    return {"size": picture.size, "path": picture.path(), "seconds": link.seconds, "of": LINK_RENEWED_S, "url": url}


async def _events(services: Services, login_id: str, known: Stage) -> AsyncIterator[str]:
    yield "retry: 200\n\n"
    for _ in range(_ROUNDS):
        if await services.login_watch.changed(login_id, known, _STILL_S) != known:
            yield "event: go\ndata: {}\n\n"
            return
        yield ": still\n\n"


def _look(request: Request, transaction: Transaction) -> Look:
    """In the language the relying party names, where the browser has chosen none here."""
    look = Look.of(request)
    has_chosen = "lang" in request.query_params or LANGUAGE_COOKIE in request.cookies
    is_english = transaction.request.ui_locales.lower().startswith("en")
    return replace(look, language="en") if is_english and not has_chosen else look
