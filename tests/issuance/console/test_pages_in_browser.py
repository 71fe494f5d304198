"""Every page of the console in Chromium: each entry of each role's menu and the pages behind, in both languages.

No request leaves the origin but to the local agent, nothing is refused by the CSP or said on the console, nothing is
wider than the window, axe-core finds no serious fault. Screenshots go to the git-ignored folder `screenshots`.
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

from issuance.production import jobs
from tests.issuance.console.axe import GRAVE, axe_script, faults
from tests.issuance.console.conftest import Console
from tests.issuance.console.scenery import Scenery, furnish
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
ZOOMED = {"width": 640, "height": 400}
"""What a page gets at 200 %."""


def behind(see: Scenery) -> dict[str, list[str]]:
    """Pages that no menu names, by who opens them."""
    application, card, batch, clerk = f"/applications/{see.waiting}", f"/cards/{see.card}", see.batch, see.clerk
    paths = {
        "caiji": f"{application} {card} {card}/acts/loss /me /me/password /counter{application} "
        "/collect?who=minor /collect?who=newborn",
        "fuhe": f"{card}/acts/change /files/{see.card} /files/{see.card}/reveal /queues?queue=to_review",
        "faka": f"{card}/acts/cancel /approvals/{see.cancel} /found/{see.found}/returned",
        "kuguan": "/stock/acts/deliver /stock/acts/send /stock/acts/count /stock/acts/spoil /stock/acts/return "
        "/stock/acts/destroy /stock/movements /stock/transfers /stock/transfers?state=settled /stock/places/new "
        f"/stock/transfers/{see.transfer} /stock/transfers/{see.short} /stock/numbers?state=free /stock/balance "
        f"/batches/new /batches/{batch} /batches/{batch}/lines /batches/{batch}/applications "
        f"/batches/files/{see.refused_file}/rejects /found/{see.found}/destroyed",
        "jianguan": f"/approvals/{see.destroy} /approvals/{see.cancel} /batches/{batch} /staff/clerks "
        f"/staff/clerks/{clerk} /exchange/bank/{see.bank_run} /exchange/messages "
        "/dashboard/statistics /dashboard?by=office /alerts?state=over /queues?queue=found",
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
        if message.type in ("error", "warning") and not message.location.get("url", "").startswith(AGENT):
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

    async def look_at(self, path: str, shot: Path) -> None:
        self._where = path
        answer = await self.page.goto(f"{self.origin}/console{path}")
        if answer.status != 200:
            self._find(f"answered {answer.status}")
        await self._measure(SIZE)
        await self.page.screenshot(path=str(shot), full_page=True)
        await self._measure(ZOOMED)
        await self.page.set_viewport_size(SIZE)
        if self._has_axe:
            self.wrong += [f"{path}: axe {fault}" for fault in await faults(self.page) if fault.startswith(GRAVE)]


def file_name(login: str, path: str) -> str:
    """Ids are random: `one` stands for them."""
    parts = [part if len(part) < 16 else "one" for part in path.partition("?")[0].strip("/").split("/")]
    query = path.partition("?")[2].partition("=")[2]
    return f"{login}-{'-'.join([*parts, query]).strip('-') or 'home'}.png"


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


async def send_file(page: Any, data: bytes) -> None:
    file = {"name": "名单 1.csv", "mimeType": "text/csv", "buffer": data}
    await page.set_input_files("#file-roster", files=[file])
    await page.click("[data-upload] button")


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_every_page(console: Console, language: str) -> None:
    script = axe_script() if language == "zh" else None  # the other language has the same elements
    see = await furnish(console)
    folder = SHOTS / language
    folder.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    seen: set[str] = set()
    async with served(console) as origin, playwright_api.async_playwright() as play:
        chromium = await play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for login, paths in behind(see).items():
            context = await chromium.new_context(viewport=SIZE, locale="zh-CN")
            await context.add_cookies([{"name": "oc_lang", "value": language, "url": origin}])
            if script is not None:
                await context.add_init_script(path=str(script))
            watch = Watch(await context.new_page(), origin, has_axe=script is not None)
            await watch.log_in(console, login)
            menu = await watch.menu()
            assert len(menu) >= 3
            for path in [*menu, *paths]:
                if path not in seen or login in ("kuguan", "jianguan", "guanli"):
                    await watch.look_at(path, folder / file_name(login, path))
                seen.add(path)
            wrong += [f"{login} {fault}" for fault in watch.wrong]
            await context.close()
        await chromium.close()
    assert wrong == []
    if script is None and language == "zh":
        pytest.skip("axe-core is not there: npm or its registry is missing; everything else was checked")
