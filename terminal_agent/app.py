"""Puts the agent together as one FastAPI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from apdu.readers import ReaderService
from terminal_agent import diagnosis, page, pairing_page, pin_page, problems
from terminal_agent.agent import Agent
from terminal_agent.catalog.configuration import with_kept
from terminal_agent.catalog.endpoints import router as catalog_router
from terminal_agent.centre import HttpIssuanceClient, IssuanceClient
from terminal_agent.device_endpoints import router as device_router
from terminal_agent.endpoints import PROBLEM_SCHEMA, router
from terminal_agent.guard import Guard
from terminal_agent.journal.endpoints import router as journal_router
from terminal_agent.lease_endpoints import router as lease_router
from terminal_agent.pairing_endpoints import router as pairing_router
from terminal_agent.schemas import Problem
from terminal_agent.settings import AgentSettings, Profile

if TYPE_CHECKING:
    from terminal_agent.kiosk.desk import KioskDesk

ROUTERS: Final = (router, catalog_router, lease_router, pairing_router, journal_router, device_router)
"""Every route of the API that the description shows."""


def create_app(settings: AgentSettings, readers: ReaderService, *, issuance: IssuanceClient | None = None) -> FastAPI:
    """The HTTP application; the running parts are at `app.state.agent` and live between lifespan start and end.

    Without `issuance` the client is made from the settings, if they name a centre. The API documents itself at
    `/openapi.json` only: the usual viewers load scripts from elsewhere.
    """
    settings = with_kept(settings)
    centre = issuance or centre_of(settings)
    agent = Agent(settings, readers, centre)
    kiosk = _kiosk(agent, centre)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await agent.start()
        if kiosk is not None:
            kiosk.start()
        try:
            yield
        finally:
            if kiosk is not None:
                await kiosk.stop()
            await agent.stop()

    app = FastAPI(
        title="OneCard terminal agent",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.agent, app.state.kiosk = agent, kiosk
    if kiosk is not None:
        from terminal_agent.kiosk import pages

        pages.install(app, kiosk)
    for part in ROUTERS:
        app.include_router(part)
    page.install(app, settings)
    pin_page.install(app, agent.dialog, home=None if kiosk is None else "/kiosk")
    pairing_page.install(app, agent.pairings)
    diagnosis.install(app, agent)
    if agent.gate is not None:
        from terminal_agent.transit.pages import install as install_gate

        install_gate(app, agent, agent.gate)
    problems.install(app, [route for part in ROUTERS for route in part.routes])
    app.openapi = lambda: _description(app)  # type: ignore[method-assign]
    app.add_middleware(Guard, origins=agent.origins, ports=agent.ports, pairings=agent.pairings)
    return app


def _kiosk(agent: Agent, centre: IssuanceClient | None) -> KioskDesk | None:
    """Where the agent stands in a kiosk; elsewhere nothing of it is loaded."""
    if agent.settings.profile is not Profile.KIOSK:
        return None
    from terminal_agent.kiosk.desk import KioskDesk

    return KioskDesk(agent, centre)


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
    from cardlib.client_auth import ClientAuth, ClientKey

    if settings.client_key is None:
        return HttpIssuanceClient(settings.issuance_url, timeout_s=settings.network_timeout_s)
    key = ClientKey.load(settings.client_key)
    return HttpIssuanceClient(
        settings.issuance_url,
        auth=ClientAuth(key),
        sign=key.sign,
        client_id=key.client_id,
        timeout_s=settings.network_timeout_s,
    )
