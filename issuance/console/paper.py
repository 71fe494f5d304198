"""Tables as PDF on A4, in the fonts of the slips: a heading, facts, one table a part, page numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from issuance.console.file_parts import Part
from issuance.console.slips import Line, Sheet, document, drawn, rule, wrapped

_MM: Final = 72 / 25.4
WIDTH: Final = 210 * _MM
HEIGHT: Final = 297 * _MM
_SIDE: Final = 14 * _MM
_TOP: Final = 16 * _MM
_ROOM: Final = WIDTH - 2 * _SIDE
_GAP: Final = 5.0
_BODY: Final = 8.0
_FOOT: Final = 7.0
_LEADING: Final = 1.4


class _Pages:
    """Written from the top; what does not fit begins the next page. `foot` stands below each, with its number."""

    def __init__(self, foot: str) -> None:
        self._foot = foot
        self._bottom = _TOP + (len(_foot_lines(foot, "999/999")) - 1) * _FOOT * _LEADING
        self._pages: list[list[bytes]] = [[]]
        self._y = HEIGHT - _TOP

    def need(self, height: float) -> bool:
        """Whether a new page was begun for it."""
        if self._y - height >= self._bottom:
            return False
        self._pages.append([])
        self._y = HEIGHT - _TOP
        return True

    def text(self, text: str, size: float, *, before: float = 0) -> None:
        for line in wrapped(Line(text, size), _ROOM):
            self.need(before + size * _LEADING)
            self._y -= before + size * _LEADING
            self._draw(drawn(line, _SIDE, self._y))
            before = 0

    def row(self, cells: Sequence[list[Line]], places: Sequence[float]) -> None:
        self._y -= _height(cells)
        for cell, x in zip(cells, places, strict=True):
            for number, line in enumerate(cell):
                y = self._y + (max(map(len, cells)) - 1 - number) * _BODY * _LEADING
                self._draw(drawn(line, x, y))
        self.line(0.25)

    def line(self, width: float) -> None:
        self._y -= 3
        self._draw(rule(_SIDE, WIDTH - _SIDE, self._y, width))

    def sheets(self) -> list[Sheet]:
        made = []
        for number, page in enumerate(self._pages, start=1):
            upwards = reversed(_foot_lines(self._foot, f"{number}/{len(self._pages)}"))
            lines = [drawn(line, _SIDE, _TOP / 2 + n * _FOOT * _LEADING) for n, line in enumerate(upwards)]
            made.append(Sheet(WIDTH, HEIGHT, b"".join([*page, *lines])))
        return made

    def _draw(self, content: bytes) -> None:
        self._pages[-1].append(content)


def paper(place: str, title: str, facts: Sequence[tuple[str, str]], parts: Sequence[Part], foot: str) -> bytes:
    """Parts without rows are left out."""
    pages = _Pages(foot)
    pages.text(place, 10)
    pages.text(title, 16)
    pages.line(1)
    pages.text("    ".join(f"{label} {text}" for label, text in facts if text), 10, before=4)
    for part in parts:
        if part.rows:
            _table(pages, part)
    return document(pages.sheets(), title)


def _foot_lines(foot: str, number: str) -> list[Line]:
    return wrapped(Line(f"{foot}  {number}", _FOOT), _ROOM)


def _table(pages: _Pages, part: Part) -> None:
    total, places, at = sum(part.widths), [], _SIDE
    rooms = [_ROOM * width / total - _GAP for width in part.widths]
    for room in rooms:
        places.append(at)
        at += room + _GAP
    heading = _cells(part.headings, rooms)
    pages.need(60)
    pages.text(part.title, 11, before=10)
    pages.row(heading, places)
    for row in part.rows:
        cells = _cells(row, rooms)
        if pages.need(_height(cells) + 3):
            pages.row(heading, places)
        pages.row(cells, places)


def _cells(texts: Sequence[str], rooms: Sequence[float]) -> list[list[Line]]:
    return [wrapped(Line(text, _BODY), room) for text, room in zip(texts, rooms, strict=True)]


def _height(cells: Sequence[list[Line]]) -> float:
    return max(map(len, cells)) * _BODY * _LEADING + 1
