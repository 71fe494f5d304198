"""Every screen of the kiosk fits both screens in both types and languages, and none is forgotten."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from terminal_agent.kiosk import words
from tests.terminal_agent.kiosk.gallery import gallery
from tests.terminal_agent.test_pin_browser import CHROMIUM

FLOWS = Path(words.__file__).parent
DONE = "done"
"""The layout that `Visit.done` gives a screen without one."""


def test_the_gallery_has_every_screen_with_its_layout() -> None:
    known = {name for name, texts in words.words()["zh"].items() if "title" in texts and "say" in texts}
    shown = {one.screen.name: one.screen.layout for one in gallery()}
    assert known == shown.keys()
    for name, layout in _screens():
        assert shown.get(name, layout) in (layout, layout or DONE), name


def _screens() -> list[tuple[str, str]]:
    """Those that the kiosk's own code names, with their layouts."""
    calls = [
        {word.arg: word.value for word in node.keywords}
        for file in FLOWS.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Screen"
    ]
    found = [
        (given["name"].value, getattr(given.get("layout"), "value", ""))
        for given in calls
        if isinstance(given.get("name"), ast.Constant)
    ]
    assert len(found) > 50
    return [(str(name), str(layout)) for name, layout in found]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_no_screen_scrolls_or_is_clipped_in_either_type() -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    from tests.terminal_agent.kiosk.gallery_browser import faults

    assert faults() == []
