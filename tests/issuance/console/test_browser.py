"""The console in a real browser, with the agent and simulated cards: from a newborn to the loss of its card and the
card that replaces it, while a supervisor watches and the parents ask how far it is.

With ONECARD_SCREENSHOTS set, pictures of every page go to `.shots/console/`, for people to look at.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cardlib.identity import citizen_number
from issuance.clock import CHINA, system_clock
from onecard_cli import ROOT
from onecard_cli.demo_staff import DemoClerk, demo_staff
from onecard_cli.home import Home
from onecard_cli.personas import persona_card
from onecard_cli.system import System
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.personas import load
from tests.issuance import pictures
from tests.terminal_agent.test_pin_browser import FLAGS

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
SHOTS = ROOT / ".shots" / "console"
REGION = "110000"
STEP_S = 30
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home.at(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def staff(home: Home) -> dict[str, DemoClerk]:
    return {clerk.login: clerk for clerk in demo_staff(home, REGION)}


@pytest.fixture(scope="module")
def system(home: Home, staff: dict[str, DemoClerk]) -> Iterator[System]:
    with System(home, use_pcsc=False, region=REGION) as running:
        yield running


@pytest.fixture(scope="module")
def browser(system: System) -> Iterator[Any]:
    """After the system: Playwright keeps an event loop, in which starting one does not work."""
    assert system.issuance_url
    with playwright_api.sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield running
        running.close()


class Screen:
    """One clerk's screen at 1280 by 800; collects what the browser complains about."""

    def __init__(self, browser: Any, system: System, language: str = "zh") -> None:
        context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="zh-CN")
        context.add_cookies([{"name": "oc_lang", "value": language, "url": system.issuance_url}])
        self.page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.url = system.issuance_url
        self.language = language
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        own = (system.issuance_url, system.agent_url)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self._heard(message.text))
        self.page.on("request", lambda r: None if r.url.startswith(own) else self.elsewhere.append(r.url))

    def _heard(self, text: str) -> None:
        if "Content Security Policy" in text or "CORS" in text:
            self.complaints.append(f"{self.page.url}: {text}")

    def log_in(self, clerk: DemoClerk) -> None:
        self.page.goto(f"{self.url}/console/login")
        self.shot("login")
        self.page.fill("#login", clerk.login)
        self.page.fill("#password", clerk.password)
        self.page.fill("#code", clerk.code(time.time()))
        self.press("登录" if self.language == "zh" else "Log in")
        self.page.wait_for_url("**/console/")

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def fill(self, **fields: str) -> None:
        for name, value in fields.items():
            self.page.fill(f'main [name="{name.replace("__", ".")}"]', value)

    def press(self, words: str) -> None:
        self.page.get_by_role("main").get_by_text(words, exact=True).first.click()
        self.page.wait_for_load_state()  # a page looked at before its last style sheet asks for pictures

    def press_by_keys(self, words: str) -> None:
        """As `press`, without a mouse: Tab until it has the focus, then Enter."""
        for _ in range(100):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("document.activeElement.innerText.trim()") == words:
                break
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")

    def sees(self, words: str) -> None:
        """On a page that is whole: before, it has other measures, and nothing hears its keys."""
        self.page.get_by_role("main").get_by_text(words).first.wait_for()
        self.page.wait_for_load_state()

    def reads(self, place: str, text: str) -> None:
        """Waits until it does."""
        playwright_api.expect(self.page.locator(place)).to_have_text(text, timeout=STEP_S * 1000)

    def shot(self, name: str, language: str = "") -> None:
        """Nothing is wider than the screen; then a picture."""
        self.page.wait_for_load_state()
        assert self.page.evaluate("document.documentElement.scrollWidth") <= 1280, name
        if pictures.ARE_WANTED:
            SHOTS.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(SHOTS / f"{name}-{language or self.language}.png"), full_page=True)


