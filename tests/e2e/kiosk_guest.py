"""A person at the kiosk's screen in Chromium, who finds what is wrong with every screen that comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from playwright.sync_api import Error, sync_playwright

from tests.issuance.pictures import ARE_WANTED
from tests.terminal_agent.test_pin_browser import CHROMIUM, FLAGS

SHOTS: Final = Path(__file__).parents[2] / "screenshots" / "kiosk"
PORTRAIT, LANDSCAPE = {"width": 1080, "height": 1920}, {"width": 1280, "height": 800}
PATIENCE_S: Final = 90.0
AXE_TAGS: Final = ["wcag2a", "wcag2aa", "wcag2aaa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
TYPES: Final = ("normal", "large")
T = TypeVar("T")


def _script(name: str) -> str:
    return Path(__file__).with_name(f"kiosk_{name}.js").read_text("utf-8")


_AXE = """tags => axe.run(document, {runOnly: {type: "tag", values: tags}, resultTypes: ["violations"]})
  .then(found => found.violations.map(v => `${v.impact} ${v.id}: ${v.nodes.slice(0, 2).map(n => n.html)}`))"""
_LOOK = f"""async types => {{
  const [look, whole] = [{_script("look")}, {_script("whole")}];
  await whole();
  if (document.readyState !== "complete") throw new Error("because of a navigation");
  const root = document.documentElement, usual = root.dataset.type;
  const faults = types.flatMap(type => {{
    root.dataset.type = type;
    return look().map(fault => `${{type}}: ${{fault}}`);
  }});
  root.dataset.type = usual;
  return faults;
}}"""
_IS_WHOLE = "() => document.readyState === 'complete'"  # a page shows its words before all its styles are there
_HERE = "() => { const main = document.querySelector('main'); return main && {...main.dataset}; }"
_IS_ANOTHER = "n => (document.querySelector('main')?.dataset.number ?? n) !== n"
_FIRST = "names => names.find(name => name === document.querySelector('main')?.dataset.screen) ?? ''"
_HAS_CODE = "() => document.querySelector('img.oc-qr')?.naturalWidth > 0"
_LEFT = ("context was destroyed", "context with specified id", "because of a navigation")
"""What Playwright says where one page is being replaced by another."""
LOOKS: Final = 3


class Guest:
    """`size` is the screen's."""

    def __init__(self, page: Any, lang: str, size: dict[str, int], *, has_axe: bool) -> None:
        self.page, self.lang, self.size = page, lang, size
        self.wrong: list[str] = []
        self.seen: list[str] = []
        self._has_axe = has_axe
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.wrong.append(f"after {self.seen[-1:]}: script: {error}"))

    @property
    def screen(self) -> str:
        return self._here()["screen"]

    @property
    def number(self) -> str:
        return self._here()["number"]

    def reach(self, *names: str) -> str:
        """The first of these screens to come, looked at."""
        try:
            name = self._steadily(lambda: str(self.page.wait_for_function(_FIRST, arg=list(names)).json_value()))
        except Error as error:
            text = self.page.inner_text("main")[:200].replace("\n", " ")
            raise AssertionError(f"{names} did not come; {self.screen}: {text}; seen {self.seen[-6:]}") from error
        self.look()
        return name

    def gone(self, number: str) -> None:
        self._steadily(lambda: self.page.wait_for_function(_IS_ANOTHER, arg=number))

    def press(self, act: str, **fields: str) -> None:
        """A button of the screen, after these entries."""
        for name, value in fields.items():
            self.page.fill(f"main [name={name}]", value)
        before = self.number
        self.page.click(f"button[name=act][value='{act}']:not([tabindex='-1'])")
        self.gone(before)

    def tool(self, name: str) -> None:
        self.page.click(f"button[name=tool][value={name}]")

    def type_pin(self, digits: str) -> None:
        """In the agent's own page; a new one twice."""
        self.page.wait_for_selector("#confirm")
        self.look()
        before = self.number
        for field in self.page.locator("input[type=password]").all():
            field.fill(digits)
        self.page.click("#confirm")
        self.gone(before)

    def scan(self) -> tuple[bytes, int]:
        """What a phone sees here: the code's picture and the number beside it."""
        before = self.number
        self.page.wait_for_function(_HAS_CODE)
        code = self.page.locator("img.oc-qr").screenshot()
        shown = int("".join(self.page.inner_text(".oc-match output").split()))
        return (code, shown) if self.number == before else self.scan()

    def home(self) -> None:
        """In the guest's language, which the home page forgets between two visits."""
        self.page.wait_for_selector("main[data-screen=home]")
        if self.page.get_attribute("html", "lang")[:2] != self.lang:
            self.tool("lang")
            self.page.wait_for_selector(f"html[lang|={self.lang}]")
        self.look()

    def start(self, flow: str) -> None:
        self.home()
        self.page.wait_for_selector(f"button[value=start-{flow}]")
        self.press(f"start-{flow}")

    def look(self) -> None:
        """Once for each screen: measures in both types, axe, a picture."""
        for _ in range(LOOKS):
            here = self._here()
            if here["screen"] in self.seen or self._looked(here):
                return

    def shoot(self, name: str) -> None:
        self._keep(name, self._picture())

    def _looked(self, here: Mapping[str, str]) -> bool:
        """Whether the screen stood there for so long."""
        name = here["screen"]
        try:
            self.page.wait_for_function(_IS_WHOLE)
            faults = self.page.evaluate(_LOOK, TYPES)
            faults += self.page.evaluate(_AXE, AXE_TAGS) if self._has_axe else []
            picture = self._picture()
        except Error as error:
            if not _is_of_leaving(error):
                raise
            return False
        if any(self._here()[part] != here[part] for part in ("screen", "number")):
            return False
        self.wrong += [f"{name} {self.lang} {fault}" for fault in faults]
        self._keep(name, picture)
        self.seen.append(name)
        return True

    def _picture(self) -> bytes:
        if not ARE_WANTED:
            return b""
        self.page.mouse.move(0, 0)  # fingers do not hover
        self.page.evaluate(_script("whole"))
        return bytes(self.page.screenshot(animations="disabled"))

    def _keep(self, name: str, picture: bytes) -> None:
        if picture:
            folder = SHOTS / f"{self.lang}-{self.size['width']}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{len(self.seen):02d}-{name}.png").write_bytes(picture)

    def _here(self) -> dict[str, str]:
        """What the page says of its screen."""
        self.page.wait_for_selector("main")
        found = self._steadily(lambda: self.page.evaluate(_HERE))
        return self._here() if found is None else dict(found)

    def _steadily(self, ask: Callable[[], T]) -> T:
        """Asked anew where the page is replaced by another meanwhile."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ask()
            except Error as error:
                if not _is_of_leaving(error) or time.monotonic() > end:
                    raise

    def _on_console(self, message: Any) -> None:
        """The machine is killed in one of the tests: what cannot be reached then is no fault."""
        if message.type in ("error", "warning") and "ERR_" not in message.text and "Failed to load" not in message.text:
            self.wrong.append(f"after {self.seen[-1:]}: console: {message.text}")


def _is_of_leaving(error: Error) -> bool:
    return any(words in str(error) for words in _LEFT)


@contextmanager
def guest_at(url: str, lang: str, size: dict[str, int], axe: Path | None) -> Iterator[Guest]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        # Scripts of the test are no scripts of the page: its policy is looked at by the pages' own tests.
        context = browser.new_context(viewport=size, locale="zh-CN", bypass_csp=True)
        if axe is not None:
            context.add_init_script(path=str(axe))
        page = context.new_page()
        page.goto(f"{url}/kiosk")
        yield Guest(page, lang, size, has_axe=axe is not None)
        browser.close()
