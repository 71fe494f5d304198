"""What a person takes along: on the receipt printer, or as a PDF of one small page.

Both carry what `Receipt` has and nothing else; numbers are masked where it is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from cardlib.transit_code import CHINA
from terminal_agent.kiosk.screens import Receipt, in_words
from terminal_agent.kiosk.words import Lang, ScreenWords
from terminal_agent.receipts import MAX_TEXT, WIDTH, Line
from terminal_agent.receipts import Receipt as PaperReceipt

TABLE: Final = "receipt"
RULE: Final = "-" * WIDTH
_POINT: Final = " · "
_ENDS: Final = "，。；：、？！”）"
_PAGE_PT: Final = (204, 14, 14)
"""Width of 72 mm, margin, and smallest size of type, in points."""


def lines(receipt: Receipt, lang: Lang, place: str, at: datetime) -> Iterator[Line]:
    """From top to bottom, none wider than the paper."""
    words = ScreenWords(lang, TABLE, {})
    yield Line(words("mark"), "centre", is_bold=True)
    if place:
        parts = [place] if _width(place) <= WIDTH else place.split(_POINT)
        yield from (Line(line, "centre") for part in parts for line in folded(part))
    yield Line(f"{at:%Y-%m-%d %H:%M}", "centre")
    yield Line(RULE)
    yield from (Line(part, is_bold=True) for part in folded(words(receipt.title)))
    if receipt.number:
        yield Line(words("receipt_number"), "centre")
        yield from (Line(part, "centre", is_large=True) for part in _halved(receipt.number))
    for key, value in receipt.rows:
        yield from (Line(part) for part in folded(f"{words(key)}{words('colon')}{in_words(value, lang)}"))
    if receipt.next_step:
        yield Line(RULE)
        yield from (Line(part) for part in folded(words(receipt.next_step)))
    yield Line(RULE)
    yield from (Line(part) for part in folded(words("help")))


def _halved(number: str) -> list[str]:
    """In one large line, or in two that are alike."""
    most = WIDTH // 2
    return folded(number, most if len(number) <= most else min(most, (len(number) + 1) // 2))


def as_receipt(receipt: Receipt, lang: Lang, place: str, at: datetime | None = None) -> PaperReceipt:
    """For the receipt printer."""
    return PaperReceipt(tuple(lines(receipt, lang, place, at or datetime.now(CHINA))), receipt.qr)


def folded(text: str, width: int = WIDTH) -> list[str]:
    """In lines of at most `width` narrow characters; Latin words stay whole where they can."""
    found, line = [], ""
    for word in _words(text[:MAX_TEXT]):
        if line and _width(line + word.rstrip()) > width:
            found.append(line.rstrip())
            line = ""
        line += word if line or word.strip() else ""
        while _width(line.rstrip()) > width:
            cut = next(n for n in range(len(line), 0, -1) if _width(line[:n]) <= width)
            found.append(line[:cut])
            line = line[cut:]
    return [*found, line.rstrip()] if line.strip() else found


def _words(text: str) -> Iterator[str]:
    """A wide character is a word of its own, with the marks that end a line; a blank belongs to the word before it."""
    word = ""
    for char in text:
        is_end = char == " " or (char in _ENDS and word[-1:] != " ")
        if word and not is_end and (_width(char) == 2 or _width(word[-1]) == 2 or word[-1] == " "):
            yield word
            word = ""
        word += char
    if word:
        yield word


def _width(text: str) -> int:
    """In columns of the printer, whose characters of two bytes (GBK) are wide: “ and · too."""
    return sum(1 if char.isascii() else 2 for char in text)


def as_pdf(receipt: Receipt, lang: Lang, place: str, at: datetime | None = None) -> bytes:
    """One page as wide as the paper of a receipt printer. The text is text, for screen readers too; its font is one
    that every viewer has or replaces (Adobe-GB1, ISO 32000-1 §9.7.5.2), so that no font file is needed here."""
    shown = list(lines(receipt, lang, place, at or datetime.now(CHINA)))
    width, margin, size = _PAGE_PT
    leading = size * 1.4
    height = round(2 * margin + leading * sum(2 if line.is_large else 1 for line in shown))
    y, drawn = float(height - margin), []
    for line in shown:
        scale = 2 if line.is_large else 1
        y -= leading * scale
        points = size * 0.75 * scale
        left = margin if line.align == "left" else (width - _width(line.text) * points / 2) / 2
        hexed = line.text.encode("utf-16-be").hex()
        drawn.append(f"BT /F1 {points:g} Tf 1 0 0 1 {left:.1f} {y + leading * 0.3:.1f} Tm <{hexed}> Tj ET")
    return _pdf(width, height, "\n".join(drawn).encode(), ScreenWords(lang, TABLE, {})("mark"), lang)


def _pdf(width: int, height: int, content: bytes, title: str, lang: Lang) -> bytes:
    """A file of one page with one font."""
    name = b"<FEFF" + title.encode("utf-16-be").hex().encode() + b">"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /Lang (%b) /ViewerPreferences << /DisplayDocTitle true >> >>"
        % (b"zh-CN" if lang == "zh" else b"en"),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
        % (width, height),
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light-UniGB-UTF16-H /Encoding /UniGB-UTF16-H"
        b" /DescendantFonts [6 0 R] >>",
        b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /DW 1000 /W [1 95 500 814 939 500]"
        b" /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 5 >> /FontDescriptor 7 0 R >>",
        b"<< /Type /FontDescriptor /FontName /STSong-Light /Flags 6 /FontBBox [-25 -254 1000 880] /ItalicAngle 0"
        b" /Ascent 880 /Descent -120 /CapHeight 880 /StemV 93 >>",
        b"<< /Title %b /Producer (OneCard) >>" % name,
    ]
    parts, offsets = [b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"], []
    for index, body in enumerate(objects, 1):
        offsets.append(sum(map(len, parts)))
        parts.append(b"%d 0 obj\n%b\nendobj\n" % (index, body))
    start = sum(map(len, parts))
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    parts.append(
        b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<< /Size %d /Root 1 0 R /Info 8 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (len(objects) + 1, table, len(objects) + 1, start)
    )
    return b"".join(parts)
