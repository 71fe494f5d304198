"""Checking a portrait against a region's profile: every reason at once, with what was measured.

Only JPEG is opened, and only after its header told how many pixels it has: a small file cannot unpack into a large one.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from PIL import Image, ImageFilter, ImageStat, JpegImagePlugin

from issuance.input_rules import FieldError, field_error
from issuance.photos.face import Face, FaceFinder
from issuance.rules import PhotoProfile

MAX_PIXELS = 4000 * 4000
LOCATION = "photo"
_DPI_SLACK = 1
_LAPLACIAN = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=1, offset=128)
_FACE_OF_FRAME = 0.8
"""Width of the face within the cascade's frame; measured on drawn faces, so good for about a tenth."""
_HAIR_DARKER = 40
"""How much darker than the background a pixel of the head is."""
_HAIR_SHARE = 0.04
"""Share of a row's middle that must be darker: single hairs and noise are not the head."""
_ANNEX_K = (16, 11, 10, 16, 24, 40, 51, 61)
"""First luminance steps of ITU-T T.81 K.1, natural order; the quality scale of the common encoders is built on them."""


@dataclass(slots=True)
class PhotoReport:
    """`errors` is empty when the photo fits; `is_geometry_checked` is False where nothing here can find faces."""

    measures: dict[str, Any] = field(default_factory=dict)
    errors: list[FieldError] = field(default_factory=list)
    is_geometry_checked: bool = False

    def refuse(self, reason: str, **limits: object) -> None:
        self.errors.append(field_error(LOCATION, reason, **limits))

    def demand(self, measure: str, value: float, low: float | None, high: float | None, reason: str) -> None:
        """Keep the measure; refuse it outside the bounds, None for no bound."""
        self.measures[measure] = value
        if (low is None or value >= low) and (high is None or value <= high):
            return
        expected = low if high is None else high if low is None else f"{low}–{high}"
        self.refuse(reason, measured=value, expected=expected)


def check_photo(jpeg: bytes, profile: PhotoProfile, finder: FaceFinder | None) -> PhotoReport:
    """Everything a picture tells about itself; the day it was taken is `check_day`'s."""
    report = PhotoReport()
    report.demand("kb", round(len(jpeg) / 1024, 1), profile.min_kb, profile.max_kb, "photo_kb")
    picture = _open(jpeg, report)
    if picture is None:
        return report
    _check_form(picture, profile, report)
    if picture.mode != "RGB":
        return report
    _check_background(picture, profile, report)
    if picture.size == (profile.width, profile.height):
        sharp = ImageStat.Stat(picture.convert("L").filter(_LAPLACIAN).crop(_inner(picture))).var[0]
        report.demand("sharpness", round(sharp, 1), profile.sharpness_min, None, "photo_blurred")
        if finder is not None:
            report.is_geometry_checked = True
            _check_face(picture, profile, finder.find(picture), report)
    return report


def check_day(taken_on: date, today: date, profile: PhotoProfile) -> list[FieldError]:
    if taken_on > today:
        return [field_error("query.taken_on", "photo_taken_future")]
    if (today - taken_on).days > profile.taken_within_days:
        return [field_error("query.taken_on", "photo_taken_old", expected=profile.taken_within_days)]
    return []


