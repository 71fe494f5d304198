"""What every answer of the console bears, and what a browser sees of a failure: a page with cause and remedy."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardlib.failures import FailureCode
from issuance.clerks.access import drop_cookie
from issuance.console.page import ROOT, Look
from issuance.console.refusals import refusal
from issuance.middleware import log_unexpected
from issuance.problems import ProblemError, code_of, response_for

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # under no-referrer a browser sends `Origin: null` with a form
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "loopback-network=(self), local-network=(), camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


def content_security_policy(agents: str) -> str:
    """`agents`: the local agent's origins, the only other place a page may speak to."""
    allowed = " ".join(("'self'", *agents.split()))
    return (
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
        f"connect-src {allowed}; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )


class ConsoleGuard:
    """Pure ASGI: security headers on every answer, and a page for what no handler turned into one."""

    def __init__(self, app: ASGIApp, *, policy: str, may_be_kept: bool = False) -> None:
        self._app = app
        self._headers = _HEADERS | {"Content-Security-Policy": policy}
        self._own = frozenset({"Cache-Control"} if may_be_kept else ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def marked(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    if name not in self._own or name not in headers:
                        headers[name] = value
            await send(message)

        try:
            await self._app(scope, receive, marked)
        except Exception as error:
            if has_started:
                raise
            log_unexpected(error, scope.get("state", {}).get("request_id", ""))
            await answer(Request(scope), error)(scope, receive, marked)


def answer(request: Request, error: Exception) -> Response:
    """A page; for a script, which says so by `Accept`, problem details. Who has no session goes to the log-in."""
    if "application/json" in request.headers.get("Accept", ""):
        return response_for(error)
    code = code_of(error)
    if code is FailureCode.SESSION_ENDED:
        return _to_login(request)
    if code is FailureCode.SESSION_LOCKED:
        return RedirectResponse(f"{ROOT}/lock{_next(request)}", HTTPStatus.SEE_OTHER)
    if code is FailureCode.CLERK_MUST_CHANGE:
        return RedirectResponse(f"{ROOT}/me/begin", HTTPStatus.SEE_OTHER)
    look = Look.of(request)
    return look.draw(request.app.state.failure_page, refusal=refusal(error, look.language))


def _to_login(request: Request) -> Response:
    response = RedirectResponse(f"{ROOT}/login{_next(request)}", HTTPStatus.SEE_OTHER)
    drop_cookie(request, response)
    return response


def _next(request: Request) -> str:
    """The page that was wanted, for afterwards."""
    was = request.url.path
    is_page = request.method == "GET" and was.startswith(f"{ROOT}/") and was != f"{ROOT}/"
    return "?" + urlencode({"next": was}) if is_page else ""


def install(app: FastAPI, policy: str, *, failure_page: str = "failure.html", may_be_kept: bool = False) -> None:
    """`may_be_kept`: pages that say themselves how long they may be kept are believed; the others are for once."""
    app.state.failure_page = failure_page
    app.add_exception_handler(ProblemError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_shape)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_middleware(ConsoleGuard, policy=policy, may_be_kept=may_be_kept)


async def _on_error(request: Request, error: Exception) -> Response:
    return answer(request, error)


async def _on_shape(request: Request, _error: Exception) -> Response:
    """An id in an address that is none: nothing is there."""
    return answer(request, ProblemError("NOT_FOUND", "no such address"))


async def _on_http(request: Request, error: Exception) -> Response:
    if isinstance(error.__cause__, ProblemError):  # raised while the framework was reading the body
        return answer(request, error.__cause__)
    status = error.status_code if isinstance(error, HTTPException) else 500
    found = status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
    return answer(request, ProblemError("NOT_FOUND" if found else "INPUT_INVALID", HTTPStatus(status).phrase))
