"""Log-in and log-out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from issuance.clerks.access import clerk_of, demand_own_origin, drop_cookie, set_cookies
from issuance.clerks.login import log_in, log_out
from issuance.clerks.sessions import SignedIn
from issuance.clerks.staff_endpoints import attempt_of
from issuance.console.forms import Form
from issuance.console.page import ROOT, Look
from issuance.unit import services_of

router = APIRouter()


@router.get("/login")
async def show(request: Request) -> Response:
    return Look.of(request).draw("login.html", next=own_path(request.query_params.get("next", "")))


@router.post("/login")
async def send(request: Request) -> Response:
    demand_own_origin(request)
    look, form = Look.of(request), await Form.of(request)
    after = own_path(form.get("next"))
    attempt = attempt_of(request, "password", {name: form.get(name) for name in ("login", "password", "code")})
    try:
        made = await log_in(services_of(request), attempt)
    except Exception as error:
        kept = Form({"login": form.get("login")})
        return look.draw("login.html", form=kept, next=after, refusal=look.refusal(error))
    response = look.go("/me/begin" if made.needs else after)
    set_cookies(request, response, made.token, made.browser)
    return response


@router.post("/logout")
async def leave(request: Request, who: Annotated[SignedIn, Depends(clerk_of)]) -> Response:
    await log_out(services_of(request), who)
    response = Look.of(request).go("/login", said="login.said_out")
    drop_cookie(request, response)
    return response


def own_path(wanted: str) -> str:
    """A page of the console, below its root; anything else leads home."""
    path = wanted.removeprefix(ROOT)
    is_plain = path.isascii() and not {*path} & set("\\?#%\r\n\t ") and "//" not in path and "/." not in path
    return path if wanted.startswith(f"{ROOT}/") and is_plain else "/"
