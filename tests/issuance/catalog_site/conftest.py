"""The public site by itself: its pages over catalogs in memory, with a clock that tests set and no database."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from apps_catalog import Catalog, load
from apps_catalog.version_rules import order
from issuance.catalog.current import Release
from issuance.catalog.site import pages
from issuance.console.page import HERE
from issuance.problems import ProblemError
from onecard_ui import mount_static

NOON = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
TODAY = date(2026, 11, 22)


@dataclass
class Shelf:
    """Stands for `issuance.catalog.current.Catalogs`: versions by the day they take effect."""

    packaged: Catalog
    today: date = TODAY
    released: dict[date, Catalog] = field(default_factory=dict)

    async def current(self, day: date | None = None) -> Catalog:
        past = [start for start in self.released if start <= (day or self.today)]
        return self.released[max(past)] if past else self.packaged

    async def releases(self) -> tuple[Release, ...]:
        found = [Release(known.version, start, TODAY, "") for start, known in self.released.items()]
        day = self.packaged.published
        return tuple(sorted(found, key=lambda one: order(one.number))) or (
            Release(self.packaged.version, day, day, ""),
        )

    async def get(self, number: str) -> Catalog:
        known = {catalog.version: catalog for catalog in (self.packaged, *self.released.values())}
        if number not in known:
            raise ProblemError("NOT_FOUND", "no such version of the catalog")
        return known[number]


@dataclass
class Site:
    app: FastAPI
    http: httpx.AsyncClient
    shelf: Shelf

    @property
    def catalog(self) -> Catalog:
        return self.shelf.packaged

    async def page(self, path: str = "", status: int = 200, **headers: str) -> str:
        answer = await self.http.get(f"/catalog/{path}", headers=headers)
        assert answer.status_code == status, f"{path}: {answer.status_code}"
        obeys(answer)
        return answer.text

    async def ids(self, path: str) -> list[str]:
        """Items listed, in the order of the page."""
        return ids_on(await self.page(path))


def ids_on(page: str) -> list[str]:
    return re.findall(r'<h3><a href="/catalog/items/([a-z0-9-]+)', page)


def obeys(answer: httpx.Response) -> None:
    """No script or style in the page, and a policy that forbids any."""
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\son\w+=|javascript:", answer.text)
    assert "Traceback" not in answer.text


def changed(catalog: Catalog, version: str, *, gone: str = "", **fields: Any) -> Catalog:
    """Another version, without the item `gone` and with fields of items changed: `item_id={...}`, `-` as `_`."""
    items = [replace(item, **fields.get(item.id.replace("-", "_"), {})) for item in catalog.items if item.id != gone]
    return Catalog(replace(catalog.head, version=version), items)


@pytest.fixture(scope="session")
def shipped() -> Catalog:
    return load()


@pytest.fixture
async def site(shipped: Catalog) -> AsyncIterator[Site]:
    shelf, app = Shelf(shipped), FastAPI()
    settings = SimpleNamespace(login_issuer="https://card.example", agent_urls=())
    services: Any = SimpleNamespace(catalogs=shelf, clock=lambda: NOON, settings=settings)
    pages.install(app, services)
    mount_static(app, HERE / "static")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://centre", follow_redirects=True) as http:
        yield Site(app, http, shelf)
