"""Who may talk to the agent: exact Host, exact Origin, small bodies. Pure ASGI, so HTTP and WebSocket share it.

The agent listens on the loopback address, which every web page of every site can reach from the citizen's browser.
So each request must name the agent itself as Host (DNS rebinding) and, when a browser sends it, come from the agent's
own page or from an origin on the list (WHATWG Fetch §3.1, RFC 6454). There is no pattern matching anywhere here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardlib.failures import FailureCode
from terminal_agent.problems import MEDIA_TYPE, problem_document, response_for

MAX_BODY_BYTES = 64 * 1024
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
ALLOWED_METHODS = "GET, POST, DELETE"
ALLOWED_HEADERS = "Content-Type, Last-Event-ID"
PREFLIGHT_AGE_S = 600
# Fetch Metadata §2.1: `none` is the user typing the address, `same-origin` the agent's own page.
_TRUSTED_SITES = ("same-origin", "none")
# Private Network Access asked for an opt-in header. Its successor, Local Network Access, asks the user instead; its
# early drafts used the second name. Either question is answered, only to origins on the list.
_NETWORK_QUESTIONS = {
    "access-control-request-private-network": "Access-Control-Allow-Private-Network",
    "access-control-request-local-network": "Access-Control-Allow-Local-Network",
}

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "loopback-network=(self), local-network=(), camera=(), microphone=(), geolocation=()",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


OWN_PATH = "/pin"
"""The PIN dialog: neither a listed page nor a program may open it or answer for it."""
# Under no-referrer a browser sends `Origin: null` with a form.
OWN_PATH_HEADERS = SECURITY_HEADERS | {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY.replace("form-action 'none'", "form-action 'self'"),
    "Referrer-Policy": "same-origin",
}


@dataclass(slots=True)
class OwnPorts:
    """Where the agent listens: its page and API, and the WebSocket; set once bound. None as `page`: the port the
    request came in by."""

    page: int | None = None
    driver: int | None = None


class Guard:
    """Refuses strangers before any route, parser or error page sees the request."""

    def __init__(self, app: ASGIApp, allowed_origins: Iterable[str] = (), ports: OwnPorts | None = None) -> None:
        self._app = app
        self._allowed = frozenset(allowed_origins)
        self._ports = ports or OwnPorts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, receive, send, *refusal)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _answer_preflight(headers, origin, send)
        else:
            added = OWN_PATH_HEADERS if _is_own(scope) else SECURITY_HEADERS
            await self._serve(scope, headers, receive, _with_headers(send, origin, added))

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[FailureCode, int] | None:
        port = (scope.get("server") or ("", None))[1]
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in _own_hosts(port):
            return FailureCode.HOST_FORBIDDEN, 421
        origins = headers.getlist("origin")
        is_own = _is_own(scope)
        if origins:
            allowed = {f"http://{host}" for host in _own_hosts(self._ports.page or port)}
            if len(origins) > 1 or origins[0] not in (allowed if is_own else allowed | self._allowed):
                return FailureCode.ORIGIN_FORBIDDEN, 403
        else:
            is_blind_form = is_own and scope["method"] not in ("GET", "HEAD")
            if is_blind_form or any(site not in _TRUSTED_SITES for site in headers.getlist("sec-fetch-site")):
                return FailureCode.ORIGIN_FORBIDDEN, 403
        return None

    async def _serve(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        declared = headers.get("content-length", "0")
        if not (declared.isascii() and declared.isdigit() and len(declared) < 10) or int(declared) > MAX_BODY_BYTES:
            await _problem(send, FailureCode.INPUT_INVALID, 413)
            return
        has_started = False

        async def watched_send(message: Message) -> None:
            nonlocal has_started
            has_started = has_started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, _limited(receive), watched_send)
        except ClientDisconnect:
            return
        except Exception as exc:
            response = response_for(exc)
            if not has_started:
                await response(scope, receive, send)


def _own_hosts(port: int | None) -> set[str]:
    """The Host values that mean this agent; a browser leaves port 80 out."""
    hosts = {f"{host}:{port}" for host in LOOPBACK_HOSTS}
    return hosts | set(LOOPBACK_HOSTS) if port in (80, None) else hosts


def _is_own(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["type"] == "http" and (path == OWN_PATH or path.startswith(f"{OWN_PATH}/"))


def _limited(receive: Receive) -> Receive:
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            raise HTTPException(413)
        return message

    return limited


def _with_headers(send: Send, origin: str | None, added: Mapping[str, str] = SECURITY_HEADERS) -> Send:
    """Adds the security headers to every answer, and the CORS permission when the (accepted) request had an Origin."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in added.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
            headers.add_vary_header("Origin")
            if origin is not None:
                headers["Access-Control-Allow-Origin"] = origin
                headers["Access-Control-Expose-Headers"] = "Location"
        await send(message)

    return wrapped


async def _answer_preflight(headers: Headers, origin: str | None, send: Send) -> None:
    """CORS preflight (Fetch §3.2.2). Without an Origin it is no preflight, and nothing is permitted."""
    answer = MutableHeaders({"Vary": "Origin", "Cache-Control": "no-store", "Content-Length": "0"})
    if origin is not None:
        answer["Access-Control-Allow-Origin"] = origin
        answer["Access-Control-Allow-Methods"] = ALLOWED_METHODS
        answer["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        answer["Access-Control-Max-Age"] = str(PREFLIGHT_AGE_S)
        for question, permission in _NETWORK_QUESTIONS.items():
            if headers.get(question) == "true":
                answer[permission] = "true"
    await send({"type": "http.response.start", "status": 204, "headers": answer.raw})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, receive: Receive, send: Send, code: FailureCode, status: int) -> None:
    if scope["type"] == "http":
        await _problem(_with_headers(send, None), code, status)
        return
    await receive()
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await _problem(send, code, status, prefix="websocket.http.response")
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": code.value})


async def _problem(send: Send, code: FailureCode, status: int, prefix: str = "http.response") -> None:
    body = json.dumps(problem_document(code, status=status), ensure_ascii=False).encode()
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    if prefix == "http.response":
        headers.append((b"connection", b"close"))
    await send({"type": f"{prefix}.start", "status": status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})
