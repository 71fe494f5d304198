"""How often the QR pictures of every kind of code are read, byte for byte, by three independent decoders.

Each kind is drawn by the one rule (`onecard_ui.code_picture`) and then treated as life treats pictures. Contents and
damage come from a fixed seed, so that a figure can be had again. `python -m bench.pictures` writes the table of
docs/wallet.md.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageFilter
from rich.table import Table

from bench.decoders import DECODERS, missing
from bench.measure import BenchError, heading
from onecard_ui.code_picture import LINK_MASK, SMALLEST_PX, CodePicture, picture_of

SAMPLES: Final = 25
SEED: Final = 7
CAMERA_PX: Final = 400
DOCS: Final = Path(__file__).parents[1] / "docs" / "wallet.md"
DOCS_BEGIN, DOCS_END = "<!-- pictures -->", "<!-- /pictures -->"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

Dice = random.Random


def _text(dice: Dice, length: int) -> str:
    return "".join(dice.choices(_ALPHABET, k=length))


def _transit(dice: Dice) -> bytes:
    length = dice.randint(332, 364)
    return b"\x81" + (length - 3).to_bytes(2, "big") + dice.randbytes(length - 3)


KINDS: Final[dict[str, Callable[[Dice], bytes]]] = {
    "own online code": lambda dice: f"OC1.{_text(dice, 43)}".encode(),
    "login link": lambda dice: f"https://login.example.com/s#{_text(dice, 43)}".encode(),
    "city code": lambda dice: f"https://city.example.com/c/{_text(dice, dice.randint(90, 230))}".encode(),
    "transit code": _transit,
}
_MASKS: Final = {"login link": LINK_MASK}


# -- what happens to a picture ---------------------------------------------------------------------------------------


def _noise(frame: Image.Image, dice: Dice, spread: int) -> Image.Image:
    """Each pixel brighter or darker by up to `spread`."""
    noise = Image.frombytes("L", frame.size, dice.randbytes(frame.width * frame.height))
    return Image.blend(frame, noise, spread / 255)


def _jpeg(frame: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    frame.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("L")


def _turned(frame: Image.Image, degrees: float) -> Image.Image:
    return frame.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=255)


def _contrast(frame: Image.Image, dark: int, light: int) -> Image.Image:
    return frame.point([dark + value * (light - dark) // 255 for value in range(256)])


def _screen(picture: CodePicture, _dice: Dice) -> Image.Image:
    return Image.open(io.BytesIO(picture.png(SMALLEST_PX))).convert("L")


def _print(picture: CodePicture, dice: Dice) -> Image.Image:
    """300 dpi, scanned at the same: ink spreads, dots miss, the scanner's file is a JPEG."""
    inked = picture.image(picture.print_dots).filter(ImageFilter.GaussianBlur(0.8))
    dots = _noise(inked, dice, 60).point([255 * (value > 127) for value in range(256)])
    return _jpeg(dots.filter(ImageFilter.GaussianBlur(0.5)), 60)


def _camera(picture: CodePicture) -> Image.Image:
    return picture.image(CAMERA_PX)


def _blur(picture: CodePicture, _dice: Dice) -> Image.Image:
    return _camera(picture).filter(ImageFilter.GaussianBlur(1.5))


def _rotation(picture: CodePicture, dice: Dice) -> Image.Image:
    return _turned(_camera(picture), dice.uniform(0, 360))


def _low_contrast(picture: CodePicture, _dice: Dice) -> Image.Image:
    return _contrast(_camera(picture), 90, 170)


def _by_hand(picture: CodePicture, dice: Dice) -> Image.Image:
    """Everything at once, in milder form: a counter's camera and a phone held askew."""
    blurred = _turned(_camera(picture), dice.uniform(-20, 20)).filter(ImageFilter.GaussianBlur(1))
    return _jpeg(_noise(_contrast(blurred, 60, 200), dice, 30), 60)