@pytest.mark.timeout(600)
def test_from_a_newborn_to_a_replaced_card(browser: Any, system: System, staff: dict[str, DemoClerk]) -> None:
    chip = persona_card(system.home, "blank-3.0")
    second = SimCard(build_card(replace(load("blank-3.0"), serial=0x0300B0FF), system.home.roots()))
    operator = system.client("operator-1")
    operator.post("/v1/card-numbers", json={"region": REGION, "body_from": "A0000001", "count": 9}).raise_for_status()
    chips = [card.state.historical.hex().upper() for card in (chip.card, second)]
    blank = {"reset_information": chips, "generation": chip.generation}
    operator.post("/v1/blanks", json=blank | {"delivery": "d", "region": chip.region}).raise_for_status()
    collector, reviewer = Screen(browser, system), Screen(browser, system)
    collector.log_in(staff["caiji"])
    collector.shot("home")
    application, child = _collect_newborn(collector)

    reviewer.log_in(staff["fuhe"])
    reviewer.go("/console/reviews")
    reviewer.shot("reviews")
    reviewer.press("核对")
    reviewer.shot("review")
    reviewer.press("资料无误，通过")
    reviewer.sees("复核通过，可以制卡")

    collector.go(f"/console/applications/{application}")
    collector.shot("application")
    collector.press("制卡发卡")
    collector.sees("请放入空白卡")
    collector.shot("make-empty")
    link = system.plug(0, chip.card)
    collector.sees("卡已放好")
    collector.press("开始制卡")
    collector.sees("办好了，请取卡")
    collector.shot("made")
    link.remove()

    supervisor = Screen(browser, system)
    supervisor.log_in(staff["jianguan"])
    supervisor.go("/console/dashboard")
    supervisor.reads(ISSUED_TODAY, "1张")

    collector.go("/console/counter")
    collector.sees("请插入或放置社保卡")
    link.insert()
    collector.page.wait_for_url(f"**/console/cards/{application}")
    collector.shot("card")
    collector.press_by_keys("正式挂失")
    collector.shot("loss")
    collector.press_by_keys("正式挂失")
    collector.sees("已正式挂失，可以接着办补卡")
    collector.press("补换卡")
    collector.page.fill('main [name="guardian.name"]', "测试母")
    collector.fill(guardian__social_security_number=MOTHER, guardian__telephone="13900000000")
    collector.page.select_option('main [name="guardian.relation"]', "mother")
    collector.shot("replace")
    collector.press("补换卡")
    collector.sees("补换卡已受理")
    collector.shot("replaced")
    link.remove()
    collector.press("制卡发卡")
    collector.sees("请放入空白卡")
    link = system.plug(0, second)
    collector.sees("卡已放好")
    collector.press("开始制卡")
    collector.sees("办好了，请取卡")
    collector.press("看卡片")
    collector.sees("正常")
    supervisor.reads(ISSUED_TODAY, "2张")  # without a click: the page hears of it
    supervisor.shot("dashboard")
    with supervisor.page.expect_navigation():
        supervisor.page.get_by_role("link", name="English").click()
    supervisor.sees("Cards today")
    supervisor.shot("dashboard", "en")

    collector.page.keyboard.press("/")
    collector.page.keyboard.type("测试宝")
    collector.page.keyboard.press("Enter")
    collector.sees("找到 1 人")
    collector.shot("search")
    collector.press("一人一档")
    collector.fill(reason="持卡人的母亲到窗口查询")
    collector.press("打开档案")
    collector.sees("已留痕")
    collector.shot("person-file")

    parents = Screen(browser, system)
    parents.go("/progress/")
    receipt = operator.get(f"/v1/applications/{application}").json()["receipt_number"]
    parents.fill(receipt_number=receipt, check=child[-6:])
    parents.press("查进度")
    parents.sees("卡已经发出")
    parents.shot("progress")
    link.remove()
    chip.lock.close()
    for screen in (collector, reviewer, supervisor, parents):
        assert screen.complaints == []
        assert screen.elsewhere == []


MOTHER = citizen_number("99010019870202002")


ISSUED_TODAY = ".oc-kpis > div:first-child .oc-big"


def _collect_newborn(screen: Screen) -> tuple[str, str]:
    """The application's id and the child's number."""
    born = system_clock().astimezone(CHINA).date() - timedelta(days=20)
    number = citizen_number(f"990100{born:%Y%m%d}002")
    screen.go("/console/collect?who=newborn")
    screen.shot("collect-newborn")
    screen.fill(certificate_number="Z990000001", hospital="示例妇幼保健院", child__birth_date=born.isoformat())
    screen.fill(child__birthplace="990100", mother__name="测试母", mother__telephone="13900000000")
    screen.fill(mother__social_security_number=MOTHER)
    screen.page.select_option('main [name="child.sex"]', "2")
    screen.press("受理")
    screen.sees("新生儿：等上户口")
    screen.shot("newborn-waiting")
    screen.fill(name="测试宝", social_security_number=number)
    screen.press("补好，申领卡片")
    screen.sees("已受理，等另一位同事复核")
    return str(Path(screen.page.url.partition("?")[0]).name), number


def test_in_english_with_large_type_and_keys(browser: Any, system: System, staff: dict[str, DemoClerk]) -> None:
    screen = Screen(browser, system, "en")
    screen.page.clock.install()
    screen.log_in(staff["faka"])
    screen.shot("home")
    screen.page.keyboard.press("g")
    screen.page.keyboard.press("c")
    screen.page.wait_for_url("**/console/counter")
    screen.shot("counter")
    screen.page.keyboard.press("?")
    screen.page.get_by_role("dialog").get_by_text("Keyboard shortcuts").wait_for()
    screen.page.keyboard.press("Escape")
    screen.page.click("#large")
    screen.go("/console/me")
    assert screen.page.evaluate("document.documentElement.dataset.type") == "large"
    screen.shot("me-large")
    screen.go("/console/found")
    screen.fill(outlet="hall-3")
    screen.page.clock.fast_forward(11 * 60 * 1000)
    dialog = screen.page.get_by_role("dialog")
    dialog.get_by_text("Locked").wait_for()
    screen.shot("locked")
    assert not screen.page.get_by_role("main").is_visible()
    screen.page.keyboard.type("not my password")
    screen.page.keyboard.press("Enter")
    dialog.get_by_text("Wrong password").wait_for()
    dialog.get_by_label("Password").fill(staff["faka"].password)
    screen.page.keyboard.press("Enter")
    dialog.wait_for(state="hidden")
    assert screen.page.input_value("#outlet") == "hall-3", "what was being done is kept"
    assert screen.complaints == []
