"""The PIN dialog in a real browser: from the counter page's prompt to the PIN at the function that waits for it."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from apdu.inprocess import InProcessReaders
from simulators.card import Algorithm
from terminal_agent.server import running_agent
from tests.cardlib.driver_stand import card
from tests.terminal_agent.stand import settings

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CONTACT = "Counter Reader 00 00"
PIN = "123456"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


class Program:
    """An installed program that calls one function; its answer is there after `join`."""

    def __init__(self, url: str, function: str) -> None:
        self.answer: dict[str, str] = {}

        def call() -> None:
            with connect(url, proxy=None) as link:
                link.send(json.dumps({"function": function, "iType": 1}))
                self.answer = json.loads(link.recv(timeout=90))

        self._thread = threading.Thread(target=call, daemon=True)
        self._thread.start()

    def code(self) -> str:
        self._thread.join(60)
        return self.answer["success"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright_api.sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield running
        running.close()


def test_the_dialog_by_keys_and_by_keypad(browser: object) -> None:
    readers = InProcessReaders([CONTACT])
    readers.insert(CONTACT, card(Algorithm.SM4))
    with running_agent(settings(port=0, ws_port=0, operation_timeout_s=10), readers) as where:
        page = browser.new_page(viewport={"width": 1280, "height": 800})  # type: ignore[attr-defined]
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        addresses: list[str] = []
        page.on("request", lambda request: addresses.append(request.url))
        page.goto(where.url)

        program = Program(where.ws_url, "iVerifyPIN")
        open_dialog(page)
        for digit in PIN[:2]:
            page.click(f"#keypad [data-key='{digit}']")
        page.keyboard.type(PIN[2:4])
        shot(page)
        page.keyboard.type(PIN[4:])
        assert page.input_value("#pin") == PIN
        assert page.locator(".oc-pin [data-on]").count() == 6
        source = page.content()
        assert PIN not in source
        assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
        page.keyboard.press("Enter")
        page.wait_for_url("**/pin/end/sent")
        assert program.code() == "1"

        page.goto(where.url)
        program = Program(where.ws_url, "iChangePIN")
        open_dialog(page)
        page.keyboard.type(PIN)
        page.click("#confirm")
        page.wait_for_url("**/pin/end/sent")
        page.wait_for_selector("#again")  # it goes on to the new PIN by itself
        page.wait_for_selector("#keypad:not([hidden])")
        page.keyboard.type("2468")
        page.click("#confirm")
        assert page.evaluate("document.activeElement.id") == "again"
        page.keyboard.type("2469")
        page.keyboard.press("Enter")
        page.wait_for_url("**/pin/end/differ")
        assert program.code() == "-34"

        program = Program(where.ws_url, "iVerifyPIN")
        page.goto(where.url)
        open_dialog(page)
        page.keyboard.type("99")
        page.click("#cancel")
        page.wait_for_url("**/pin/end/cancelled")
        assert program.code() == "-31"
    # The counter page may not read a 3.0 card without a PSAM, which is no matter here.
    assert [text for text in said if not text.startswith("Failed to load resource")] == []
    assert not [address for address in addresses if PIN in address or "2468" in address]


def open_dialog(page: object) -> None:
    page.click("#pin-wanted a")  # type: ignore[attr-defined]
    page.wait_for_selector("#keypad:not([hidden])")  # type: ignore[attr-defined]


def shot(page: object) -> None:
    """The picture of the documentation, on request."""
    target = os.environ.get("ONECARD_PIN_SHOT")
    if target:
        page.wait_for_timeout(300)  # type: ignore[attr-defined]
        page.screenshot(path=str(Path(target)))  # type: ignore[attr-defined]
