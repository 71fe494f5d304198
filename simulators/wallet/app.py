"""The app as pages for a telephone's screen; each browser is one phone, told by a cookie.

Serve it on 127.0.0.1 only: who has the cookie has the phone.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from onecard_ui import mount_static
from simulators.wallet import acts, cards, codes, family, guard, log_ins, records, what
from simulators.wallet.channel import NoLinkError, Refused
from simulators.wallet.page import HERE, Refusal, page_of, phone_path
from simulators.wallet.phone import PhoneFileError
from simulators.wallet.settings import WalletSettings


def create_app(settings: WalletSettings) -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.settings = settings
    guard.install(app)
    for module in (codes, log_ins, cards, what, records, family, acts):
        app.router.routes.extend(module.router.routes)  # see `issuance.app.create_app`
    app.add_exception_handler(NoLinkError, _on_no_link)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(PhoneFileError, _on_spoilt)
    app.add_exception_handler(RequestValidationError, _on_missing)
    app.add_exception_handler(HTTPException, _on_missing)
    mount_static(app, HERE / "static")
    return app


async def _on_no_link(request: Request, _error: Exception) -> Response:
    if request.url.path == codes.NEXT:
        return JSONResponse({"go": "/apply"}, 401)
    return page_of(request).go("/apply")


async def _on_spoilt(request: Request, _error: Exception) -> Response:
    """The file is put aside, and this phone starts as a new one."""
    path = phone_path(request)
    path.replace(path.with_suffix(".spoilt"))
    if request.url.path == codes.NEXT:
        return JSONResponse({"go": "/welcome?said=apply.said_spoilt"}, 401)
    return page_of(request).go("/welcome", said="apply.said_spoilt")


async def _on_refused(request: Request, error: Exception) -> Response:
    """A page, or for the script that renews codes the words of one."""
    assert isinstance(error, Refused)
    page = page_of(request)
    if request.url.path == codes.NEXT:
        refusal = Refusal.of(error, page.language)
        return JSONResponse({"title": refusal.title, "remedy": refusal.remedy, "code": refusal.code}, 409)
    return page.draw("failure.html", refusal=error)


async def _on_missing(request: Request, _error: Exception) -> Response:
    response = page_of(request).draw("missing.html")
    response.status_code = 404
    return response
