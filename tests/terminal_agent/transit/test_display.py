"""The gate's display in a real browser: every sign at two sizes, nothing cut off, nothing axe-core objects to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from apdu.inprocess import InProcessReaders
from simulators.card import Faults
from terminal_agent.server import running_agent
from terminal_agent.transit.screen import SHOWN_S
from tests.issuance.console.axe import GRAVE, axe_script
from tests.issuance.pictures import ARE_WANTED
from tests.simulators import transit as vectors
from tests.terminal_agent.stand import settings
from tests.terminal_agent.test_pin_browser import CHROMIUM, FLAGS
from tests.terminal_agent.transit.stand import FIELD, PSAM, TakingCentre, card, rules_text

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
SHOTS: Final = Path(__file__).parents[3] / "screenshots" / "gate"
SIZES: Final = ((1280, 800), (480, 320))
TAGS: Final = ["wcag2a", "wcag2aa", "wcag2aaa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN_AXE: Final = """tags => axe.run(document, {runOnly: {type: "tag", values: tags}, resultTypes: ["violations"]})
  .then(found => found.violations.map(v => [v.impact, v.id, v.nodes[0].html.slice(0, 160)]))"""
LOOK: Final = """() => {
  const box = document.getElementById("gate").getBoundingClientRect();
  const bad = [...document.querySelectorAll("h1, .oc-gate p:not([hidden]), footer > *")].filter((part) => {
    const range = document.createRange();
    range.selectNodeContents(part);
    const own = range.getBoundingClientRect();
    return own.width && (own.left < box.left || own.right > box.right || own.top < box.top || own.bottom > box.bottom);
  }).map((part) => `cut off: ${part.textContent}`);
  const foot = document.querySelector("footer").getBoundingClientRect();
  const words = document.querySelector(".oc-gate__in > div").getBoundingClientRect();
  if (words.bottom > foot.top + 1 || words.top < box.top) bad.push("the words run over their place");
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth || root.scrollHeight > root.clientHeight) bad.push("it scrolls");
  return bad;
}"""
COUNT_BEEPS: Final = """window.beeps = 0;
window.AudioContext = class { constructor() { this.state = "running"; this.currentTime = 0; this.destination = {}; } };
window.OscillatorNode = class { connect(to) { return to; } start() { window.beeps += 1; } stop() {} };
window.GainNode = class { connect(to) { return to; } };"""


class Watcher:
    """Looks at each sign in turn at every size."""

    def __init__(self, page: Any, *, has_axe: bool) -> None:
        self.page, self._has_axe = page, has_axe
        self.wrong: list[str] = []

    def see(self, sign: str) -> None:
        self.page.wait_for_selector(f"#gate[data-state={sign}]")
        for width, height in SIZES:
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.wait_for_function("width => innerWidth === width", arg=width)
            self.wrong += [f"{sign} {width}: {fault}" for fault in self.page.evaluate(LOOK)]
            if ARE_WANTED:
                SHOTS.mkdir(parents=True, exist_ok=True)
                self.page.screenshot(path=str(SHOTS / f"{sign}-{width}.png"))
        if self._has_axe:
            found = [fault for fault in self.page.evaluate(RUN_AXE, TAGS) if fault[0] in GRAVE]
            self.wrong += [f"{sign}: axe {fault}" for fault in found]


def test_every_sign_at_every_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for sign in tuple(SHOWN_S):
        monkeypatch.setitem(SHOWN_S, sign, 60.0)  # type: ignore[index]
    rules = tmp_path / "rules.toml"
    rules.write_text(rules_text("bus"), encoding="utf-8")
    readers = InProcessReaders([FIELD, PSAM])
    adult = card()
    chosen = {"profile": "transit", "transit_rules": rules, "state_dir": tmp_path / "state", "psam_readers": (PSAM,)}
    script = axe_script()
    with (
        running_agent(settings(port=0, ws_port=0, **chosen), readers, issuance=TakingCentre()) as where,
        playwright_api.sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        context = browser.new_context()
        context.add_init_script(COUNT_BEEPS)
        if script is not None:
            context.add_init_script(path=script)
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{where.url}/gate")
        watcher = Watcher(page, has_axe=script is not None)
        watcher.see("out")
        readers.insert(PSAM, vectors.sam("3DES"))
        watcher.see("idle")

        def tap(inserted: Any, sign: str, beeps: int) -> str:
            page.evaluate("window.beeps = 0")
            readers.insert(FIELD, inserted)
            watcher.see(sign)
            page.wait_for_function("beeps => window.beeps === beeps", arg=beeps)
            readers.remove(FIELD)
            return str(page.inner_text("#said"))

        assert tap(adult, "pass", 1) == "请通行，2.00 元，余额 98.00 元"
        assert tap(card(balance=50, number=7), "stop", 3) == "不能通行，余额不足，请充值"
        torn = card(number=8, faults=Faults(tear_before=2))
        assert tap(torn, "again", 2).startswith("请再试，请重新刷卡")
        assert tap(card(passenger_class=4, number=6), "stop", 3)
        readers.insert(FIELD, card(number=5, faults=Faults(endless_6c=True)))
        watcher.see("staff")
        readers.remove(FIELD)
        assert tap(card(passenger_class=3, number=9), "pass", 1) == "请通行，敬老免费，余额 100.00 元"

        page.goto(f"{where.url}/gate/staff")
        page.wait_for_selector("text=余额不足")
        assert "2.00" in page.inner_text("main")
        if ARE_WANTED:
            page.set_viewport_size({"width": 1280, "height": 800})
            page.screenshot(path=str(SHOTS / "duty-1280.png"))
        if script is not None:
            watcher.wrong += [
                f"duty: {fault}" for fault in page.evaluate(RUN_AXE, TAGS[:2] + TAGS[3:]) if fault[0] in GRAVE
            ]
        browser.close()
    assert watcher.wrong == []
    assert [text for text in said if "ERR_" not in text] == []
