"""Around every request: a request id, a body limit, one log line, metrics, and no traceback to anyone."""

from __future__ import annotations

import asyncio
import secrets
import time
import traceback
from http import HTTPStatus
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardlib.failures import FailureCode
from issuance.input_rules import field_error
from issuance.logs import get_logger
from issuance.metrics import Metrics
from issuance.problems import ProblemError, code_of, response_for

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
)
"""Where the answer does not bear them itself: pages do."""
log = get_logger("issuance.http")


KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Any other word a caller sends is counted as one, so that nobody can grow the metrics."""


class BodyTooLargeError(ProblemError):
    def __init__(self, limit: int) -> None:
        field = field_error("body", "too_large", expected=_size(limit))
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        super().__init__("INPUT_INVALID", str(field), fields=[field], status=status)


class BodyTimeoutError(ProblemError):
    def __init__(self, seconds: float) -> None:
        super().__init__(
            "TIMEOUT", f"the body did not arrive within {seconds:g} seconds", status=HTTPStatus.REQUEST_TIMEOUT
        )


def _size(count: int) -> str:
    return f"{count / (1 << 20):.3g} MB" if count >= 1 << 20 else f"{count / (1 << 10):.3g} KB"


class RequestMiddleware:
    """Pure ASGI. The route's template is logged, never the path: paths carry card numbers."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, body_limit: int, body_timeout_s: float) -> None:
        self._app = app
        self._metrics = metrics
        self._body_limit = body_limit
        self._body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0
        received = 0
        is_whole = False
        started = time.perf_counter()
        deadline = asyncio.get_running_loop().time() + self._body_timeout_s
        is_too_large = _declared_length(scope) > self._body_limit

        async def limited_receive() -> Message:
            nonlocal received, is_whole
            if is_too_large:  # who reads it answers: a page to a browser, problem details to a program
                raise BodyTooLargeError(self._body_limit)
            try:
                async with asyncio.timeout_at(None if is_whole else deadline):
                    message = await receive()
            except TimeoutError:
                raise BodyTimeoutError(self._body_timeout_s) from None
            is_whole = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self._body_limit:
                raise BodyTooLargeError(self._body_limit)
            return message

        async def marked_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name.lower() for name, _ in message["headers"]}
                added = [header for header in _HEADERS if header[0] not in given]
                message["headers"] = [*message["headers"], *added, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, limited_receive, marked_send)
        except Exception as error:
            log_unexpected(error, request_id)
            if status:
                raise
            await response_for(error)(scope, receive, marked_send)
        finally:
            self._record(scope, status or 500, time.perf_counter() - started, request_id)

    def _record(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"] if scope["method"] in KNOWN_METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        log.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            client=scope["state"].get("client_id", ""),
            request_id=request_id,
        )


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:18])
    return 0


def log_unexpected(error: Exception, request_id: str) -> None:
    """Type and places only: an exception's words may quote what a person sent."""
    if code_of(error) is not FailureCode.INTERNAL:
        return
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = ["/".join(Path(frame.filename).parts[-2:]) + f":{frame.lineno}" for frame in frames]
    log.error("unexpected", error=type(error).__name__, places=places, request_id=request_id)
