"""The counter's camera. There is a file simulator only: a folder whose pictures are taken in turn.

A picture is judged by its form: JPEG, size, resolution, file size, as a card's photo needs them (GA 461). Face, light
and sharpness are the centre's to judge, by the profile of its region.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from terminal_agent.problems import AgentError

FILES: Final = "file:"
WIDTH, HEIGHT, DPI = 358, 441, 350
MIN_KB, MAX_KB = 5, 60
MAX_BYTES: Final = 4 << 20
MAX_PIXELS: Final = 4000 * 4000
_DPI_SLACK = 1


class CameraLostError(AgentError):
    """No picture can be taken now."""

    failure: ClassVar[str] = "CAMERA_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Picture:
    """`reasons` say why it will not do as a card's photo, by the names of docs/input-rules.md; empty where it will."""

    jpeg: bytes
    width: int
    height: int
    dpi: int
    reasons: tuple[str, ...]


class FileCamera:
    """`where` is `file:` and a folder. Blocks; one caller at a time."""

    def __init__(self, where: str) -> None:
        self.folder = Path(where.removeprefix(FILES))
        self._taken = 0

    @property
    def is_there(self) -> bool:
        return self.folder.is_dir()

    def take(self) -> Picture:
        """The folder's next picture by name, after the last the first again. Raises CameraLostError."""
        jpeg = self.preview()
        self._taken += 1
        return judged(jpeg)

    def preview(self) -> bytes:
        """What would be taken now. Raises CameraLostError."""
        try:
            named = (path for path in self.folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
            found = sorted(path for path in named if path.is_file())
            if not found:
                raise CameraLostError("no picture in the folder")
            with found[self._taken % len(found)].open("rb") as file:
                jpeg = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise CameraLostError(type(error).__name__) from error
        if len(jpeg) > MAX_BYTES:
            raise CameraLostError("the picture is too large")
        return jpeg


def judged(jpeg: bytes) -> Picture:
    """Measures and reasons; sizes are 0 for what is no JPEG."""
    from PIL import Image  # an agent without camera does without it

    kb = len(jpeg) / 1024
    reasons = [] if MIN_KB <= kb <= MAX_KB else ["photo_kb"]
    try:
        picture = Image.open(io.BytesIO(jpeg), formats=("JPEG",))
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError("too many pixels")
        picture.load()
        dpi = round(float(picture.info.get("dpi", (0, 0))[0]))
    except Exception:  # decoders raise what they like on hostile bytes
        return Picture(jpeg, 0, 0, 0, ("photo_not_jpeg", *reasons))
    if picture.size != (WIDTH, HEIGHT):
        reasons.append("photo_size")
    if abs(dpi - DPI) > _DPI_SLACK:
        reasons.append("photo_dpi")
    if picture.mode != "RGB":
        reasons.append("photo_colour")
    return Picture(jpeg, picture.width, picture.height, dpi, tuple(reasons))
