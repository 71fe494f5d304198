"""What the kiosk's script keeps and says while the server changes the page under it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from terminal_agent.kiosk.flows.making import Wanted, stages_screen
from terminal_agent.kiosk.progress import Progress
from tests.terminal_agent.test_pin_browser import CHROMIUM

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from tests.terminal_agent.kiosk.gallery import gallery
from tests.terminal_agent.kiosk.gallery_browser import HERE, window
from tests.terminal_agent.kiosk.gallery_parts import Shown, page_of

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
WANTED = Wanted("0f" * 16, "2600000000000175", "apply_done", ("id_card", "make", "take"))


class Server:
    """Gives the page that stands there `now`, and never tells of a change by itself."""

    def __init__(self, page: Any) -> None:
        self.now = ""
        page.route("**/kiosk", lambda route: route.fulfill(body=self.now, content_type="text/html; charset=utf-8"))
        page.route("**/kiosk/tool", lambda route: route.fulfill(body=""))
        page.route("**/kiosk/changes*", lambda route: None)

    def show(self, shown: Shown, revision: int) -> None:
        self.now = page_of(shown, "en").replace('data-revision="1"', f'data-revision="{revision}"')


def test_what_was_typed_survives_the_question_and_what_changes_is_said_but_no_pin() -> None:
    known = {shown.name: shown for shown in gallery()}
    with window() as page:
        server = Server(page)
        server.show(known["apply_phone"], 1)
        page.goto(f"{HERE}/kiosk")
        page.fill("#entry", "13900")
        page.focus("button[value=help]")
        called = replace(known["apply_phone"], machine={"help_since": 1.0})
        server.show(called, 2)
        page.keyboard.press("Enter")
        page.wait_for_function("document.getElementById('spoken').textContent.includes('Staff called')")
        assert page.evaluate("document.activeElement.value") == "unhelp"
        server.show(known["still_there"], 2)
        page.click("button[value=unhelp]")
        page.wait_for_selector("[data-screen=still_there]")
        assert page.evaluate("document.activeElement.id") == "still"
        assert page.get_attribute("#still", "aria-describedby") == "lead"
        server.show(known["apply_phone"], 3)
        page.click("button[value=stay]")
        page.wait_for_selector("[data-screen=apply_phone]")
        assert page.input_value("#entry") == "13900"

        for revision, stage in ((4, "write"), (5, "print")):
            server.show(Shown("making", stages_screen(Progress(stage=stage), WANTED)), revision)  # type: ignore[arg-type]
            page.click("button[value=help]")
            page.wait_for_selector(f"[data-revision='{revision}']")
        page.wait_for_function("document.getElementById('spoken').textContent.includes('Printing the card')")

        server.show(known["staff_log_in"], 1)
        page.goto(f"{HERE}/kiosk")
        page.click("[data-key='7']")
        page.click("[data-key='8']")
        assert (page.input_value("#entry"), page.inner_text("#spoken").strip()) == ("78", "2")