def _open(jpeg: bytes, report: PhotoReport) -> JpegImagePlugin.JpegImageFile | None:
    """The decoded picture; None, and a reason, when it is no whole JPEG or too large to be unpacked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(jpeg), formats=("JPEG",))
            if picture.width * picture.height > MAX_PIXELS:
                report.refuse("photo_huge")
                return None
            picture.load()
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        report.refuse("photo_huge")
        return None
    except Exception:  # decoders raise what they like on hostile bytes
        report.refuse("photo_not_jpeg")
        return None
    return picture if isinstance(picture, JpegImagePlugin.JpegImageFile) else None


def _check_form(picture: JpegImagePlugin.JpegImageFile, profile: PhotoProfile, report: PhotoReport) -> None:
    report.measures |= {"width": picture.width, "height": picture.height, "mode": picture.mode}
    if picture.size != (profile.width, profile.height):
        report.refuse(
            "photo_size", measured=f"{picture.width}×{picture.height}", expected=f"{profile.width}×{profile.height}"
        )
    dpi = _dpi(picture)
    report.measures["dpi"] = dpi
    if abs(dpi - profile.dpi) > _DPI_SLACK:
        report.refuse("photo_dpi", measured=dpi, expected=profile.dpi)
    if picture.mode != "RGB":
        report.refuse("photo_colour")
    quality = jpeg_quality(picture.quantization)
    report.demand("jpeg_quality", quality, profile.jpeg_quality, None, "photo_quality")


def _dpi(picture: Image.Image) -> int:
    """0 when the file says none, or something that is no number."""
    try:
        return round(float(picture.info["dpi"][0]))
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, ZeroDivisionError):
        return 0


def jpeg_quality(tables: dict[int, list[int]]) -> int:
    """Quality 1 to 100 on the scale of the common encoders: the one whose luminance steps come nearest."""
    steps = tables.get(0) or [255]

    def nearness(quality: int) -> tuple[int, int]:
        return (-sum(abs(a - b) for a, b in zip(steps, _steps(quality), strict=False)), quality)

    return max(range(1, 101), key=nearness)


def _steps(quality: int) -> list[int]:
    scale = 5000 // quality if quality < 50 else 200 - quality * 2
    return [max(1, min(255, (base * scale + 50) // 100)) for base in _ANNEX_K]


def _check_background(picture: Image.Image, profile: PhotoProfile, report: PhotoReport) -> None:
    """The upper corners and the edges above the shoulders, where no portrait has anything but background."""
    width, height = picture.size
    side, strip = max(1, width // 12), max(1, height // 3)
    brightness, spread = [], []
    for box in ((0, 0, side, strip), (width - side, 0, width, strip)):
        part = ImageStat.Stat(picture.crop(box).convert("RGB"))
        brightness.append(min(part.mean))
        spread.append(max(part.stddev))
    unevenness = max(max(spread), abs(brightness[0] - brightness[1]))
    report.demand("background", round(min(brightness), 1), profile.background_min, None, "photo_background")
    report.demand(
        "background_spread", round(unevenness, 1), None, profile.background_spread_max, "photo_background_uneven"
    )


def _check_face(picture: Image.Image, profile: PhotoProfile, faces: Sequence[Face], report: PhotoReport) -> None:
    report.measures["faces"] = len(faces)
    if not faces:
        report.refuse("photo_no_face")
        return
    if len(faces) > 1:
        report.refuse("photo_faces", measured=len(faces))
        return
    face = faces[0]
    wide = round(face.box[2] * _FACE_OF_FRAME)
    report.demand("face_width", wide, profile.face_width_min, profile.face_width_max, "photo_face_width")
    report.demand("hair_top", _hair_top(picture, face), profile.hair_top_min, profile.hair_top_max, "photo_hair_top")
    if len(face.eyes) != 2:
        report.refuse("photo_eyes")
        return
    (left_x, left_y), (right_x, right_y) = face.eyes
    middle, above = (left_x + right_x) // 2, picture.height - max(left_y, right_y)
    report.demand("eye_mid_x", middle, profile.eye_mid_x_min, profile.eye_mid_x_max, "photo_eyes_side")
    report.demand("eyes_above_bottom", above, profile.eyes_above_bottom_min, None, "photo_eyes_low")


def _hair_top(picture: Image.Image, face: Face) -> int:
    """First row in which the head stands out of the background, above the face."""
    x, y, width, _ = face.box
    grey = picture.convert("L").crop((x, 0, x + width, y + 1))
    bright = ImageStat.Stat(grey.crop((0, 0, width, 2))).mean[0]
    dark = grey.point(lambda value: 255 if value < bright - _HAIR_DARKER else 0)
    rows = dark.resize((1, grey.height), Image.Resampling.BOX).tobytes()
    return next((row for row, share in enumerate(rows) if share >= 255 * _HAIR_SHARE), y)


def _inner(picture: Image.Image) -> tuple[int, int, int, int]:
    """Where the face is: sharpness of the background would count for nothing."""
    width, height = picture.size
    return (width // 4, height // 6, width * 3 // 4, height * 2 // 3)
