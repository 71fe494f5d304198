"""QR pictures of codes by one rule, for every kind: own codes, transit codes, city codes, login links.

The content goes in as bytes, without an ECI and without a change of mode, so that a reader gets exactly those bytes.
A picture is drawn in whole pixels a module; what is left over widens the quiet zone. At 200 × 200 pixels all kinds
decode in zxing-cpp, zbar and jsQR (`./onecard bench --only pictures`, docs/wallet.md).
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import cache
from typing import Final

import zxingcpp
from PIL import Image

QUIET_MODULES: Final = 4  # ISO/IEC 18004 §9.1
SMALLEST_PX: Final = 200
GOOD_MODULE_PX: Final = 4
MAX_BYTES: Final = 365
"""What the writer puts into version 12 at level L: two whole pixels a module of 200; a transit code has at most 364."""
LINK_MASK: Final = 4
"""Of log-in links, which are random: read as often as with the evenest of the eight (docs/wallet.md)."""
DPI: Final = 300
_PRINT_MM: Final = 25
_LEVELS: Final = ("H", "Q", "M", "L")
_DARK: Final = re.compile(rb"\x01+")
_IS_DARK: Final = bytes(not pixel for pixel in range(256))
_ONLY_QR: Final = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
_PIECE: Final = 8
"""Modules: few enough that all their patterns are soon known."""


@dataclass(frozen=True, slots=True)
class CodePicture:
    """`rows` of modules with the quiet zone, 1 for a dark one. `level`: of error correction, H most to L least."""

    rows: tuple[bytes, ...]
    level: str

    @property
    def size(self) -> int:
        """Modules of a side."""
        return len(self.rows)

    @property
    def print_dots(self) -> int:
        """Side at 300 dpi, about 25 mm, in whole dots a module."""
        return max(1, round(_PRINT_MM / 25.4 * DPI / self.size)) * self.size

    def image(self, side_px: int) -> Image.Image:
        """Grey, `side_px` square. Raises ValueError where a module would be less than one pixel."""
        module_px = side_px // self.size
        if not module_px:
            raise ValueError(f"{self.size} modules do not fit {side_px} pixels")
        pixels = bytes(0 if is_dark else 255 for row in self.rows for is_dark in row)
        code = Image.frombytes("L", (self.size, self.size), pixels)
        drawn = self.size * module_px
        whole = Image.new("L", (side_px, side_px), 255)
        corner = (side_px - drawn) // 2
        whole.paste(code.resize((drawn, drawn), Image.Resampling.NEAREST), (corner, corner))
        return whole

    def png(self, side_px: int) -> bytes:
        file = io.BytesIO()
        self.image(side_px).convert("1", dither=Image.Dither.NONE).save(file, "PNG")
        return file.getvalue()

    def path(self) -> str:
        """For an SVG's `d`: dark modules as runs of unit squares in a box of `size`."""
        drawn = []
        for y, row in enumerate(self.rows):
            runs = [_runs(x, row[x : x + _PIECE]) for x in range(0, self.size, _PIECE)]
            drawn.append("".join(runs).replace("y", str(y)))
        return "".join(drawn)

    def svg(self) -> str:
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.size} {self.size}" '
            f'shape-rendering="crispEdges"><path fill="#fff" d="M0 0h{self.size}v{self.size}h-{self.size}z"/>'
            f'<path d="{self.path()}"/></svg>'
        )


def picture_of(content: bytes, *, mask: int | None = None) -> CodePicture:
    """With the strongest error correction that leaves 4 pixels a module at 200 pixels, else with the least.

    Large modules help a reader more than error correction does. `mask`: the data mask, 0 to 7, for what is random each
    time and drawn often; the writer else draws all eight and takes the evenest (ISO/IEC 18004 §7.8), which is most of
    the work and guards against contents that are regular. Raises ValueError for nothing and for more than MAX_BYTES.
    """
    if not 0 < len(content) <= MAX_BYTES:
        raise ValueError(f"{len(content)} bytes; a code holds 1 to {MAX_BYTES}")
    for level in _LEVELS:
        made = CodePicture(_modules(content, level, mask), level)
        if SMALLEST_PX // made.size >= GOOD_MODULE_PX:
            break
    return made


@cache
def _runs(x: int, modules: bytes) -> str:
    """Dark ones of a piece of a row that begins at `x`; its height is left as the letter y."""
    runs = ((x + found.start(), found.end() - found.start()) for found in _DARK.finditer(modules))
    return "".join(f"M{start} yh{length}v1h-{length}z" for start, length in runs)


def _modules(content: bytes, level: str, mask: int | None) -> tuple[bytes, ...]:
    options = {} if mask is None else {"data_mask": mask}
    code = zxingcpp.create_barcode(content, zxingcpp.BarcodeFormat.QRCode, ec_level=level, **options)
    pixels = memoryview(code.to_image(scale=1, add_quiet_zones=True))  # type: ignore[arg-type]
    height, width = pixels.shape or (0, 0)
    flat = pixels.tobytes().translate(_IS_DARK)
    return tuple(flat[at : at + width] for at in range(0, height * width, width))


def codes_in(picture: Image.Image) -> list[zxingcpp.Barcode]:
    """QR codes in a picture. Asked for all kinds, zxing-cpp sees bars in the squares of one large code of a hundred."""
    return list(zxingcpp.read_barcodes(picture, _ONLY_QR))
