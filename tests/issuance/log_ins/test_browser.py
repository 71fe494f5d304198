"""One log-in in Chromium: the code read off the screen, the phone app, the number on both, and back at the site.

With ONECARD_SCREENSHOTS set, screenshots go to the git-ignored folder `screenshots`.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from issuance.login.transactions import Transaction
from onecard_ui.code_picture import codes_in
from simulators.wallet.app import create_app
from simulators.wallet.phone import Link, Phone
from simulators.wallet.settings import WalletSettings
from tests.issuance.console.axe import GRAVE, axe_script, faults
from tests.issuance.log_ins.stand import LogIns
from tests.issuance.phone import PASSWORD
from tests.issuance.pictures import take
from tests.issuance.wallet.test_wallet_browser import CHROMIUM, FLAGS, served

playwright_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
playwright_api.expect.set_options(timeout=30_000)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
SHOTS = Path(__file__).parents[3] / "screenshots" / "log_in"
DESK, HAND = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
PHONE = "5" * 32


@dataclass
class Room:
    """A computer with the log-in page and a phone with the app."""

    log_ins: LogIns
    site: str
    wallet: str
    desk: Any
    hand: Any
    wrong: list[str] = field(default_factory=list)

    def watch(self, page: Any) -> None:
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda said: self.wrong.append(said.text) if "load resource" not in said.text else None)

    @property
    def back(self) -> str:
        """Stands for the relying party's own address."""
        return f"{self.site}/healthz"

    async def begin(self, opened: Transaction) -> None:
        cookie = {"name": "onecard-login", "value": opened.browser, "url": self.site}
        await self.desk.context.add_cookies([cookie])
        await self.desk.goto(self.site + opened.path)

    async def look(self, page: Any, name: str) -> None:
        await page.wait_for_load_state()  # without its style sheets a page has other measures
        size = page.viewport_size
        if await page.evaluate("document.documentElement.scrollWidth") > size["width"]:
            self.wrong.append(f"{name}: too wide")
        await take(page, SHOTS / f"{name}-screen.png")
        whole = await page.evaluate("document.documentElement.scrollHeight")
        await page.set_viewport_size(size | {"height": max(size["height"], whole)})
        self.wrong += [f"{name}: {fault}" for fault in await faults(page) if fault.split()[0] in GRAVE]
        await take(page, SHOTS / f"{name}.png")
        await page.set_viewport_size(size)

    async def code(self) -> str:
        picture = Image.open(io.BytesIO(await self.desk.screenshot())).convert("L")
        (found,) = codes_in(picture)
        return str(found.text)

    async def scan(self) -> None:
        await self.hand.goto(f"{self.wallet}/scan")
        await self.hand.fill('[name="text"]', await self.code())
        await self.hand.locator("main form button").click()
        await self.hand.wait_for_url("**/log-ins/*")


@pytest.fixture
async def room(log_ins: LogIns, tmp_path: Path) -> AsyncIterator[Room]:
    axe = await asyncio.to_thread(axe_script)
    if axe is None:
        pytest.skip("axe-core is not installed")
    holder, clock = log_ins.phone, log_ins.centre.clock
    phone = Phone(tmp_path / f"{PHONE}.json")
    phone.take_link(Link(holder.ecard_no, holder.sign_no, "测*", holder.private))
    settings = WalletSettings(log_ins.centre.as_("wallet"), "wallet", tmp_path, lambda: clock().timestamp())
    async with (
        served(log_ins.centre.app) as site,
        served(create_app(settings)) as wallet,
        playwright_api.async_playwright() as play,
    ):
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        pages = []
        for size in (DESK, HAND):
            context = await browser.new_context(viewport=size, locale="zh-CN")
            await context.add_init_script(path=axe)
            pages.append(await context.new_page())
        made = Room(log_ins, site, wallet, *pages)
        await made.hand.context.add_cookies([{"name": "oc_phone", "value": PHONE, "url": wallet}])
        for page in pages:
            made.watch(page)
        yield made
        await browser.close()
    assert made.wrong == []


async def test_a_log_in_from_the_screen_to_the_phone_and_back(room: Room) -> None:
    opened = await room.log_ins.open(scopes=("openid", "profile", "social_security"), redirect_uri=room.back)
    await room.begin(opened)
    await room.look(room.desk, "page-zh")
    await room.desk.locator("#large").click()
    await room.look(room.desk, "page-zh-large")
    await room.desk.goto(f"{room.site}{opened.path}?lang=en")
    await room.look(room.desk, "page-en-large")
    await room.desk.goto(f"{room.site}{opened.path}?lang=zh")
    await room.desk.locator("#large").click()
    await room.scan()
    await room.look(room.hand, "phone-zh")
    await room.hand.goto(f"{room.hand.url}?lang=en")
    await room.look(room.hand, "phone-en")
    await room.desk.get_by_text("已经扫到").wait_for()
    await room.look(room.desk, "page-claimed")
    await room.hand.fill('[name="password"]', PASSWORD)
    async with room.desk.expect_navigation(url=f"{room.back}**"):
        await room.hand.locator(f'button[name="number"][value="{opened.number}"]').click()
    assert "code=" in room.desk.url
    assert "state=s1" in room.desk.url
    await room.hand.get_by_text("Approved").wait_for()


async def test_the_code_renews_itself_and_giving_up_leads_back(room: Room) -> None:
    opened = await room.log_ins.open(redirect_uri=room.back)
    room.log_ins.centre.clock.advance(49)
    await room.begin(opened)
    first = await room.code()
    room.log_ins.centre.clock.advance(2)
    await playwright_api.expect(room.desk.locator(".oc-ring b")).to_have_text(re.compile("[1-4][0-9]"))
    assert await room.code() != first
    async with room.desk.expect_navigation(url=f"{room.back}**"):
        await room.desk.get_by_role("button", name="不登录了，返回").click()
    assert "error=access_denied" in room.desk.url
    await room.desk.goto(room.site + "/login/link")
    await room.look(room.desk, "scanned-elsewhere")
    await room.desk.goto(room.site + opened.path)
    await room.look(room.desk, "page-cancelled")
    await room.desk.goto(f"{room.site}/login/{'0' * 32}")
    await room.look(room.desk, "page-not-found")
