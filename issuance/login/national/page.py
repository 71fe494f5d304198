"""Pages below `/login/{id}/national`: the platform's code, the way to its own page and back, and who logs in."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from hsm.primitives import default_engine
from issuance.clerks.access import CSRF_FIELD
from issuance.clerks.sessions import csrf_of
from issuance.codes.envelope import SIGNATURE_HEADER
from issuance.console.forms import Form
from issuance.console.page import Look
from issuance.login.browsers import LoginId, demand_own_page, found
from issuance.login.items import items_of
from issuance.login.national.platform import WINDOW, NationalAnswerError
from issuance.login.national.stages import Shown, State, agree, answered, demand_keys, demand_open, look
from issuance.login.transactions import Browser
from issuance.problems import ProblemError
from issuance.unit import services_of
from onecard_ui.code_picture import picture_of

router = APIRouter()
_REFRESH_S: Final = 3
_SAID: Final[tuple[State, ...]] = ("elsewhere", "unusable")
"""Ends of a code that nothing is kept of: whoever asked hears it, and its page is told in its address."""


@router.get("/{login_id}/national")
async def show(request: Request, login_id: LoginId) -> Response:
    services, secret = services_of(request), Browser.of(request).secret
    login = await found(services, login_id, secret)
    if login.stage != "open":
        return RedirectResponse(login.path, 303)
    platform, language = demand_open(services, login), Look.of(request)
    said = next((state for state in _SAID if state == request.query_params.get("said")), None)
    shown = Shown(said) if said is not None else await look(services, login, secret)
    return language.draw(
        "log_in_national.html",
        transaction=login,
        shown=shown,
        picture=_picture(shown),
        system_name=platform.name,
        refresh_s=_REFRESH_S,
        has_page=platform.page is not None,
        items=[item.zh if language.language == "zh" else item.en for item in items_of(login.request)],
        csrf=csrf_of(secret),
    )


@router.get("/{login_id}/national/state")
async def state(request: Request, login_id: LoginId) -> Response:
    """For the page's script: where it stands, and the picture of the code. Raises LOGIN_CLOSED."""
    services, secret = services_of(request), Browser.of(request).secret
    shown = await look(services, await found(services, login_id, secret), secret)
    return JSONResponse({"state": shown.state} | _picture(shown))


@router.get("/{login_id}/national/go")
async def go(request: Request, login_id: LoginId) -> Response:
    """To the platform's own page, with a secret of this browser that its answer has to bring back."""
    services, secret = services_of(request), Browser.of(request).secret
    login = await found(services, login_id, secret)
    platform = demand_open(services, login)
    if platform.page is None:
        raise ProblemError("NOT_FOUND", "browsers are not handed over")
    back = f"{services.settings.login_issuer}{login.path}/national/back"
    return RedirectResponse(platform.hand_over(await demand_keys(services), back, _state_of(login_id, secret)), 303)


@router.get("/{login_id}/national/back")
async def back(request: Request, login_id: LoginId) -> Response:
    """What the platform answered, by way of the browser. Raises LOGIN_NATIONAL_REFUSED, REQUEST_REPLAYED."""
    services, secret = services_of(request), Browser.of(request).secret
    login = await found(services, login_id, secret)
    platform, query = demand_open(services, login), request.query_params
    try:
        named = platform.returned(await demand_keys(services), query)
    except NationalAnswerError as error:
        raise ProblemError("LOGIN_NATIONAL_REFUSED", str(error), subject=f"login:{login_id}") from None
    if not hmac.compare_digest(named.state.encode(), _state_of(login_id, secret).encode()):
        raise ProblemError("LOGIN_NATIONAL_REFUSED", "an answer to another browser", subject=f"login:{login_id}")
    digest = default_engine().sm3(query[SIGNATURE_HEADER].encode()).hex()
    if not await services.one_time.put(f"national:{digest}", b"", 2 * WINDOW.total_seconds()):
        raise ProblemError("REQUEST_REPLAYED", "this answer came before", subject=f"login:{login_id}")
    shown = await answered(services, login, named, "redirect")
    return RedirectResponse(f"{login.path}/national?said={shown.state}", 303)


@router.post("/{login_id}/national/agree")
async def agreed(request: Request, login_id: LoginId) -> Response:
    """The page that leads on; a form may not be redirected to another site (`form-action`)."""
    services, secret = services_of(request), Browser.of(request).secret
    demand_own_page(request, secret, (await Form.of(request)).get(CSRF_FIELD))
    login = await found(services, login_id, secret)
    await agree(services, login)
    return Look.of(request).draw("log_in_national_done.html", url=login.path)


def _picture(shown: Shown) -> dict[str, Any]:
    """Empty without a code."""
    if not shown.code:
        return {}
    picture = picture_of(shown.code.encode())
    return {"size": picture.size, "path": picture.path()}


def _state_of(login_id: str, secret: str) -> str:
    return hmac.digest(secret.encode(), f"onecard national:{login_id}".encode(), sha256).hex()
