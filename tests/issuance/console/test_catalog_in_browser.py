"""The catalog in Chromium, one story: a change with a mistake in it, three reviews, a release for a later day."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from issuance.clock import china_date
from tests.issuance.console.axe import axe_script
from tests.issuance.console.catalog_stand import HEBEI, REVIEWERS, provinces
from tests.issuance.console.conftest import Console
from tests.issuance.console.test_pages_in_browser import (
    CHROMIUM,
    FLAGS,
    SHOTS,
    Watch,
    playwright_api,
    served,
    window,
)

__all__ = ["provinces"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
FOLDER = SHOTS / "catalog"


@pytest.mark.timeout(600)
async def test_from_a_mistake_to_a_release(provinces: Console) -> None:
    script = axe_script()
    wrong: list[str] = []
    async with served(provinces) as origin, playwright_api.async_playwright() as play, AsyncExitStack() as stack:
        chromium = await play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

        async def as_clerk(login: str, language: str = "zh") -> Watch:
            watch: Watch = await stack.enter_async_context(window(chromium, origin, language, script))
            await watch.log_in(provinces, login)
            watch.wrong = wrong
            return watch

        at = await _edited(await as_clerk("ji-edit"))
        for login in REVIEWERS:
            watch = await as_clerk(login, "en" if login == "jin-review" else "zh")
            await watch.open(at)
            if login == "jin-review":
                await watch.look(FOLDER / "review-en.png")
            await watch.page.click("button[name=accepts][value=true]")
            await watch.page.wait_for_selector(".oc-alert[data-tone=ok]")
        chief = await as_clerk("jing-chief")
        later = china_date(provinces.centre.clock()) + timedelta(days=27)
        await chief.open(at)
        await chief.page.click("a[href$='/release']")
        await chief.page.fill("#effective", later.isoformat())
        await chief.page.fill("#reason", "三地一致")
        await chief.look(FOLDER / "release.png")
        await chief.page.click("main form [type=submit]")
        await chief.page.wait_for_selector("text=已发布。")
        await chief.look_at(at.removeprefix("/console") + "?view=course", FOLDER / "course.png")
        await chief.look_at("/catalog", FOLDER / "versions.png")
        assert await chief.page.locator(f"text={later.isoformat()}").count() == 1
        await chromium.close()
    assert wrong == []
    if script is None:
        pytest.skip("axe-core is not there: npm or its registry is missing; everything else was checked")


async def _edited(watch: Watch) -> str:
    """A draft handed in; the address of its page."""
    page = watch.page
    await watch.open("/console/catalog")
    await page.fill("#reason", "即时制卡写明年龄")
    await page.click("main form [type=submit]")
    await page.wait_for_url("**/catalog/*said=*")
    at = page.url.removeprefix(watch.origin).partition("?")[0]
    await watch.open(f"{at}/items")
    await watch.look(FOLDER / "items.png")
    await watch.open(f"{at}/items/{HEBEI}")
    await watch.look(FOLDER / "editor.png")
    await page.fill("[name='rule.age_from']", "16")
    await page.wait_for_selector("#preview >> text=年满16岁")
    await page.fill("[name='name.en']", "")
    await page.fill("[name='change.zh']", "写明年龄")
    await page.fill("[name='change.en']", "Age named")
    await _send(page)
    await page.wait_for_selector("[id='name.en-error']")
    await playwright_api.expect(page.locator("[id='name.en']")).to_be_focused(timeout=30_000)
    assert (await page.input_value("[name='rule.age_from']")) == "16"
    (fault,) = watch.wrong
    assert "400" in fault
    watch.wrong.clear()
    await watch.look(FOLDER / "editor-fault.png")
    await page.fill("[name='name.en']", "Card made at once")
    await _send(page)
    await page.wait_for_selector("text=已保存")
    await watch.open(at)
    await watch.look(FOLDER / "diff.png")
    await page.click("a[href$='/steps/hand_in']")
    await page.click("main form [type=submit]")
    await page.wait_for_selector("text=已送审")
    return at


async def _send(page: Any) -> None:
    await page.click(".con-end--bar [type=submit].btn-primary")
