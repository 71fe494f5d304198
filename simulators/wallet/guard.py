"""What every answer of the app bears, and who is not served: other names for this machine, other sites' forms."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response

from simulators.wallet.page import page_of, phone_id, remember

HOSTS: Final = ("127.0.0.1", "localhost")
MAX_BODY: Final = 20 * 2**20
"""A photo as telephones take it."""
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def install(app: FastAPI) -> None:
    @app.middleware("http")
    async def guarded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if problem := _stranger(request):
            return PlainTextResponse(problem, 403)
        request.state.phone = phone_id(request) or secrets.token_hex(16)
        response = _too_big(request) if _is_too_big(request) else await call_next(request)
        remember(request, response)
        for name, value in _HEADERS.items():
            response.headers[name] = value
        if not request.url.path.startswith("/static/"):
            response.headers["Cache-Control"] = "no-store"
        return response


def _stranger(request: Request) -> str:
    if request.url.hostname not in HOSTS:
        return "this address is for this machine only"
    if request.method != "POST":
        return ""
    if request.headers.get("origin") != f"{request.url.scheme}://{request.url.netloc}":
        return "this form is of another site"
    return ""


def _is_too_big(request: Request) -> bool:
    length = request.headers.get("content-length", "")
    return request.method == "POST" and not (length.isdecimal() and int(length) <= MAX_BODY)


def _too_big(request: Request) -> Response:
    response = page_of(request).draw("too_big.html")
    response.status_code = 413
    return response
