"""The console as an application of its own below `/console`: its pages are no part of the API's description."""

from __future__ import annotations

from fastapi import FastAPI

from issuance.console import (
    alerts,
    applications,
    approvals,
    audit,
    batch_files,
    batches,
    bindings,
    cards,
    cases,
    catalog,
    catalog_import,
    catalog_items,
    collect,
    counter,
    dashboard,
    exchange,
    found,
    guard,
    home,
    journeys,
    locking,
    login,
    me,
    offices,
    person_files,
    progress,
    queues,
    reviews,
    scan,
    search,
    slip_pages,
    staff,
    stock,
    stock_acts,
    terminals,
)
from issuance.console.page import HERE, ROOT
from issuance.services import Services
from onecard_ui import mount_static

_DOOR = (login, scan, bindings, me, locking)
_COUNTER = (home, search, slip_pages, collect, applications, reviews, approvals, cards, counter)
_BACK_OFFICE = (stock_acts, stock, batch_files, batches, found, exchange, offices, staff, audit)
_WATCH = (queues, cases, dashboard, alerts, terminals, journeys, person_files)
_CATALOG = (catalog_items, catalog_import, catalog)
_PAGES = (*_DOOR, *_COUNTER, *_BACK_OFFICE, *_WATCH, *_CATALOG)


def install(app: FastAPI, services: Services) -> None:
    """Add `/console`, the citizens' `/progress` and `/static` to the service."""
    console, public = _pages(services), _pages(services)
    guard.install(console, guard.content_security_policy(" ".join(services.settings.agent_urls)))
    guard.install(public, guard.content_security_policy(""), failure_page="site_failure.html")
    for module in _PAGES:
        console.router.routes.extend(module.router.routes)  # see `issuance.app.create_app`
    public.router.routes.extend(progress.router.routes)
    mount_static(app, HERE / "static")
    app.mount(progress.ROOT, public)
    app.mount(ROOT, console)


def _pages(services: Services) -> FastAPI:
    made = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    made.state.services = services
    return made
