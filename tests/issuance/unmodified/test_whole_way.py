"""One log-in as a person sees it: the site, the log-in page, the phone that scans its picture, and the site again.

Screenshots go to the git-ignored folder `screenshots`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from onecard_ui.code_picture import codes_in
from tests.issuance.phone import PASSWORD
from tests.issuance.unmodified.provider import PHONE, Loop, OneCard, any_port, origin_of
from tests.issuance.unmodified.test_kits import kit_module

SHOTS = Path(__file__).parents[3] / "screenshots" / "whole_way"
DESK, HAND = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


class Screens:
    """A computer and a phone; what went wrong on either."""

    def __init__(self, chromium: Any, wallet: str) -> None:
        self.wrong: list[str] = []
        self.desk, self.hand = (self._screen(chromium, size) for size in (DESK, HAND))
        self.hand.context.add_cookies([{"name": "oc_phone", "value": PHONE, "url": wallet}])

    def _screen(self, chromium: Any, size: dict[str, int]) -> Any:
        page = chromium.new_context(viewport=size, locale="zh-CN").new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda said: self.wrong.append(said.text) if "load resource" not in said.text else None)
        return page

    def look(self, page: Any, name: str) -> bytes:
        page.wait_for_load_state()  # without its style sheets a page has other measures
        if page.evaluate("document.documentElement.scrollWidth") > page.viewport_size["width"]:
            self.wrong.append(f"{name}: too wide")
        shot: bytes = page.screenshot(path=str(SHOTS / f"{name}.png"))
        return shot

    def close(self) -> None:
        for page in (self.desk, self.hand):
            page.context.close()


@pytest.fixture
def wallet(ours: OneCard, loop: Loop, tmp_path: Path) -> Iterator[str]:
    with loop.served(ours.wallet(tmp_path), any_port()) as origin:
        yield origin


@pytest.fixture
def screens(chromium: Any, wallet: str) -> Iterator[Screens]:
    SHOTS.mkdir(parents=True, exist_ok=True)
    made = Screens(chromium, wallet)
    yield made
    made.close()


def test_from_the_site_to_the_phone_and_back(ours: OneCard, loop: Loop, screens: Screens, wallet: str) -> None:
    listener, desk, hand = any_port(), screens.desk, screens.hand
    client = ours.register(f"{origin_of(listener)}/back")
    with loop.served(kit_module("example_site").make_app(vars(client), origin_of(listener)), listener) as site:
        desk.goto(site)
        screens.look(desk, "1-site")
        desk.locator('a[href="/enter"]').click()
        desk.wait_for_url(f"{ours.issuer}/login/*")
        (code,) = codes_in(Image.open(io.BytesIO(screens.look(desk, "2-log-in"))).convert("L"))
        number = "".join(desk.locator("output span").all_text_contents())
        desk.set_viewport_size(HAND)
        desk.goto(f"{desk.url}?lang=en")
        screens.look(desk, "2-log-in-small-en")
        desk.set_viewport_size(DESK)
        desk.goto(desk.url.replace("lang=en", "lang=zh"))
        hand.goto(f"{wallet}/scan")
        hand.fill('[name="text"]', code.text)
        hand.locator("main form button").click()
        hand.wait_for_url("**/log-ins/*")
        assert "示例网站" in hand.locator("main").inner_text()
        screens.look(hand, "3-phone")
        desk.get_by_text("已经扫到").wait_for()
        screens.look(desk, "4-scanned")
        hand.fill('[name="password"]', PASSWORD)
        with desk.expect_navigation(url=f"{site}/"):
            hand.locator(f'button[name="number"][value="{number}"]').click()
        assert desk.locator("code").inner_text() == ours.subject
        screens.look(desk, "5-logged-in")
        desk.set_viewport_size(HAND)
        screens.look(desk, "5-logged-in-small")
        desk.locator('a[href="/leave"]').click()
        desk.locator('a[href="/enter"]').wait_for()
        desk.goto(f"{site}/back?code=c&state=s")
        screens.look(desk, "6-refused-small")
    assert screens.wrong == []
