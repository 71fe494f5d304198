"""The card on the log-in page in Chromium: page, local agent, PIN window. Screenshots as those of test_browser."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from apdu.inprocess import InProcessReaders
from issuance.app import create_app
from issuance.login.seam import ACR_CARD
from issuance.settings import Settings
from terminal_agent.server import Ready, running_agent
from tests.issuance.console.axe import axe_script
from tests.issuance.log_ins.cards import CardLogIns
from tests.issuance.log_ins.stand import LogIns
from tests.issuance.log_ins.test_browser import DESK, SHOTS, Room
from tests.issuance.log_ins.test_card_terminal import certified_chip
from tests.issuance.wallet.test_wallet_browser import CHROMIUM, FLAGS, served
from tests.terminal_agent.stand import READER, settings, wait_for_cards

playwright_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
BEGIN = "#card-begin"


async def test_a_card_at_this_computer(log_ins: LogIns, tmp_path: Path) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    axe = await asyncio.to_thread(axe_script)
    if axe is None:
        pytest.skip("axe-core is not installed")
    centre, apps = log_ins.centre, list[Any]()

    async def site_app(scope: Scope, receive: Receive, send: Send) -> None:
        await apps[-1](scope, receive, send)

    readers = InProcessReaders([READER])
    async with served(site_app) as site, playwright_api.async_playwright() as play:
        agent = settings(port=0, ws_port=0, operation_timeout_s=10, allowed_origins=(site,))
        with running_agent(agent, readers) as where:
            trusted = Settings(
                database_url=centre.url,
                login_issuer=site,
                login_card_anchors=tmp_path / "offices.pem",
                agent_urls=(where.url,),
            )
            catalog = centre.app.state.services.catalog
            centre.old_apps.append(centre.app)
            centre.app = create_app(trusted, centre.keys, clock=centre.clock, catalog=catalog)
            apps.append(centre.app)
            browser = await play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            context = await browser.new_context(viewport=DESK, locale="zh-CN")
            await context.add_init_script(path=axe)
            room = Room(log_ins, site, "", await context.new_page(), None)
            room.watch(room.desk)
            await go(room, where, readers, CardLogIns(log_ins, tmp_path))
            await browser.close()
    assert room.wrong == []


async def go(room: Room, agent: Ready, readers: InProcessReaders, cards: CardLogIns) -> None:
    desk = room.desk
    opened = await room.log_ins.open(redirect_uri=room.back)
    await room.begin(opened)
    await room.look(desk, "card-beside-scan")
    await desk.click(BEGIN)
    await desk.get_by_text("读卡器里没有卡").wait_for()
    await desk.goto(f"{room.site}{opened.path}?lang=en")
    readers.insert(READER, certified_chip(cards))
    await asyncio.to_thread(wait_for_cards, agent, readers)
    by_card = await room.log_ins.open(redirect_uri=room.back, acr_values=(ACR_CARD,))
    await room.begin(by_card)
    await desk.click(BEGIN)
    await desk.get_by_text("Enter the certificate PIN").wait_for()
    await room.look(desk, "card-pin-wanted")
    window = await desk.context.new_page()
    await window.goto(f"{agent.url}/pin")
    await room.look(window, "card-pin-window")
    await window.fill("#pin", "123456")
    async with desk.expect_navigation(url=f"{room.back}**"):
        await window.click("#confirm")
    assert "code=" in desk.url
    await room.begin(opened)
    await desk.route(f"{agent.url}/**", lambda route: route.abort())
    await desk.click(BEGIN)
    await desk.get_by_text("was not found").wait_for()
    await room.look(desk, "card-no-agent")
