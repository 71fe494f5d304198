"""Puts the agent together as one FastAPI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from apdu.readers import ReaderService
from cardlib.client_auth import ClientAuth, ClientKey
from terminal_agent import page, pin_page, problems
from terminal_agent.agent import Agent
from terminal_agent.centre import HttpIssuanceClient, IssuanceClient
from terminal_agent.endpoints import PROBLEM_SCHEMA, router
from terminal_agent.guard import Guard
from terminal_agent.schemas import Problem
from terminal_agent.settings import AgentSettings


def create_app(settings: AgentSettings, readers: ReaderService, *, issuance: IssuanceClient | None = None) -> FastAPI:
    """The HTTP application; the running parts are at `app.state.agent` and live between lifespan start and end.

    Without `issuance` the client is made from the settings, if they name a centre. The API documents itself at
    `/openapi.json` only: the usual viewers load scripts from elsewhere.
    """
    agent = Agent(settings, readers, issuance or centre_of(settings))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await agent.start()
        try:
            yield
        finally:
            await agent.stop()

    app = FastAPI(
        title="OneCard terminal agent",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.agent = agent
    app.include_router(router)
    page.install(app, settings)
    pin_page.install(app, agent.dialog)
    problems.install(app, router.routes)
    app.openapi = lambda: _description(app)  # type: ignore[method-assign]
    app.add_middleware(Guard, allowed_origins=settings.allowed_origins, ports=agent.ports)
    return app


def _description(app: FastAPI) -> dict[str, Any]:
    """The generated description with the problem document, which no route returns by itself."""
    if app.openapi_schema is None:
        app.openapi_schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        model = Problem.model_json_schema(ref_template=PROBLEM_SCHEMA.replace("Problem", "{model}"))
        app.openapi_schema["components"]["schemas"] |= model.pop("$defs") | {"Problem": model}
    return app.openapi_schema


def centre_of(settings: AgentSettings) -> IssuanceClient | None:
    """The configured centre; requests are signed when a client key is configured. Raises ClientKeyError."""
    if settings.issuance_url is None:
        return None
    auth = ClientAuth(ClientKey.load(settings.client_key)) if settings.client_key is not None else None
    return HttpIssuanceClient(settings.issuance_url, auth=auth, timeout_s=settings.network_timeout_s)
