"""The page itself: forms, and a number that changes with what is to be seen."""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from onecard_ui import mount_static, templates
from simulators.panel.parts import Hands, Section

HERE: Final = Path(__file__).parent
LOG: Final = logging.getLogger("simulators.panel")
_HOSTS: Final = ("127.0.0.1", "localhost")
_LONGEST: Final = 4096
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    # Under no-referrer a browser sends `Origin: null` with a form.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class _Guarded(BaseHTTPMiddleware):
    """Other names for this machine, and forms of other sites, are not served."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        own = f"{request.url.scheme}://{request.url.netloc}"
        if request.url.hostname not in _HOSTS or (request.method == "POST" and request.headers.get("origin") != own):
            return PlainTextResponse("this page is for this machine only", 403)
        response = await call_next(request)
        response.headers.update(_HEADERS)
        return response


class _Panel:
    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._turn = threading.Lock()
        self._page = templates(HERE / "templates").get_template("panel.html")

    async def page(self, request: Request) -> Response:
        sections = await run_in_threadpool(self._sections)
        said = request.query_params.get("said", "")
        content = self._page.render(
            title=self._hands.title,
            screen_url=self._hands.screen_url,
            sections=sections,
            version=_version(sections),
            said=said if said in ("stale",) else "",
        )
        return HTMLResponse(content)

    async def version(self, _request: Request) -> Response:
        return JSONResponse({"version": _version(await run_in_threadpool(self._sections))})

    async def act(self, request: Request) -> Response:
        body = await request.body()
        if len(body) > _LONGEST:
            return PlainTextResponse("too much", 413)
        given = parse_qs(body.decode("utf-8", "replace"))
        act, value = given.get("act", [""])[0], given.get("value", [""])[0]
        try:
            await run_in_threadpool(self._do, act, value)
        except ValueError as error:
            LOG.warning("%s: %s", act[:40], error)
            return RedirectResponse("/?said=stale", 303)
        return RedirectResponse("/", 303)

    def _sections(self) -> list[Section]:
        with self._turn:
            return self._hands.sections()

    def _do(self, act: str, value: str) -> None:
        with self._turn:
            self._hands.do(act, value)


def _version(sections: list[Section]) -> str:
    return hashlib.sha256(repr(sections).encode()).hexdigest()[:16]


def create_panel(hands: Hands) -> Starlette:
    panel = _Panel(hands)
    routes = [
        Route("/", panel.page),
        Route("/version", panel.version),
        Route("/act", panel.act, methods=["POST"]),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(_Guarded)])
    mount_static(app, HERE / "static")
    return app


@contextmanager
def running_panel(hands: Hands, listener: socket.socket) -> Iterator[str]:
    """Served by a thread of this process; yields the address."""
    config = uvicorn.Config(create_panel(hands), log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="panel", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
