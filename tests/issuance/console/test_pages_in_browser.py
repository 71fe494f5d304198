"""Every page of the console in Chromium: each entry of each role's menu and the pages behind, in both languages.

No request leaves the origin but to the local agent, nothing is refused by the CSP or said on the console, nothing is
wider than the window, axe-core finds no serious fault. With ONECARD_SCREENSHOTS set, screenshots go to the git-ignored
folder `screenshots`.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from issuance.console import dashboard
from issuance.production import jobs
from tests.issuance.console.axe import GRAVE, axe_script, faults
from tests.issuance.console.conftest import Console
from tests.issuance.console.scenery import Scenery, furnish
from tests.issuance.pictures import take
from tests.issuance.production import roster

playwright_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.usefixtures("orders"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
SHOTS = Path(__file__).parents[3] / "screenshots" / "console"
AGENT = "http://127.0.0.1:12343"
SIZE = {"width": 1280, "height": 800}
LONG_NAME = "Ili Kazakh Autonomous Prefecture, Qapqal Xibe Autonomous County, Social Security Service Hall, Window 2"
"""Of an office: as long as they are where provinces, prefectures and counties stand in a name."""
ZOOMED = {"width": 640, "height": 400}
"""What a page gets at 200 %."""


def behind(see: Scenery) -> dict[str, list[str]]:
    """Pages that no menu names, by who opens them."""
    application, card, batch, clerk = f"/applications/{see.waiting}", f"/cards/{see.card}", see.batch, see.clerk
    paths = {
        "caiji": f"{application} {card} {card}/acts/loss /me /me/password /counter{application} "
        "/collect?who=minor /collect?who=newborn",
        "fuhe": f"{card}/acts/change /files/{see.card} /files/{see.card}/reveal /queues?queue=to_review",
        "faka": f"{card}/acts/cancel /approvals/{see.cancel} /found/{see.found}/returned "
        f"/queues/cases/{see.stuck} /queues/cases/{see.stuck}/write_off_final",
        "kuguan": "/stock/acts/deliver /stock/acts/send /stock/acts/count /stock/acts/spoil /stock/acts/return "
        "/stock/acts/destroy /stock/movements /stock/transfers /stock/transfers?state=settled /stock/places/new "
        f"/stock/transfers/{see.transfer} /stock/transfers/{see.short} /stock/numbers?state=free /stock/balance "
        f"/batches/new /batches/{batch} /batches/{batch}/lines /batches/{batch}/applications "
        f"/batches/files/{see.refused_file}/rejects /found/{see.found}/destroyed",
        "jianguan": f"/approvals/{see.destroy} /approvals/{see.cancel} /batches/{batch} /staff/clerks "
        f"/staff/clerks/{clerk} /exchange/bank/{see.bank_run} /exchange/messages "
        "/dashboard/statistics /dashboard?by=office /alerts?state=over /queues?queue=found "
        f"/terminals/{see.terminal} /terminals/kiosk-hall-02 /terminals/counter-hall-03 /terminals?profile=transit "
        f"/terminals/{see.terminal}/lock /terminals/counter-hall-03/unlock "
        "/journeys?terminal=gate-east-01 /journeys?day=2026-01-04 /journeys/purse",
        "shenji": f"/audit/entries/{see.entry} /audit/log",
        "guanli": "/staff/offices/2 /staff/offices/1/new /staff/offices/2/close /staff/clerks /staff/clerks/new "
        f"/staff/clerks/{clerk} /staff/clerks/{clerk}/reset /staff/clerks/{clerk}/standing/suspend",
    }
    return {login: text.split() for login, text in paths.items()}


@asynccontextmanager
async def served(console: Console) -> AsyncIterator[str]:
    """The same application behind a real server, in this test's own loop."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(console.centre.app, log_config=None, lifespan="off"))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


