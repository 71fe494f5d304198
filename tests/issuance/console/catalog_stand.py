"""Clerks of three provinces who keep the catalog together."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from apps_catalog.catalog import Catalog
from issuance.clerks.acts import ClerkRole
from onecard_cli import demo_staff
from onecard_cli.demo_staff import DemoClerk, make_staff
from tests.issuance.conftest import Centre
from tests.issuance.console.conftest import Browser, Console
from tests.issuance.furnished import furnished

_R = ClerkRole
CLERKS = {
    "110000": {
        "jing-edit": ("京编辑", (_R.CATALOG_EDITOR,)),
        "jing-both": ("京两职", (_R.CATALOG_EDITOR, _R.CATALOG_REVIEWER)),
        "jing-review": ("京审核", (_R.CATALOG_REVIEWER,)),
        "jing-chief": ("京监管", (_R.SUPERVISOR,)),
    },
    "120000": {"jin-review": ("津审核", (_R.CATALOG_REVIEWER,))},
    "130000": {"ji-edit": ("冀编辑", (_R.CATALOG_EDITOR,)), "ji-review": ("冀审核", (_R.CATALOG_REVIEWER,))},
    "130100": {"shi-edit": ("石编辑", (_R.CATALOG_EDITOR, _R.CATALOG_REVIEWER))},
}
REVIEWERS = ("jing-review", "jin-review", "ji-review")
JOINT, HEBEI = "joint-culture-library", "130000-hrss-instant-issue"


async def _made(centre: Centre) -> list[DemoClerk]:
    found, kept = [], demo_staff.CLERKS
    try:
        for region, clerks in CLERKS.items():
            demo_staff.CLERKS = clerks
            found += await make_staff(centre.app.state.services, region)
    finally:
        demo_staff.CLERKS = kept
    return found


@pytest.fixture
async def provinces(centre: Centre) -> AsyncIterator[Console]:
    staff = await furnished(centre, "catalog", lambda: _made(centre))
    console = Console(centre, {clerk.login: clerk for clerk in staff})
    yield console
    for browser in console.browsers:
        await browser.aclose()


async def drafted(console: Console, login: str = "ji-edit", language: str = "zh") -> tuple[Browser, str]:
    """An editor's browser and the address of the draft it began."""
    browser = await console.log_in(login, language)
    await browser.get("/console/catalog")
    await browser.post("/console/catalog/draft", reason="增加扫码")
    assert "已起草" in browser.words or language == "en", browser.words
    return browser, browser.path


async def current(centre: Centre) -> Catalog:
    services = centre.app.state.services
    services.catalogs.forget()
    found: Catalog = await services.catalogs.current()
    return found
