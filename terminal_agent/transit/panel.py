"""The gate's display on the terminal: big words, a colour and a symbol for each sign, a bell for each beep."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final, TextIO

from rich.align import Align
from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from terminal_agent.transit.screen import BEEPS, Picture, Screen, Sign

_SYMBOLS: Final[Mapping[Sign, str]] = {
    Sign.IDLE: "▭",
    Sign.PASS: "↑",
    Sign.AGAIN: "↻",
    Sign.STAFF: "!",
    Sign.STOP: "✕",
    Sign.OUT: "—",
}
_STYLES: Final[Mapping[Sign, str]] = {
    Sign.IDLE: "white on #132b50",
    Sign.PASS: "white on #0d5c33",
    Sign.AGAIN: "#15202b on #ffc940",
    Sign.STAFF: "#15202b on #ffc940",
    Sign.STOP: "white on #8e1616",
    Sign.OUT: "white on #38424d",
}


async def show(screen: Screen, place: str, output: TextIO | None = None) -> None:
    """Each picture as it comes: a panel where somebody watches, else a line. Ends with the screen."""
    stream = output or sys.stdout
    console = Console(file=stream)
    async for picture in screen.changes():
        if console.is_terminal:
            console.clear()
            console.print(panel(picture, place))
            stream.write("\a" * BEEPS.get(picture.sign, 0))
        else:
            console.print(line(picture), markup=False, highlight=False, soft_wrap=True)
        stream.flush()


def panel(picture: Picture, place: str) -> Panel:
    words = [
        Text(f"{_SYMBOLS[picture.sign]}   {' '.join(picture.title.zh)}", style="bold"),
        Text(picture.text.zh),
        *([Text(picture.money.zh)] if picture.money.zh else []),
        Text(f"{picture.title.en} · {picture.text.en}"),
    ]
    body = Align.center(Group(*(Align.center(word) for word in words)), vertical="middle", height=9)
    return Panel(body, style=_STYLES[picture.sign], subtitle=" · ".join(filter(None, (place, picture.note.zh))))


def line(picture: Picture) -> str:
    parts = (picture.title.zh, picture.text.zh, picture.money.zh, picture.note.zh, picture.title.en, picture.text.en)
    return f"{_SYMBOLS[picture.sign]} " + " · ".join(filter(None, parts))
