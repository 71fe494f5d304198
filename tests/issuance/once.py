"""What SQLAlchemy and FastAPI work out for each engine and each app, worked out once in a process of tests.

In a service that is once, too; but every test has a database and an app of its own.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from issuance import app, database

_STATEMENTS = 5000
_describe = app._openapi
_engines: dict[str, AsyncEngine] = {}
_descriptions: dict[tuple[int, ...], tuple[list[APIRoute], dict[str, Any]]] = {}
"""By the identities of routes, which live as long as they are kept here."""


def install() -> None:
    database.create_async_engine = _of_one_dialect  # type: ignore[attr-defined]
    app._openapi = _described  # type: ignore[assignment]


def _of_one_dialect(url: Any, **options: Any) -> AsyncEngine:
    """Engines of one dialect compile a statement once."""
    made = create_async_engine(url, query_cache_size=_STATEMENTS, **options)
    first = _engines.get(made.dialect.name)
    if first is None or not hasattr(first.dialect, "server_version_info"):  # before its first connection
        _engines[made.dialect.name] = made
        return made
    engine, model = made.sync_engine, first.sync_engine
    engine.dialect = engine.pool._dialect = model.dialect
    engine._compiled_cache = model._compiled_cache
    return made


def _described(one: FastAPI) -> dict[str, Any]:
    """Apps of the same routes are described by the same words."""
    routes = [route for route in one.routes if isinstance(route, APIRoute)]
    name = tuple(map(id, routes))
    if name not in _descriptions:
        _descriptions[name] = routes, _describe(one)
    return _descriptions[name][1]
