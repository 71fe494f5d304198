"""The issuance service as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from apps_catalog.catalog import Catalog
from apps_catalog.catalog import load as load_catalog
from cardlib.client_auth import CLERK_HEADER
from hsm.api import KeyService
from issuance import operations, problems
from issuance.applications import endpoints as applications
from issuance.audit import endpoints as audit
from issuance.audit.refusals import UnprovedLimit
from issuance.cards import endpoints as cards
from issuance.catalog import endpoints as catalog_endpoints
from issuance.clients import endpoints as clients
from issuance.clock import Clock, system_clock
from issuance.database import Database
from issuance.ecards import endpoints as ecards
from issuance.metrics import Metrics
from issuance.middleware import RequestMiddleware
from issuance.rules import load_rules
from issuance.sealing import Sealer, ensure_seal_key
from issuance.services import Services
from issuance.sessions import endpoints as sessions
from issuance.sessions.runner import RunnerCache
from issuance.settings import Settings
from issuance.stock import endpoints as stock

TITLE = "OneCard issuance"
_OPEN_PATHS = frozenset({"/healthz", "/v1/catalog"})


def create_app(
    settings: Settings, keys: KeyService, *, clock: Clock = system_clock, catalog: Catalog | None = None
) -> FastAPI:
    """Build the service over a migrated database (`issuance.database.migrate`) and an open key service.

    The caller keeps and closes `keys`; the app closes its database connections on shutdown.
    """
    ensure_seal_key(keys)
    services = Services(
        settings=settings,
        keys=keys,
        sealer=Sealer(keys),
        database=Database(settings.database_url, timeout_s=settings.database_timeout_s),
        rules=load_rules(settings.rules_path),
        catalog=load_catalog(settings.catalog_path) if catalog is None else catalog,
        clock=clock,
        metrics=Metrics(),
        runners=RunnerCache(),
        unproved=UnprovedLimit(),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await services.database.close()

    app = FastAPI(title=TITLE, version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.services = services
    problems.install(app)
    app.add_middleware(
        RequestMiddleware,
        metrics=services.metrics,
        body_limit=settings.body_limit_bytes,
        body_timeout_s=settings.body_timeout_s,
    )
    for module in (applications, sessions, ecards, cards, stock, clients, audit, catalog_endpoints, operations):
        app.include_router(module.router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The generated description plus what every endpoint shares: problems, signed requests, the clerk header."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
    components = schema.setdefault("components", {})
    model = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"] |= model.pop("$defs", {}) | {"Problem": model}
    components["securitySchemes"] = {
        "clientAssertion": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "One Ed25519-signed assertion per request, see cardlib.client_auth",
        }
    }
    problem = {
        "description": "Problem details (RFC 9457)",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    clerk = {
        "name": CLERK_HEADER,
        "in": "header",
        "required": False,
        "description": "Who sits at the client; recorded in the audit trail",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    }
    for path, operations_of_path in schema["paths"].items():
        for operation in operations_of_path.values():
            operation["responses"]["default"] = problem
            if "422" in operation["responses"]:
                operation["responses"]["422"] = problem
            if path not in _OPEN_PATHS:
                operation["security"] = [{"clientAssertion": []}]
                operation.setdefault("parameters", []).append(clerk)
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    app.openapi_schema = schema
    return schema
