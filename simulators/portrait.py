"""Portraits of people who do not exist: drawn from ellipses and shadows, in the form a card's photo has.

Every parameter is a pixel of the finished picture; defaults fit the profile of 358×441 at 350 dpi.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter

_DRAWN = 2
"""Drawn twice as large and reduced: soft edges."""
_GRAIN = 24
"""Noise of the simulated camera: at most 128 / 24 steps of brightness."""
Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Portrait:
    """`seed` varies colours and skin a little; `blur` in pixels; `faces` stand side by side."""

    seed: int = 0
    width: int = 358
    height: int = 441
    dpi: int = 350
    quality: int = 88
    hair_top: int = 14
    face_width: int = 190
    centre_x: int = 179
    eye_y: int = 190
    background: Colour = (250, 250, 250)
    blur: float = 0.0
    faces: int = 1
    has_eyes: bool = True
    mode: str = "RGB"

    def picture(self) -> Image.Image:
        canvas = Image.new("RGB", (self.width * _DRAWN, self.height * _DRAWN), self.background)
        for number in range(self.faces):
            shift = round((number - (self.faces - 1) / 2) * self.face_width * 1.15)
            _Head(self, canvas, self.centre_x + shift).draw()
        picture = canvas.resize((self.width, self.height), Image.Resampling.LANCZOS)
        noise = random.Random(self.seed).randbytes(self.width * self.height)
        grain = Image.frombytes("L", picture.size, noise).point(lambda value: 128 + (value - 128) // _GRAIN)
        picture = ImageChops.add(picture, Image.merge("RGB", (grain,) * 3), scale=1, offset=-128)
        return picture.filter(ImageFilter.GaussianBlur(self.blur)) if self.blur else picture

    def jpeg(self) -> bytes:
        out = io.BytesIO()
        self.picture().convert(self.mode).save(out, "JPEG", quality=self.quality, dpi=(self.dpi, self.dpi))
        return out.getvalue()


class _Head:
    def __init__(self, portrait: Portrait, canvas: Image.Image, centre_x: int) -> None:
        self._portrait = portrait
        self._canvas = canvas
        self._x = centre_x
        self._unit = portrait.face_width / 190
        shades = random.Random(portrait.seed)
        tone = shades.randint(-12, 12)
        self._skin: Colour = (226 + tone, 184 + tone, 156 + tone)
        dark = shades.randint(18, 44)
        self._hair: Colour = (dark + 6, dark + 2, dark)
        self._coat: Colour = (shades.randint(30, 90), shades.randint(40, 90), shades.randint(60, 120))

    def draw(self) -> None:
        eye = self._portrait.eye_y
        self._ellipse(0, 330 + eye - 40, 165, 150, self._coat, 2)
        self._ellipse(0, eye + 140, 42, 70, self._shade(-26), 3)
        crown = (eye - self._portrait.hair_top) / self._unit
        self._ellipse(0, eye - crown * self._unit / 2 + 20 * self._unit, 104, crown / 2 + 20, self._hair, 2)
        self._ellipse(0, eye + 28 * self._unit, 88, 118, self._skin, 3)
        for side in (-1, 1):
            self._ellipse(side * 90, eye + 18 * self._unit, 12, 26, self._shade(-18), 2)
            self._ellipse(side * 62, eye + 52 * self._unit, 26, 52, self._shade(-16), 16)
            self._ellipse(side * 40, eye + 2 * self._unit, 30, 18, self._shade(-44), 8)
            self._ellipse(side * 40, eye - 24 * self._unit, 27, 5, self._hair, 3)
            self._ellipse(side * 36, eye + 44 * self._unit, 20, 14, self._shade(14), 9)
            if self._portrait.has_eyes:
                self._eye(side, eye)
        self._ellipse(0, eye + 28 * self._unit, 8, 40, self._shade(16), 6)
        self._ellipse(0, eye + 62 * self._unit, 22, 8, self._shade(-50), 5)
        self._ellipse(0, eye + 92 * self._unit, 34, 8, (150, 78, 76), 4)
        self._ellipse(0, eye + 94 * self._unit, 30, 2, (96, 44, 46), 2)
        self._ellipse(0, eye + 118 * self._unit, 26, 6, self._shade(-24), 7)
        self._ellipse(0, eye - 62 * self._unit, 60, 24, self._shade(14), 18)

    def _eye(self, side: int, eye: int) -> None:
        self._ellipse(side * 40, eye, 20, 9, (238, 234, 230), 2)
        self._ellipse(side * 40, eye, 10, 10, (40, 26, 20), 1)
        self._ellipse(side * 40, eye - 8 * self._unit, 22, 4, (50, 34, 30), 2)
        self._ellipse(side * 40 + 3, eye - 3 * self._unit, 2, 2, (250, 250, 250), 0)

    def _shade(self, change: int) -> Colour:
        red, green, blue = (max(0, min(255, part + change)) for part in self._skin)
        return (red, green, blue)

    def _ellipse(self, dx: float, y: float, half_width: float, half_height: float, colour: Colour, soft: float) -> None:
        """`dx`, half axes and softness in units of the face, `y` in pixels."""
        x, unit = self._x + dx * self._unit, self._unit
        box: Box = (
            (x - half_width * unit) * _DRAWN,
            (y - half_height * unit) * _DRAWN,
            (x + half_width * unit) * _DRAWN,
            (y + half_height * unit) * _DRAWN,
        )
        mask = Image.new("L", self._canvas.size, 0)
        ImageDraw.Draw(mask).ellipse(box, fill=255)
        if soft:
            mask = mask.filter(ImageFilter.GaussianBlur(soft * unit * _DRAWN))
        self._canvas.paste(colour, mask=mask)
