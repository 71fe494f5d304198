"""The three sample pages on an origin of their own, as an office's web server would have them.

A page finds the terminal service from the browser; this server sees no card. It does what only a page's own server can:
it writes the text of a log-in and judges the signature, and it takes the bank's activation.
"""

from __future__ import annotations

import re
import secrets
import time
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardlib.failures import FailureCode
from cardlib.login_text import LogInText, signed_bytes
from cardlib.pki_certificate import Certificate, CertificateError
from hsm.primitives import default_engine
from onecard_ui import TYPE_COOKIE, mount_static, templates
from terminal_agent import client_failures
from terminal_agent.page import HERE as AGENT
from terminal_agent.problems import problem_response
from terminal_agent.settings import DEFAULT_HTTP_PORT, DEFAULT_WS_PORT, OTHER_PORTS

HERE: Final = Path(__file__).parent
PAGES: Final = ("hospital", "bank", "town-hall")
DIALECTS: Final = ("client", "driver")
LOG_IN_S: Final = 300.0
LOG_INS: Final = 100
"""Log-ins under way; the oldest gives way."""
MAX_BODY: Final = 16 * 1024
_CHINA: Final = timedelta(hours=8)
_BANK_END: Final = re.compile(r"[0-9]{4}")


@dataclass(frozen=True, slots=True)
class AgentPlace:
    """Where the pages look for the terminal service, when not on its usual ports."""

    url: str
    ws_url: str

    @property
    def sources(self) -> str:
        return f"{self.url} {self.ws_url}"


USUAL_SOURCES: Final = " ".join(
    f"{scheme}://127.0.0.1:{port}"
    for scheme, first in (("http", DEFAULT_HTTP_PORT), ("ws", DEFAULT_WS_PORT))
    for port in (first, *OTHER_PORTS[first])
)


class Samples:
    """`origin` is where the pages are served: what a card signs ends with it."""

    def __init__(self, origin: str, place: AgentPlace | None) -> None:
        self._origin = origin
        self._place = place
        self._templates = templates(HERE / "templates")
        with (HERE / "words.toml").open("rb") as file:
            self._words: dict[str, dict[str, Any]] = tomllib.load(file)
        self._texts: dict[str, tuple[float, str]] = {}

    async def index(self, request: Request) -> Response:
        return RedirectResponse(f"/{PAGES[0]}?{request.url.query}")

    async def page(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in PAGES:
            raise HTTPException(404)
        lang = "en" if request.query_params.get("lang") == "en" else "zh"
        dialect = "driver" if request.query_params.get("dialect") == "driver" else "client"
        words = self._words[lang]
        place = {"url": self._place.url, "ws_url": self._place.ws_url} if self._place else None
        return HTMLResponse(
            self._templates.get_template(f"{name}.html").render(
                w=words["frame"] | words[name.replace("-", "_")],
                words=words,
                lang=lang,
                name=name,
                dialect=dialect,
                place=place,
                pages=PAGES,
                dialects=DIALECTS,
                type="large" if request.cookies.get(TYPE_COOKIE) == "large" else "normal",
            ),
            headers={"Cache-Control": "no-store"},
        )

    async def client(self, _: Request) -> Response:
        return FileResponse(AGENT / "static" / "onecard-agent.js", media_type="text/javascript")

    async def failures(self, _: Request) -> Response:
        return Response(client_failures.script(), media_type="text/javascript")

    # -- what the town hall's and the bank's own servers do ---------------------------------------------------------

    async def begin_log_in(self, request: Request) -> Response:
        """The text of one log-in, good for `LOG_IN_S` and for one answer."""
        await _body(request)
        log_in_id, now = secrets.token_hex(16), datetime.now(UTC) + _CHINA
        text = LogInText(
            login_id=log_in_id,
            centre="onecard-samples",
            name="临江市政务服务（示例）",
            client_id="town-hall-sample",
            host=self._origin.partition("//")[2],
            browser="",
            items=("姓名 / Name (name)",),
            time=f"{now:%Y-%m-%d %H:%M:%S} 北京时间 (UTC+8)",
            nonce=secrets.token_hex(16),
        ).encode()
        while len(self._texts) >= LOG_INS:
            del self._texts[next(iter(self._texts))]
        self._texts[log_in_id] = (time.monotonic() + LOG_IN_S, text)
        return JSONResponse({"id": log_in_id, "text": text})

    async def end_log_in(self, request: Request) -> Response:
        """Whether the card signed this text for this origin. Who issued its certificate is asked of the centre."""
        body = await _body(request)
        until, text = self._texts.pop(request.path_params["id"], (0.0, ""))
        if time.monotonic() > until:
            return problem_response(FailureCode.NOT_FOUND, detail="no such log-in, or it is over")
        try:
            certificate = Certificate.from_der(bytes.fromhex(str(body.get("certificate"))))
            certificate.check_term(datetime.now(UTC))
            signature = bytes.fromhex(str(body.get("signature")))
        except (CertificateError, ValueError):
            return problem_response(FailureCode.CERTIFICATE_INVALID)
        if not default_engine().sm2_verify(certificate.public, signed_bytes(text, self._origin), signature):
            return problem_response(FailureCode.SIGNATURE_INVALID)
        return JSONResponse({"signature": "right", "valid_until": f"{certificate.not_after:%Y-%m-%d}"})

    async def activate(self, request: Request) -> Response:
        """The bank's own act; a real one compares the person with the account and tells the centre."""
        body = await _body(request)
        end = str(body.get("bank_card_end"))
        if body.get("is_same_person") is not True or not _BANK_END.fullmatch(end):
            return problem_response(FailureCode.INPUT_INVALID, detail="the papers of one person, and a bank card")
        return JSONResponse({"number": f"{datetime.now(UTC) + _CHINA:%Y%m%d}-{secrets.token_hex(3)}"})


def create_samples(origin: str, place: AgentPlace | None = None) -> Starlette:
    """The application; `origin` as a browser writes it. Without `place` the pages look on the usual ports."""
    samples = Samples(origin, place)
    sources = place.sources if place else USUAL_SOURCES
    app = Starlette(
        routes=[
            Route("/", samples.index),
            Route("/onecard-agent.js", samples.client),
            Route("/onecard-agent-failures.js", samples.failures),
            Route("/town-hall/log-ins", samples.begin_log_in, methods=["POST"]),
            Route("/town-hall/log-ins/{id}", samples.end_log_in, methods=["POST"]),
            Route("/bank/activations", samples.activate, methods=["POST"]),
            Route("/{name}", samples.page),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]),
            Middleware(_Policy, sources=sources),
        ],
    )
    mount_static(app, HERE / "static")
    return app


class _Policy:
    """The Content Security Policy that such a page needs: its own files, and the terminal service to connect to."""

    def __init__(self, app: ASGIApp, sources: str) -> None:
        self._app = app
        self._headers = {
            "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
            f"connect-src 'self' {sources}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.lower().encode(), text.encode()) for name, text in self._headers.items()]
            await send(message)

        await self._app(scope, receive, wrapped)


async def _body(request: Request) -> dict[str, Any]:
    """A small JSON object from a page of this origin. Raises HTTPException."""
    is_json = request.headers.get("content-type") == "application/json"
    if not is_json or int(request.headers.get("content-length") or MAX_BODY + 1) > MAX_BODY:
        raise HTTPException(415 if not is_json else 413)
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        raise HTTPException(400) from None
    if not isinstance(body, dict):
        raise HTTPException(400)
    return body
