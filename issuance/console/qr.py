"""QR codes as the path of an SVG, so that no picture has to be fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qrcode.main import QRCode


@dataclass(frozen=True, slots=True)
class QrPath:
    """`d` draws the dark modules as unit squares in a box of `size`, quiet zone of 4 included."""

    d: str
    size: int


def qr_path(text: str) -> QrPath:
    code: Any = QRCode(border=4)
    code.add_data(text)
    code.make(fit=True)
    rows = code.get_matrix()
    squares = (f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, is_dark in enumerate(row) if is_dark)
    return QrPath("".join(squares), len(rows))