TREATMENTS: Final[dict[str, Callable[[CodePicture, Dice], Image.Image]]] = {
    "PNG, 200 × 200": _screen,
    "print, 300 dpi": _print,
    "blur, σ 1.5 px": _blur,
    "rotation, any": _rotation,
    "contrast 90 : 170": _low_contrast,
    "held askew, all": _by_hand,
}


# -- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PictureRow:
    """Pictures read of `samples`, byte for byte, by decoder. `module_px`: whole pixels a module at 200 pixels."""

    kind: str
    treatment: str
    module_px: int
    level: str
    samples: int
    read: dict[str, int]


@dataclass(slots=True)
class PictureResult:
    rows: list[PictureRow]
    skipped: dict[str, str]
    """Decoders that are not here, with the reason."""

    def to_json(self) -> dict[str, Any]:
        return {"rows": [asdict(row) for row in self.rows], "skipped": self.skipped}

    def tables(self) -> list[Table | str]:
        samples = self.rows[0].samples
        table = Table(title=f"二维码图片，{samples} 张里读出的 / QR pictures read of {samples}, byte for byte")
        for zh, en in (("码", "code"), ("图片", "picture")):
            table.add_column(heading(zh, en))
        for zh, en in (("纠错", "level"), ("像素/模块", "px a module"), *((name, "") for name in self.rows[0].read)):
            table.add_column(heading(zh, en), justify="right")
        for row in self.rows:
            found = (f"{count}" for count in row.read.values())
            table.add_row(row.kind, row.treatment, row.level, str(row.module_px), *found)
        return [table, *(f"{name}: {reason}" for name, reason in self.skipped.items())]


def measure(samples: int = SAMPLES) -> PictureResult:
    skipped = {name: reason for name in DECODERS if (reason := missing(name))}
    decoders = {name: decode for name, decode in DECODERS.items() if name not in skipped}
    rows = []
    for kind, make in KINDS.items():
        dice = Dice(f"{SEED} {kind}")
        contents = [make(dice) for _ in range(samples)]
        pictures = [picture_of(content, mask=_MASKS.get(kind)) for content in contents]
        largest = max(pictures, key=lambda picture: picture.size)
        frames = [treat(picture, dice) for treat in TREATMENTS.values() for picture in pictures]
        found = {name: decode(frames) for name, decode in decoders.items()}
        for number, treatment in enumerate(TREATMENTS):
            these = slice(number * samples, (number + 1) * samples)
            read = {name: _agreeing(codes[these], contents) for name, codes in found.items()}
            rows.append(PictureRow(kind, treatment, SMALLEST_PX // largest.size, largest.level, samples, read))
    return PictureResult(rows, skipped)


def _agreeing(found: list[bytes], wanted: list[bytes]) -> int:
    return sum(one == other for one, other in zip(found, wanted, strict=True))


# -- in the docs -----------------------------------------------------------------------------------------------------


def markdown(result: PictureResult) -> str:
    """The table of docs/wallet.md: hundredths of pictures read, by decoder."""
    names = list(result.rows[0].read)
    lines = [
        f"| code | picture | level | px a module | {' | '.join(names)} |",
        f"|---|---|---|---|{'---|' * len(names)}",
    ]
    for row in result.rows:
        rates = " | ".join(f"{100 * count / row.samples:.0f} %" for count in row.read.values())
        lines.append(f"| {row.kind} | {row.treatment} | {row.level} | {row.module_px} | {rates} |")
    return "\n".join(lines)


def write_docs(page: Path, result: PictureResult) -> None:
    """Replace the table between the page's two marks. Raises BenchError when a decoder is missing."""
    if result.skipped:
        raise BenchError(f"no table without {', '.join(result.skipped)}")
    before, _, rest = page.read_text("utf-8").partition(DOCS_BEGIN)
    _, _, after = rest.partition(DOCS_END)
    page.write_text(f"{before}{DOCS_BEGIN}\n{markdown(result)}\n{DOCS_END}{after}", "utf-8")


if __name__ == "__main__":
    write_docs(DOCS, measure())
