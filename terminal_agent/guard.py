"""Who may talk to the agent: exact Host, exact Origin, paired pages, small and strict bodies, not too often. Pure ASGI,
so HTTP and WebSocket share it.

The agent listens on the loopback address, which every web page of every site can reach from the citizen's browser.
So each request must name the agent itself as Host (DNS rebinding) and, when a browser sends it, come from the agent's
own page or from an origin on the list (WHATWG Fetch §3.1, RFC 6454). There is no pattern matching anywhere here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardlib.failures import FailureCode
from terminal_agent.bodies import BodyRefusedError, checked_body, limited
from terminal_agent.caller import LEASE, LEASE_HEADER, PROGRAM
from terminal_agent.connections import MAX_HEAD_BYTES
from terminal_agent.levels import API_LEVEL, LEVEL_HEADER, OLDEST_API_LEVEL
from terminal_agent.origins import Origins
from terminal_agent.pairing import Pairings
from terminal_agent.problems import response_for
from terminal_agent.refusals import Rate, RefusalLog, problem, refuse_websocket

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
ALLOWED_METHODS = "GET, POST, PUT, DELETE"
ALLOWED_HEADERS = "Authorization, Content-Type, Last-Event-ID, X-OneCard-Api-Level, X-OneCard-Lease"
EXPOSED_HEADERS = "Location, Retry-After, X-OneCard-Api-Level"
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


OWN_PATHS = ("/pin", "/pair", "/kiosk", "/gate")
"""Pages where a person answers: neither a listed page nor a program may open them or answer for the person."""
PAIRING_PATH = "/v1/pairings"
PERMISSION_PATH: Final = "/permission"
UNPAIRED = frozenset({("POST", PAIRING_PATH), ("GET", "/healthz"), ("GET", "/onecard-agent.js"),
                      ("GET", "/onecard-agent-failures.js")})  # fmt: skip
"""What a page that is yet to be paired may ask for."""
TOKEN_WORD: Final = "onecard-token."  # noqa: S105 - its beginning only
"""Begins the word of Sec-WebSocket-Protocol with the token: browsers let a page send no other header there."""
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

    def __init__(self, app: ASGIApp, origins: Origins, ports: OwnPorts | None = None, pairings: Pairings | None = None):
        self._app = app
        self._origins = origins
        self._ports = ports or OwnPorts()
        self._pairings = pairings
        self._rates: dict[str, Rate] = {}
        self._log = RefusalLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        refusal = self._refusal(scope, headers)
        rate = self._rate(scope, origin) if refusal is None else None
        if rate is not None and not rate.takes():
            refusal = FailureCode.RATE_LIMITED, 429
        if refusal is not None:
            await self._refuse(scope, receive, send, origin, *refusal)
        elif scope["type"] == "http" and _is_preflight(scope, headers):
            await _answer_preflight(headers, origin, send)
        elif rate is None:
            await self._admit(scope, headers, receive, send)
        else:
            rate.open += 1
            try:
                await self._admit(scope, headers, receive, send)
            finally:
                rate.open -= 1

    async def _admit(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        origin = headers.get("origin")
        PROGRAM.set(origin or "")
        LEASE.set(headers.get(LEASE_HEADER, ""))
        added = OWN_PATH_HEADERS if _is_own(scope) else SECURITY_HEADERS
        await self._serve(scope, headers, receive, _with_headers(send, origin, added))

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[FailureCode, int] | None:
        port = (scope.get("server") or ("", None))[1]
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in _own_hosts(port):
            return FailureCode.HOST_FORBIDDEN, 421
        origins = headers.getlist("origin")
        if len(origins) > 1 or not self._is_welcome(scope, headers):
            return FailureCode.ORIGIN_FORBIDDEN, 403
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD_BYTES:
            return FailureCode.INPUT_INVALID, 431
        level = headers.get(LEVEL_HEADER)
        if level is not None and level not in {str(n) for n in range(OLDEST_API_LEVEL, API_LEVEL + 1)}:
            return FailureCode.API_LEVEL_UNSUPPORTED, 400
        if origins and not self._is_paired(scope, headers, origins[0]):
            return FailureCode.PAIRING_REQUIRED, 401
        return None

    def _is_welcome(self, scope: Scope, headers: Headers) -> bool:
        """The agent's own page and programs of this computer everywhere, listed pages where no person answers."""
        origin, is_own = headers.get("origin"), _is_own(scope)
        if origin is None:
            if _is_public(scope, headers):
                return True
            is_blind_form = is_own and scope["method"] not in ("GET", "HEAD")
            return not is_blind_form and all(site in _TRUSTED_SITES for site in headers.getlist("sec-fetch-site"))
        if self._is_agent(scope, origin):
            return True
        is_listed = self._origins.is_allowed(origin) or self._origins.needs_pairing(origin)
        return is_listed and not is_own and not _manages_pairings(scope)

    def _is_agent(self, scope: Scope, origin: str) -> bool:
        port = (scope.get("server") or ("", None))[1]
        return origin in {f"http://{host}" for host in _own_hosts(self._ports.page or port)}

    def _is_paired(self, scope: Scope, headers: Headers, origin: str) -> bool:
        if self._is_agent(scope, origin) or not self._origins.needs_pairing(origin):
            return True
        if scope["type"] == "websocket":
            words = scope.get("subprotocols") or ()
            token = next((word.removeprefix(TOKEN_WORD) for word in words if word.startswith(TOKEN_WORD)), "")
        else:
            if (scope["method"], scope["path"]) in UNPAIRED or _is_preflight(scope, headers):
                return True
            scheme, _, token = headers.get("authorization", "").partition(" ")
            token = token if scheme == "Bearer" else ""
        return self._pairings is not None and self._pairings.has(origin, token)

    def _rate(self, scope: Scope, origin: str | None) -> Rate | None:
        """Of a page that is not the agent's own. Only listed origins come here, so there are few."""
        if origin is None or self._is_agent(scope, origin):
            return None
        return self._rates.setdefault(origin, Rate())

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, origin: str | None, code: FailureCode, status: int
    ) -> None:
        self._log.tell(code, origin)
        if scope["type"] == "websocket":
            await refuse_websocket(scope, receive, send, code, status)
            return
        # A listed page may read why; to a stranger nothing is said that a browser would let it read.
        may_read = status in (400, 401, 429, 431) and origin is not None
        named = {401: {"www-authenticate": "Bearer"}, 429: {"retry-after": "1"}}.get(status, {})
        await problem(_with_headers(send, origin if may_read else None), code, status, headers=named)

    async def _serve(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        has_started = False

        async def watched_send(message: Message) -> None:
            nonlocal has_started
            has_started = has_started or message["type"] == "http.response.start"
            await send(message)

        try:
            bounded = limited(headers, receive) if _is_own(scope) else await checked_body(headers, receive)
            await self._app(scope, bounded, watched_send)
        except ClientDisconnect:
            return
        except BodyRefusedError as refused:
            self._log.tell(refused.failure, headers.get("origin"))
            if not has_started:
                extra = {"errors": refused.errors} if refused.errors else None
                await problem(send, refused.failure, refused.status, extra=extra)
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
    return scope["type"] == "http" and any(path == own or path.startswith(f"{own}/") for own in OWN_PATHS)


def _is_public(scope: Scope, headers: Headers) -> bool:
    """A page of any site may lead the person to the one that explains the browser's question."""
    is_page = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == PERMISSION_PATH
    return bool(is_page and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document")


def _manages_pairings(scope: Scope) -> bool:
    path: str = scope["path"]
    is_asking = path == PAIRING_PATH and scope.get("method") in ("POST", "OPTIONS")
    return scope["type"] == "http" and not is_asking and (path == PAIRING_PATH or path.startswith(f"{PAIRING_PATH}/"))


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return bool(scope["method"] == "OPTIONS" and "access-control-request-method" in headers)


def _with_headers(send: Send, origin: str | None, added: Mapping[str, str] = SECURITY_HEADERS) -> Send:
    """Adds the security headers to every answer, and the CORS permission when the (accepted) request had an Origin."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in added.items():
                headers[name] = value
            headers[LEVEL_HEADER] = str(API_LEVEL)
            headers.setdefault("Cache-Control", "no-store")
            headers.add_vary_header("Origin")
            if origin is not None:
                headers["Access-Control-Allow-Origin"] = origin
                headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
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
