"""The public catalog in Chromium: somebody looks for a library, asks whether the card will do, and prints the page.

Nothing leaves the origin, nothing is refused by the CSP, nothing is wider than the screen down to 195 px, axe-core
finds nothing at all. With ONECARD_SCREENSHOTS set, screenshots go to the git-ignored folder `screenshots`.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from apps_catalog import Text
from tests.issuance.catalog_site.conftest import TODAY, Site, changed
from tests.issuance.console.axe import axe_script, faults
from tests.issuance.pictures import ARE_WANTED, take
from tests.issuance.served import served

playwright_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
playwright_api.expect.set_options(timeout=30_000)
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
SHOTS = Path(__file__).parents[3] / "screenshots" / "catalog"
DESKTOP, PHONE, ZOOMED = ({"width": w, "height": h} for w, h in ((1280, 800), (390, 844), (195, 422)))
LIBRARY = "110000-culture-ecard-library"
A4_PAPER = {"width": 688, "height": 971}


class Reader:
    """Somebody's browser, and everything wrong with what it showed."""

    def __init__(self, page: Any, origin: str, *, has_axe: bool) -> None:
        self.page, self.origin, self._has_axe = page, origin, has_axe
        self.wrong: list[str] = []
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda said: self.wrong.append(f"{page.url}: {said.text}"))
        page.on("request", lambda asked: self._asked(asked.url))

    def _asked(self, url: str) -> None:
        if not url.startswith(f"{self.origin}/"):
            self.wrong.append(f"left the origin: {url}")

    async def go(self, path: str) -> None:
        await self.page.goto(f"{self.origin}/catalog/{path}")

    async def look(self, name: str, *sizes: dict[str, int], is_full: bool = False, has_axe: bool = True) -> None:
        await self.page.wait_for_load_state()  # without its style sheets a page has other measures
        if self._has_axe and has_axe:
            self.wrong += [f"{name}: {fault}" for fault in await faults(self.page)]
        for size in sizes or (DESKTOP,):
            await self.page.set_viewport_size(size)
            width = await self.page.evaluate("document.documentElement.scrollWidth")
            if width > size["width"]:
                self.wrong.append(f"{name}: {width} px wide on {size['width']}")
            await take(self.page, SHOTS / f"{name}-{size['width']}.png", is_full=is_full or size["width"] < 400)
        await self.page.set_viewport_size(DESKTOP)

    async def paper(self, name: str) -> int:
        """The page as printed; how many sheets of A4."""
        await self.page.emulate_media(media="print")
        await self.page.set_viewport_size(A4_PAPER)
        await take(self.page, SHOTS / f"{name}-print.png", is_full=True)
        shown = await self.page.evaluate(
            "[...document.querySelectorAll('header.oc-bar, form, nav, button')].filter(e => e.offsetParent).length"
        )
        if shown:
            self.wrong.append(f"{name}: {shown} parts of the screen on paper")
        printed: bytes = await self.page.pdf(prefer_css_page_size=True, format="A4")
        await self.page.emulate_media(media="screen")
        await self.page.set_viewport_size(DESKTOP)
        return len(re.findall(rb"/Type /Page\b", printed))


@pytest.fixture
async def reader(site: Site) -> AsyncIterator[Reader]:
    axe = await asyncio.to_thread(axe_script)
    async with served(site.app) as origin, playwright_api.async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(viewport=DESKTOP, locale="zh-CN")
        if axe is not None:
            await context.add_init_script(path=axe)
        made = Reader(await context.new_page(), origin, has_axe=axe is not None)
        yield made
        await browser.close()
    assert made.wrong == []


async def test_from_a_word_to_a_printed_page_and_the_versions(reader: Reader, site: Site) -> None:
    page, expect = reader.page, playwright_api.expect
    await reader.go("")
    await reader.look("list", DESKTOP, PHONE, has_axe=False)
    await page.fill("#q", "借书")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=3)).to_have_count(3)
    await page.select_option("#region", "110000")
    await page.select_option("#holder_region", "130000")
    await page.select_option("#carrier", "qr")
    await page.get_by_role("button", name="按这些条件筛选").click()
    await expect(page).to_have_url(re.compile(r"\?q=[^&]+&region=110000&holder_region=130000&carrier=qr$"))
    await reader.look("filtered", DESKTOP, PHONE, ZOOMED)

    await page.get_by_role("link", name="北京电子社保卡借书").click()
    await expect(page.locator(".cat-verdict")).to_have_text("要看情况")
    await page.select_option("#card", "3.0")
    await page.get_by_role("button", name="看结果").click()
    await expect(page).to_have_url(re.compile(r"holder_region=130000&region=110000&card=3.0#can-i$"))
    await reader.look("item", DESKTOP, PHONE, ZOOMED, is_full=True)
    assert await reader.paper("item") <= 2
    await page.go_back()
    await page.go_back()
    await expect(page.locator("#carrier")).to_have_value("qr")

    await page.get_by_role("link", name="English").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("What one card can do")
    await page.get_by_role("button", name="Large type").click()
    await reader.go("?domain=transport")
    await expect(page.locator("html")).to_have_attribute("data-type", "large")
    await reader.look("large-en", DESKTOP, PHONE)
    await _first_result_on_the_first_screen(reader)
    await page.get_by_role("link", name="中文").click()
    await reader.look("large", PHONE, has_axe=False)
    await _what_is_not_there_and_what_will_be(reader, site)


async def _first_result_on_the_first_screen(reader: Reader) -> None:
    """Large type on a phone; the filters unfold by keyboard, and on a desktop they always stand open."""
    page, expect = reader.page, playwright_api.expect
    await page.set_viewport_size(PHONE)
    first = await page.locator(".oc-apps h3").first.bounding_box()
    assert first["y"] + first["height"] < PHONE["height"]
    filters = page.locator("#region")
    await expect(filters).to_be_hidden()
    await page.locator(".cat-filter summary").press("Enter")
    await expect(filters).to_be_visible()
    await reader.look("unfolded-large-en", PHONE)
    await page.set_viewport_size(PHONE)
    await page.locator(".cat-filter summary").press("Enter")
    await expect(filters).to_be_hidden()
    await page.set_viewport_size(DESKTOP)
    await expect(filters).to_be_visible()


async def _what_is_not_there_and_what_will_be(reader: Reader, site: Site) -> None:
    await reader.page.get_by_role("button", name="大字").click()
    fields = {"areas": ("110000", "120000"), "version": 9, "change": Text("天津也能借", "Also in Tianjin")}
    newer = changed(site.catalog, "2027.01.1", gone="joint-transport-ferry", **{LIBRARY.replace("-", "_"): fields})
    site.shelf.released = {TODAY: changed(site.catalog, "2026.47.9"), date(2027, 1, 1): newer}
    for name, path in (
        ("empty", "?q=公园&holder_region=other&carrier=bank_account"),
        ("changes", "changes"),
        ("planned", "items/joint-hrss-digital-yuan?holder_region=130000"),
    ):
        await reader.go(path)
        await reader.look(name, DESKTOP, PHONE, is_full=True)
    if ARE_WANTED:
        await reader.go("?domain=transport")
        await reader.paper("list")
