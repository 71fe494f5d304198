"""The log-in page below `/login`: the code to scan, the number to choose, and the way on when the phone has answered.

It works without a script, by loading itself again; with one it is woken by server-sent events.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from issuance.clerks.access import CSRF_FIELD
from issuance.clerks.sessions import csrf_of
from issuance.console import guard
from issuance.console.forms import Form
from issuance.console.page import LANGUAGE_COOKIE, Look
from issuance.direct import PageRoute
from issuance.login import card_page
from issuance.login.answers import authorization_response_url
from issuance.login.browsers import LOGIN_ID, LoginId, demand_own_page, found
from issuance.login.items import items_of
from issuance.login.national import page as national_page
from issuance.login.seam import Refused, Subject
from issuance.login.transactions import (
    LINK_RENEWED_S,
    Browser,
    Ended,
    Stage,
    Transaction,
    cancel,
    hand_out_all,
    link_address,
    link_code,
)
from issuance.login.unit import LoginUnit, login_unit
from issuance.login.ways import ways_for
from issuance.services import Services
from issuance.unit import services_of
from onecard_ui.code_picture import LINK_MASK, picture_of

ROOT: Final = "/login"
_STILL_S: Final = 15.0
_ROUNDS: Final = 40
"""A stream of events lasts ten minutes, as long as a log-in."""
router = APIRouter()


def install(app: FastAPI, services: Services) -> PageRoute:
    """Its route past the framework, for the page that every browser asks for at least twice."""
    pages = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    pages.state.services = services
    agents = " ".join(services.settings.agent_urls) if services.card_certificates.is_configured else ""
    policy = guard.content_security_policy(agents)
    guard.install(pages, policy, failure_page="log_in_failure.html")
    for part in (router, card_page.router, national_page.router):
        pages.router.routes.extend(part.routes)  # see `issuance.app.create_app`
    app.mount(ROOT, pages)

    async def shown(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = pages
        response = await show(Request(scope, receive), scope["path"].removeprefix(f"{ROOT}/"))
        await response(scope, receive, send)

    return PageRoute(ROOT, LOGIN_ID, "/{login_id}", guard.ConsoleGuard(shown, policy=policy))


@router.get("/link")
async def scanned_elsewhere(request: Request) -> Response:
    """What a camera that is no wallet opens; the code stays in the browser."""
    return Look.of(request).draw("log_in_link.html")


@router.get("/{login_id}")
async def show(request: Request, login_id: LoginId) -> Response:
    """The page, or the way back to the relying party once there is an outcome."""
    services, secret = services_of(request), Browser.of(request).secret
    transaction = await found(services, login_id, secret)
    if transaction.stage not in ("open", "claimed", "over"):
        url = await _way_back(services, transaction)
        if url:
            return RedirectResponse(url, 303)
    look = _look(request, transaction)
    ways = [way.name for way in ways_for(services, transaction.request.acr_values)]
    is_scanned = transaction.stage == "open" and "scan" in ways
    shown = await _link(services, transaction, secret) if is_scanned else None
    return look.draw(
        "log_in.html",
        transaction=transaction,
        shown=shown,
        ways=ways,
        agent_urls=services.settings.agent_urls,
        items=[item.zh if look.language == "zh" else item.en for item in items_of(transaction.request)],
        csrf=csrf_of(secret),
    )


@router.get("/{login_id}/link")
async def renew(request: Request, login_id: LoginId) -> Response:
    """For the page's script: the next code's picture and its seconds."""
    services, secret = services_of(request), Browser.of(request).secret
    return JSONResponse(await _link(services, await found(services, login_id, secret), secret))


@router.get("/{login_id}/events")
async def events(request: Request, login_id: LoginId, stage: Stage) -> Response:
    """`go` as soon as the log-in is in another stage than the page shows."""
    services = services_of(request)
    await found(services, login_id, Browser.of(request).secret)
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_events(services, login_id, stage), media_type="text/event-stream", headers=headers)


@router.post("/{login_id}/cancel")
async def give_up(request: Request, login_id: LoginId) -> Response:
    """The page that leads back; a form may not be redirected to another site (`form-action`)."""
    services, secret = services_of(request), Browser.of(request).secret
    demand_own_page(request, secret, (await Form.of(request)).get(CSRF_FIELD))
    await found(services, login_id, secret)
    async with login_unit(services) as unit:
        await cancel(unit, login_id, secret)
    url = await _way_back(services, await found(services, login_id, secret))
    return Look.of(request).draw("log_in_left.html", url=url)


async def _way_back(services: Services, transaction: Transaction) -> str:
    """Of one that has ended; empty when the outcome was handed out before."""
    ended = Ended(transaction.id, transaction.request.client_id, transaction.stage)

    async def answered(unit: LoginUnit) -> str:
        outcome: Subject | Refused | None = unit.found.pop(ended.key, None)  # for the first of two who ask at once
        return "" if outcome is None else await authorization_response_url(unit, transaction, outcome)

    return await services.login_units.run(services, answered, ahead=hand_out_all, key=ended)


async def _link(services: Services, transaction: Transaction, secret: str) -> dict[str, Any]:
    link = await link_code(services, transaction, secret)
    url = link_address(services, link.code)
    picture = picture_of(url.encode(), mask=LINK_MASK)
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
