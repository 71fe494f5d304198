"""The gallery in Chromium: its pages one after the other in one window, measured or photographed.

    .venv/bin/python -m tests.terminal_agent.kiosk.gallery_browser <folder> [<name>…]

writes pictures of all screens, or of those whose name begins so, in both languages, sizes and types.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import bootstrap_wrapper  # type: ignore[import-untyped]
from playwright.sync_api import sync_playwright

import onecard_ui
from onecard_ui.code_picture import picture_of
from simulators.portrait import Portrait
from terminal_agent.kiosk import pages
from terminal_agent.kiosk.words import LANGS
from tests.terminal_agent.kiosk.gallery import gallery
from tests.terminal_agent.kiosk.gallery_parts import page_of
from tests.terminal_agent.test_pin_browser import CHROMIUM, FLAGS

SIZES: Final = ({"width": 1080, "height": 1920}, {"width": 1280, "height": 800})
TYPES: Final[tuple[Literal["normal", "large"], ...]] = ("normal", "large")
HERE: Final = "http://127.0.0.1"
LOOK, WHOLE = (
    (Path(__file__).parents[2] / "e2e" / f"kiosk_{name}.js").read_text("utf-8") for name in ("look", "whole")
)
_STATIC: Final = (pages.HERE.parent / "static", Path(onecard_ui.__file__).parent / "static")
_KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_SHOW: Final = """html => {
  const page = new DOMParser().parseFromString(html, "text/html");
  for (const one of page.documentElement.attributes) document.documentElement.setAttribute(one.name, one.value);
  const agent = document.querySelector("link[href$='agent.css']");
  agent.sheet.disabled = !page.querySelector("link[href$='agent.css']");
  document.body.replaceWith(document.adoptNode(page.body));
  for (const hidden of document.querySelectorAll("#keypad, #timer")) hidden.hidden = false;
  for (const boxes of document.querySelectorAll(".pin-box .oc-pin")) {
    boxes.hidden = false;
    boxes.parentElement.setAttribute("data-drawn", "");
    boxes.replaceChildren(...Array.from({length: 6}, () => document.createElement("span")));
  }
  scrollTo(0, 0);
}"""
_MEASURE: Final = f"""async given => {{
  const [show, look] = [{_SHOW}, {LOOK}];
  const faults = [];
  for (const [name, html] of given.pages) {{
    show(html);
    await Promise.all([...document.images].map(image => image.decode())); // icons have a size without their file
    for (const type of given.types) {{
      document.documentElement.dataset.type = type;
      faults.push(...look().map(fault => `${{name}} ${{innerWidth}} ${{type}}: ${{fault}}`));
    }}
  }}
  return faults;
}}"""


def _served(route: Any) -> None:
    """What the pages ask for, without a server."""
    path = route.request.url.removeprefix(HERE).partition("?")[0]
    if path == "/":
        names = ("onecard", "kiosk", "kiosk_flows", "kiosk_large", "agent")
        links = "".join(f'<link rel="stylesheet" href="/static/{name}.css">' for name in names)
        route.fulfill(body=f"<!doctype html><html><head>{links}</head><body></body></html>", content_type="text/html")
    elif path == "/kiosk/qr.svg":
        route.fulfill(body=picture_of(b"https://phone.example/apply").svg(), content_type="image/svg+xml")
    elif path == "/kiosk/picture/portrait":
        route.fulfill(body=Portrait().jpeg(), content_type="image/jpeg")
    elif path.startswith("/static/"):
        name = path.removeprefix("/static/")
        body = next((folder / name).read_bytes() for folder in _STATIC if (folder / name).is_file())
        if name == onecard_ui.STYLES:
            body = (Path(bootstrap_wrapper.get_bootstrap_css_dir()) / "bootstrap.min.css").read_bytes() + body
        route.fulfill(body=body, content_type=_KINDS.get(Path(name).suffix, "application/octet-stream"))
    else:
        route.abort()


@contextmanager
def window() -> Iterator[Any]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport=SIZES[0])
        page.route("**/*", _served)
        page.goto(HERE)
        yield page
        browser.close()


def faults() -> list[str]:
    """What does not fit or cannot be touched: screen, language, width, type, fault."""
    drawn = [(f"{shown.name} {lang}", page_of(shown, lang)) for shown in gallery() for lang in LANGS]
    with window() as page:
        found: list[str] = []
        for size in SIZES:
            page.set_viewport_size(size)
            found += page.evaluate(_MEASURE, {"pages": drawn, "types": TYPES})
    return found


def main(folder: str, *wanted: str) -> int:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    with window() as page:
        for shown in gallery():
            if wanted and not shown.name.startswith(wanted):
                continue
            for lang in LANGS:
                for size in SIZES:
                    page.set_viewport_size(size)
                    for kind in TYPES:
                        page.evaluate(_SHOW, page_of(shown, lang, is_large=kind == "large"))
                        page.evaluate(WHOLE)
                        picture = f"{shown.name}-{lang}-{size['width']}-{kind}"
                        page.screenshot(path=out / f"{picture}.png", animations="disabled")
                        for fault in page.evaluate(LOOK):
                            print(f"{picture}: {fault}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
