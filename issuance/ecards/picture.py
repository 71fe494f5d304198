"""The QR pictures of a code."""

from __future__ import annotations

import base64
import io
from typing import Any

from qrcode.constants import ERROR_CORRECT_M
from qrcode.image.pil import PilImage
from qrcode.image.svg import SvgPathImage
from qrcode.main import QRCode

_BOX_PIXELS = 8
_BORDER_MODULES = 4  # ISO/IEC 18004 §9.1 asks for four


def draw(text: str) -> tuple[str, str]:
    """PNG in base64, and SVG."""
    code: Any = QRCode(error_correction=ERROR_CORRECT_M, box_size=_BOX_PIXELS, border=_BORDER_MODULES)
    code.add_data(text)
    code.make(fit=True)
    png = io.BytesIO()
    code.make_image(image_factory=PilImage).save(png, format="PNG")
    svg = code.make_image(image_factory=SvgPathImage).to_string(encoding="unicode")
    return base64.b64encode(png.getvalue()).decode(), str(svg)