class Watch:
    """One clerk's window, and everything that is wrong with what it showed."""

    def __init__(self, page: Any, origin: str, *, has_axe: bool) -> None:
        self.page, self.origin, self._has_axe = page, origin, has_axe
        self.wrong: list[str] = []
        self._where = ""
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._find(f"script: {error}"))
        page.on("request", self._on_request)

    def _find(self, what: str) -> None:
        self.wrong.append(f"{self._where}: {what}")

    def _on_console(self, message: Any) -> None:
        is_agents = AGENT in message.text or message.location.get("url", "").startswith(AGENT)
        if message.type in ("error", "warning") and not is_agents:
            self._find(f"console {message.type}: {message.text}")

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((f"{self.origin}/", f"{AGENT}/")):
            self._find(f"request to {request.url}")

    async def log_in(self, console: Console, login: str) -> None:
        console.centre.clock.advance(30)  # a one-time code is good once
        clerk = console.clerks[login]
        await self.page.goto(f"{self.origin}/console/login")
        await self.page.fill("#login", login)
        await self.page.fill("#password", clerk.password)
        await self.page.fill("#code", clerk.code(console.centre.clock().timestamp()))
        await self.page.keyboard.press("Enter")
        await self.page.wait_for_url("**/console/")

    async def menu(self) -> list[str]:
        links = await self.page.locator(".oc-rail a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        return [link.removeprefix("/console") for link in links]

    async def _measure(self, size: dict[str, int]) -> None:
        await self.page.set_viewport_size(size)
        width = await self.page.evaluate("document.documentElement.scrollWidth")
        if width > size["width"]:
            self._find(f"is {width} wide, in a window of {size['width']}")

    async def open(self, path: str) -> None:
        self._where = path
        answer = await self.page.goto(f"{self.origin}{path}")
        if answer.status != 200:
            self._find(f"answered {answer.status}")

    async def send(self, **typed: str) -> int:
        """Fills in the main form of the page shown and sends it; the status of the page that answers."""
        form = self.page.locator("main form[method=post]").first
        for name, value in typed.items():
            await form.locator(f"[name={name}]").fill(value)
        async with self.page.expect_navigation() as going:
            await form.locator("[type=submit]").click()
        return int((await going.value).status)

    async def look(self, shot: Path) -> None:
        await self.page.wait_for_load_state()  # without its style sheets a page has other measures
        await self._measure(SIZE)
        await take(self.page, shot, is_full=True)
        if self._has_axe:
            grave = [fault for fault in await faults(self.page) if fault.startswith(GRAVE)]
            self.wrong += [f"{self._where}: axe {fault}" for fault in grave]
        await self._measure(ZOOMED)

    async def look_at(self, path: str, shot: Path) -> None:
        await self.open(f"/console{path}")
        await self.look(shot)


@asynccontextmanager
async def window(chromium: Any, origin: str, language: str, script: Path | None) -> AsyncIterator[Watch]:
    context = await chromium.new_context(viewport=SIZE, locale="zh-CN")
    await context.add_cookies([{"name": "oc_lang", "value": language, "url": origin}])
    if script is not None:
        await context.add_init_script(path=str(script))
    yield Watch(await context.new_page(), origin, has_axe=script is not None)
    await context.close()


def file_name(login: str, path: str) -> str:
    """Ids are random: `one` stands for them."""
    parts = [part if len(part) < 16 else "one" for part in path.partition("?")[0].strip("/").split("/")]
    query = path.partition("?")[2].partition("=")[2]
    return f"{login}-{'-'.join([*parts, query]).strip('-') or 'home'}.png"


async def person_file(watch: Watch, see: Scenery, folder: Path) -> None:
    """Opened and unmasked, each with a reason."""
    for path, name in ((f"/console/files/{see.card}", "opened"), (f"/console/files/{see.card}/reveal", "revealed")):
        await watch.open(path)
        assert await watch.send(reason="持卡人到窗口查询") == 200
        await watch.look(folder / f"fuhe-files-{name}.png")


async def locked_screen(watch: Watch, _see: Scenery, folder: Path) -> None:
    """Over the page, as a page of its own, and after a wrong password."""
    async with watch.page.expect_response("**/console/lock"):
        await watch.page.click("#lock-now button")
    await watch.page.wait_for_selector("#lock[open]")
    await watch.look(folder / "caiji-lock-over.png")
    await watch.look_at("/collect", folder / "caiji-lock.png")
    assert watch.page.url.endswith("/console/lock?next=%2Fconsole%2Fcollect")
    assert await watch.send(password="not my password") == 401
    await watch.look(folder / "caiji-lock-wrong.png")
    assert "401" in watch.wrong.pop()


async def progress(watch: Watch, see: Scenery, folder: Path) -> None:
    """Asked, found and not found."""
    for check, status, name in ((see.check, 200, "found"), ("000000", 404, "unknown")):
        await watch.open("/progress/")
        await watch.look(folder / "anyone-progress.png")
        assert await watch.send(receipt_number=see.receipt, check=check) == status
        await watch.look(folder / f"anyone-progress-{name}.png")
    assert "404" in watch.wrong.pop()


async def left_open(watch: Watch, _see: Scenery, _folder: Path) -> None:
    """The dashboard in one window hears of the log-out in another."""
    async with watch.page.expect_response("**/console/dashboard/events*"):
        await watch.open("/console/dashboard")
    other = await watch.page.context.new_page()
    await other.goto(f"{watch.origin}/console/me")
    await other.click('header form[action="/console/logout"] button')
    await watch.page.wait_for_url("**/console/login*")


BEHIND_FORMS = {"fuhe": person_file, "caiji": locked_screen, "jianguan": left_open}
"""What has no address of its own, looked at last."""


async def test_a_file_goes_up_and_its_work_is_followed(console: Console) -> None:
    await console.centre.stock(blanks=0, numbers=40)
    async with served(console) as origin, playwright_api.async_playwright() as play:
        chromium = await play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await chromium.new_page(viewport=SIZE)
        watch = Watch(page, origin, has_axe=False)
        await watch.log_in(console, "kuguan")
        await page.goto(f"{origin}/console/batches/new")
        await page.click("main form .btn-primary")
        await page.wait_for_url("**/batches/1*")
        await send_file(page, b"no,titles\r\n")
        await page.wait_for_selector("[data-upload] .oc-alert")
        assert "没有传成" in await page.inner_text("[data-upload] .oc-alert")
        (fault,) = watch.wrong
        assert "400" in fault
        await send_file(page, roster(12))
        await page.wait_for_selector("[data-job] progress")
        while await jobs.step(console.centre.app.state.services) is not None:
            pass
        await page.wait_for_selector("text=看 12 个人")
        assert await page.locator("[data-job]").count() == 0
        await chromium.close()


async def test_on_a_slow_line_an_unlock_does_not_overtake_the_lock(console: Console) -> None:
    """Else the page is open and the session locked: what is sent next is lost."""
    async with served(console) as origin, playwright_api.async_playwright() as play:
        chromium = await play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await chromium.new_page(viewport=SIZE)
        watch, is_typed = Watch(page, origin, has_axe=False), asyncio.Event()
        sent: list[str] = []

        async def late(route: Any) -> None:
            await is_typed.wait()
            await asyncio.sleep(0.5)
            await route.continue_()

        await watch.log_in(console, "caiji")
        await page.route("**/console/lock", late)
        async with page.expect_response("**/console/lock"), page.expect_response("**/console/unlock"):
            await page.click("#lock-now button")
            await page.fill("#lock-password", console.clerks["caiji"].password)
            page.on("request", lambda request: sent.append(request.url.rpartition("/")[2]))
            for _ in range(3):
                await page.keyboard.press("Enter")
            is_typed.set()
        await page.wait_for_selector("#lock[open]", state="detached")
        await watch.open("/console/me")
        assert page.url.endswith("/console/me")
        assert watch.wrong == []
        assert sent.count("unlock") == 1, "each would be a try"
        await chromium.close()


async def send_file(page: Any, data: bytes) -> None:
    file = {"name": "名单 1.csv", "mimeType": "text/csv", "buffer": data}
    await page.set_input_files("#file-roster", files=[file])
    await page.click("[data-upload] button")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", ["zh", "en"])
async def test_every_page(console: Console, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "ROUND_S", 0.2)
    monkeypatch.setattr(dashboard, "ROUNDS", 1000)
    script = axe_script() if language == "zh" else None  # the other language has the same elements
    see = await furnish(console)
    if language == "en":
        console.centre.store.sql("UPDATE offices SET name_en = :name", name=LONG_NAME)
    folder = SHOTS / language
    wrong: list[str] = []
    seen: set[str] = set()
    async with served(console) as origin, playwright_api.async_playwright() as play:
        chromium = await play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for login, paths in behind(see).items():
            async with window(chromium, origin, language, script) as watch:
                await watch.log_in(console, login)
                menu = await watch.menu()
                assert len(menu) >= 3
                for path in [*menu, *paths]:
                    if path not in seen or login in ("kuguan", "jianguan", "guanli"):
                        await watch.look_at(path, folder / file_name(login, path))
                    seen.add(path)
                if login in BEHIND_FORMS:
                    await BEHIND_FORMS[login](watch, see, folder)
            wrong += [f"{login} {fault}" for fault in watch.wrong]
        async with window(chromium, origin, language, script) as watch:
            await progress(watch, see, folder)
        wrong += watch.wrong
        await chromium.close()
    assert wrong == []
    if script is None and language == "zh":
        pytest.skip("axe-core is not there: npm or its registry is missing; everything else was checked")
