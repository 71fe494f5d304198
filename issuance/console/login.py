"""Log-in by password, and the page that offers it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from issuance.clerks.access import demand_own_origin, set_cookies
from issuance.clerks.login import any_takes_password, log_in
from issuance.clerks.staff_endpoints import attempt_of
from issuance.console.forms import Form
from issuance.console.page import ROOT, Look
from issuance.unit import services_of

router = APIRouter()


@router.get("/login")
async def show(request: Request) -> Response:
    return await login_page(request, own_path(request.query_params.get("next", "")))


@router.post("/login")
async def send(request: Request) -> Response:
    demand_own_origin(request)
    form = await Form.of(request)
    after = own_path(form.get("next"))
    attempt = attempt_of(request, "password", {name: form.get(name) for name in ("login", "password", "code")})
    try:
        made = await log_in(services_of(request), attempt)
    except Exception as error:
        return await login_page(request, after, error, login=form.get("login"))
    response = Look.of(request).go("/me/begin" if made.needs else after)
    set_cookies(request, response, made.token, made.browser)
    return response


async def login_page(request: Request, after: str, error: Exception | None = None, login: str = "") -> Response:
    """Scan first where there is a provider, password where any office takes one."""
    look, services = Look.of(request), services_of(request)
    return look.draw(
        "login.html",
        form=Form({"login": login}),
        next=after,
        has_scan=services.login_provider.is_there,
        has_password=await any_takes_password(services),
        refusal=None if error is None else look.refusal(error),
    )


def own_path(wanted: str) -> str:
    """A page of the console, below its root; anything else leads home."""
    path = wanted.removeprefix(ROOT)
    is_plain = path.isascii() and not {*path} & set("\\?#%\r\n\t ") and "//" not in path and "/." not in path
    return path if wanted.startswith(f"{ROOT}/") and is_plain else "/"
