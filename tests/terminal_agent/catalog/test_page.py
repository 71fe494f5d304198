"""The counter page in a real browser: how old the lists are, a blocked card, an alarm with what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from apdu.inprocess import InProcessReaders
from simulators import personas
from simulators.card.card import SimCard
from simulators.factory import build_card
from simulators.ministry import RootKeys
from terminal_agent.server import running_agent
from tests.terminal_agent.catalog.conftest import LOST, Centre
from tests.terminal_agent.stand import READER, settings
from tests.terminal_agent.test_pin_browser import CHROMIUM, FLAGS

SHOTS = Path(__file__).parents[3] / "screenshots"
playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


def shot(page: Any, name: str) -> None:
    if os.environ.get("ONECARD_SCREENSHOTS"):
        page.screenshot(path=str(SHOTS / f"agent-catalog-{name}.png"), full_page=True)


def test_what_the_counter_sees(centre: Centre, terminal: dict[str, Any]) -> None:
    readers = InProcessReaders([READER])
    readers.insert(READER, SimCard(build_card(personas.load("adult-2.0"), RootKeys.generate())))
    with (
        running_agent(settings(port=0, ws_port=0, **terminal), readers) as agent,
        httpx.Client(base_url=agent.url, trust_env=False) as client,
        playwright_api.sync_playwright() as play,
    ):
        path = f"/v1/readers/{READER}/basic-information"
        centre.block(LOST, client.post(path, json={}).json()["identification_code"])
        client.post("/v1/catalog/fetch").raise_for_status()
        page = play.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS)).new_page()
        page.goto(agent.url)
        page.get_by_text("已挂失或注销").wait_for()
        page.get_by_text("2 张 · 刚刚").wait_for()
        page.get_by_text("可以更新").wait_for()
        shot(page, "blocked")
        centre.say("blocklist", {"filter.bl": b"OCBL"})
        client.post("/v1/catalog/fetch").raise_for_status()
        page.get_by_text("[BLOCK_LIST_INVALID]").wait_for()
        page.set_viewport_size({"width": 390, "height": 844})
        shot(page, "alarm-phone")
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(f"{agent.url}/?lang=en")
        page.get_by_text("Fetch all files of the edition again").wait_for()
        page.get_by_text("Not accepted; ask the issuing office").wait_for()
        shot(page, "alarm-en")
        readers.remove(READER)
        page.get_by_text("Not accepted").wait_for(state="detached")
