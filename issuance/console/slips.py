"""PDF without libraries and fonts: receipts, 72 mm wide, for the slip printer of a counter, and what larger pages need.

Chinese is set in STSong-Light over Adobe-GB1, one of the fonts that a PDF names and the viewer has or replaces by its
own (ISO 32000-1, 9.7.5.2): the server needs no Chinese font, and a slip is a few hundred bytes. The screens that show
these pages have one. Text goes in as UTF-16 (UniGB-UTF16-H), everything else in Helvetica.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

PDF: Final = "application/pdf"
_MM: Final = 72 / 25.4
WIDTH: Final = 72 * _MM
MARGIN: Final = 4 * _MM
_LEADING: Final = 1.45
# fmt: off
_HELVETICA: Final = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556,
    556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278,
    500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469,
    556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500,
    278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
)
# fmt: on
"""Widths of space to tilde, thousandths of the size (Adobe's metrics of the standard fonts)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One paragraph; `is_rule` draws a line across instead."""

    text: str = ""
    size: float = 9.0
    is_rule: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page: its size in points and what is drawn on it."""

    width: float
    height: float
    content: bytes


def slip(paragraphs: Iterable[Line], *, title: str) -> bytes:
    """A page as long as what stands on it."""
    lines = [line for paragraph in paragraphs for line in wrapped(paragraph, WIDTH - 2 * MARGIN)]
    height = 2 * MARGIN + sum(line.size * _LEADING for line in lines)
    y, made = height - MARGIN, []
    for line in lines:
        y -= line.size * _LEADING
        middle = y + line.size * _LEADING / 3
        made.append(rule(MARGIN, WIDTH - MARGIN, middle) if line.is_rule else drawn(line, MARGIN, y))
    return document([Sheet(WIDTH, height, b"".join(made))], title)


def wrapped(line: Line, room: float) -> list[Line]:
    """Broken where the room ends; Latin words stay whole where they can."""
    if line.is_rule or not line.text:
        return [line]
    made, current = [], ""
    for word in _words(line.text):
        if current and text_width(current + word, line.size) > room:
            made.append(current)
            current = word.lstrip(" ")
        else:
            current += word
        while text_width(current, line.size) > room:
            fits = next(n for n in range(len(current) - 1, 0, -1) if text_width(current[:n], line.size) <= room)
            made.append(current[:fits])
            current = current[fits:]
    return [Line(text, line.size) for text in (*made, current)]


def _words(text: str) -> list[str]:
    """Chinese may break after every character but before closing punctuation and the dot within a name, Latin before
    a blank."""
    made: list[str] = []
    for character in text:
        if made and _sticks(made[-1][-1], character):
            made[-1] += character
        else:
            made.append(character)
    return made


def _sticks(before: str, character: str) -> bool:
    is_inner = character != " " and _is_latin(before) and _is_latin(character)
    return is_inner or character in "，。；：！？、）》”·"


def _is_latin(character: str) -> bool:
    return " " <= character <= "~"


def text_width(text: str, size: float) -> float:
    return sum(_HELVETICA[ord(c) - 32] if _is_latin(c) else 1000 for c in text) * size / 1000


def rule(start: float, end: float, y: float, width: float = 0.5) -> bytes:
    return f"{width:g} w {start:.1f} {y:.1f} m {end:.1f} {y:.1f} l S\n".encode()


def drawn(line: Line, x: float, y: float) -> bytes:
    made = []
    for is_latin, run in itertools.groupby(line.text, _is_latin):
        text = "".join(run)
        font, shown = ("L", _literal(text)) if is_latin else ("C", f"<{text.encode('utf-16-be').hex().upper()}>")
        made.append(f"BT /{font} {line.size:g} Tf {x:.2f} {y:.2f} Td {shown} Tj ET\n")
        x += text_width(text, line.size)
    return "".join(made).encode("ascii")


def _literal(text: str) -> str:
    return "(" + "".join(f"\\{c}" if c in "()\\" else c for c in text) + ")"


def document(sheets: Sequence[Sheet], title: str) -> bytes:
    name = f"<FEFF{title.encode('utf-16-be').hex().upper()}>"
    pages = range(_FIRST_PAGE, _FIRST_PAGE + 2 * len(sheets), 2)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /DisplayDocTitle true >> >>",
        f"<< /Type /Pages /Kids [{' '.join(f'{page} 0 R' for page in pages)}] /Count {len(sheets)} >>".encode(),
        *_FONTS,
    ]
    for page, sheet in zip(pages, sheets, strict=True):
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {sheet.width:.1f} {sheet.height:.1f}]"
            f" /Contents {page + 1} 0 R /Resources << /Font << /L 3 0 R /C 4 0 R >> >> >>".encode(),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(sheet.content), sheet.content),
        ]
    return _file([*objects, f"<< /Title {name} >>".encode()])


_FONTS: Final = (
    b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    b"<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light-UniGB-UTF16-H /Encoding /UniGB-UTF16-H"
    b" /DescendantFonts [5 0 R] >>",
    b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /DW 1000 /FontDescriptor 6 0 R"
    b" /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 5 >> >>",
    b"<< /Type /FontDescriptor /FontName /STSong-Light /Flags 6 /FontBBox [-25 -254 1000 880] /ItalicAngle 0"
    b" /Ascent 880 /Descent -120 /CapHeight 880 /StemV 93 >>",
)
"""Objects 3 to 6."""
_FIRST_PAGE: Final = 7


def _file(objects: Sequence[bytes]) -> bytes:
    """Numbered from 1, with cross-reference table and trailer; the last object is the document's information."""
    made, places = bytearray(b"%PDF-1.6\n%\xe2\xe3\xcf\xd3\n"), []
    for number, content in enumerate(objects, start=1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    made += b"".join(b"%010d 00000 n \n" % place for place in places)
    made += b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        len(objects),
        start,
    )
    return bytes(made)
