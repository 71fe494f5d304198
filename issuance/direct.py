"""What is asked most, taken to its endpoint past the framework's routing, dependencies and serialisation.

Only what is well formed goes this way. Everything else goes on to the app, which refuses it in the same words as ever
and describes the endpoint: an endpoint is written once, as any other is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request, Response
from pydantic import BaseModel, TypeAdapter
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardlib.client_auth import IDEMPOTENCY_HEADER
from issuance.clients.schemas import Role
from issuance.idempotency import OptionalKey
from issuance.problems import ProblemError, response_for
from issuance.unit import Desk, desk_of

JSON: Final = "application/json"
_KEY: Final[TypeAdapter[str | None]] = TypeAdapter(OptionalKey)


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """A POST to exactly `path` for callers with one of `roles`; nothing that is None is told."""

    path: str
    body: type[BaseModel]
    roles: tuple[Role, ...]
    endpoint: Callable[[Any, Desk, Response, str | None], Awaitable[BaseModel]]


@dataclass(frozen=True, slots=True)
class PlainRoute:
    """`method` at exactly `path`, for an endpoint that reads the request itself and answers every refusal itself."""

    method: str
    path: str
    endpoint: Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class PageRoute:
    """GET of `root`, a slash, and one more part that `part` fits: for `app`, which answers every refusal itself."""

    root: str
    part: re.Pattern[str]
    path: str
    """Its name in the log and the metrics."""
    app: ASGIApp


class DirectRoutes:
    """ASGI, within the request middleware: its limits, headers, metrics and log are those of every request."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: Iterable[DirectRoute],
        plain: Iterable[PlainRoute] = (),
        pages: Iterable[PageRoute] = (),
    ) -> None:
        self._app = app
        self._routes = {route.path: route for route in routes}
        self._plain = {(route.method, route.path): route for route in plain}
        self._pages = {page.root: page for page in pages}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = self._page(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if page is not None:
            scope["route"] = page
            await page.app(scope, receive, send)
            return
        plain = self._plain.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if plain is not None:
            scope["route"] = plain
            response = await plain.endpoint(Request(scope, receive))
            await response(scope, receive, send)
            return
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            await self._app(scope, receive, send)
            return
        except ProblemError as refusal:  # too large, or too slow
            await response_for(refusal)(scope, receive, send)
            return
        try:
            asked = _asked(route, request, body)
        except (ValueError, RecursionError):  # ValidationError and UnicodeDecodeError are ValueErrors
            await self._app(scope, _given(body, receive), send)
            return
        scope["route"] = route
        response = await _answer(route, request, *asked)
        await response(scope, receive, send)

    def _page(self, scope: Scope) -> PageRoute | None:
        root, _, part = scope["path"].rpartition("/")
        page = self._pages.get(root)
        return page if page is not None and page.part.fullmatch(part) else None


def _asked(route: DirectRoute, request: Request, body: bytes) -> tuple[BaseModel, str | None]:
    """Body and idempotency key, by the same types as the framework's. Raises ValueError for what it is to judge."""
    if request.headers.get("Content-Type") != JSON:
        raise ValueError("not plain JSON")
    asked = route.body.model_validate(json.loads(body))
    return asked, _KEY.validate_python(request.headers.get(IDEMPOTENCY_HEADER))


async def _answer(route: DirectRoute, request: Request, asked: BaseModel, key: str | None) -> Response:
    response = Response(media_type=JSON)
    try:
        told = await route.endpoint(asked, await desk_of(request, route.roles), response, key)
    except ProblemError as refusal:
        return response_for(refusal)
    response.body = told.model_dump_json(exclude_none=True).encode()
    response.headers["Content-Length"] = str(len(response.body))
    return response


def _given(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, once more."""
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
