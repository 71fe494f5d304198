"""The console's log-in by scan in Chromium: bind, log in, lock and unlock, log out. Screenshots go to `screenshots`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.issuance.conftest import ok
from tests.issuance.console.axe import GRAVE, axe_script, faults
from tests.issuance.console.test_scan import Stand, now, stand
from tests.issuance.log_ins.stand import LogIns
from tests.issuance.wallet.test_wallet_browser import CHROMIUM, FLAGS, served

__all__ = ["stand"]
playwright_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
SHOTS = Path(__file__).parents[3] / "screenshots" / "console"
SIZE = {"width": 1280, "height": 800}


class Desk:
    """A clerk's computer, and the clerk's phone."""

    def __init__(self, stand: Stand, page: Any, site: str) -> None:
        self.stand, self.page, self.site = stand, page, site
        self.wrong: list[str] = []
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None)

    async def look(self, name: str) -> None:
        await self.page.wait_for_load_state()  # without its style sheets a page has other measures
        await self.page.screenshot(path=str(SHOTS / f"scan-{name}.png"))
        if await self.page.evaluate("document.documentElement.scrollWidth") > SIZE["width"]:
            self.wrong.append(f"{name}: too wide")
        if not name.endswith("-en"):
            self.wrong += [f"{name}: {fault}" for fault in await faults(self.page) if fault.split()[0] in GRAVE]

    async def both(self, path: str, name: str) -> None:
        for language in ("en", "zh"):
            await self.page.goto(f"{self.site}{path}?lang={language}")
            await self.look(f"{name}-{language}")

    async def approve(self, ends_at: str) -> None:
        """By the phone, at the log-in page that is shown; its script wakes and leads on."""
        await self.page.wait_for_url(f"{self.site}/login/*")
        path = self.page.url.removeprefix(self.site)
        log_ins = LogIns(self.stand.console.centre)
        log_ins.phone = self.stand.phones["wang"]
        link = await (await self.page.request.get(f"{self.site}{path}/link")).json()
        asked = ok(await log_ins.scan(link["url"].partition("#")[2]), 201)
        ((number,),) = self.stand.sql("SELECT number FROM logins WHERE id = :id", id=asked["id"])
        ok(await log_ins.approve(asked, number))
        await self.page.wait_for_url(f"{self.site}{ends_at}")


async def test_a_clerk_binds_logs_in_unlocks_and_leaves_by_scan(stand: Stand, tmp_path: Path) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    axe = await asyncio.to_thread(axe_script)
    if axe is None:
        pytest.skip("axe-core is not installed")
    centre = stand.console.centre
    async with served(centre.app) as site, playwright_api.async_playwright() as play:
        await _register(stand, site, tmp_path / "served.json")
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(viewport=SIZE, locale="zh-CN")
        await context.add_init_script(path=axe)
        desk = Desk(stand, await context.new_page(), site)
        await _bind(desk)
        await _come_and_go(desk)
        await browser.close()
    assert desk.wrong == []


async def _register(stand: Stand, site: str, file: Path) -> None:
    services = stand.console.centre.app.state.services
    object.__setattr__(services.settings, "login_issuer", site)  # known only now that it is served
    urls = {"redirect_uris": [f"{site}/console/login/back"], "logout_uris": [f"{site}/console/login/left"]}
    party = {"id": "served", "name": "经办工作台", "sector": "console"} | urls
    told = ok(await stand.console.centre.as_("operator").post("/v1/relying-parties", json=party), 201)
    _kept(told, file)
    services.login_provider.path, services.login_provider.transport = file, None


def _kept(told: dict[str, Any], file: Path) -> None:
    file.write_text(json.dumps(told), "utf-8")


async def _bind(desk: Desk) -> None:
    page, clerk = desk.page, desk.stand.console.clerks["caiji"]
    await desk.both("/console/login", "log-in")
    desk.stand.console.centre.clock.advance(30)
    for name, text in {"login": "caiji", "password": clerk.password, "code": clerk.code(now(desk.stand))}.items():
        await page.fill(f'main [name="{name}"]', text)
    await page.locator('form[action="/console/login"] button').click()
    await page.wait_for_url("**/console/")
    await desk.both("/console/me", "not-bound")
    await page.locator('form[action="/console/me/scan"] button').click()
    await desk.approve("/console/me/scan")
    await desk.both("/console/me/scan", "bind")
    await page.fill('main [name="password"]', clerk.password)
    await page.locator('form[action="/console/me/scan/confirm"] button').click()
    await page.wait_for_url("**/console/me?*")
    await desk.look("bound")
    await page.locator('header form[action="/console/logout"] button').click()
    await page.wait_for_url("**/console/login?*")


async def _come_and_go(desk: Desk) -> None:
    page = desk.page
    await page.locator('form[action="/console/login/scan"] button').click()
    await desk.approve("/console/")
    await page.locator("#lock-now button").click()
    await page.locator("#lock[open]").wait_for()
    await desk.look("locked")
    async with page.context.expect_page() as opened:
        await page.locator('#lock form[action="/console/login/unlock"] button').click()
    other = Desk(desk.stand, await opened.value, desk.site)
    await other.approve("/console/")
    await page.locator("#lock[open]").wait_for(state="detached")
    await other.page.close()
    await page.locator('header form[action="/console/logout"] button').click()
    await page.wait_for_url("**/console/login?*")
    assert "已退出" in await page.inner_text("main"), "by way of the provider"
    desk.wrong += other.wrong
