"""What a PSAM keeps without power: files, keys with their tries, transaction numbers; with its JSON form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from simulators import image
from simulators.card.crypto import Algorithm
from simulators.image import ImageError, replace_file

KEY_FILES = (0x11, 0x12, 0x13)
"""National, province and city key file, by the low byte of the FID (OPEN S7)."""
FID_TERMINAL = 0x16
KEY_FILE_RECORDS = 254
TRIES = 3
"""Of control and master keys (OPEN S12)."""
KID_DDF_MASTER, KID_ADF_MASTER = 0x00, 0x80
TYPE_PURCHASE, TYPE_MAC, TYPE_ENCRYPTION, TYPE_BOTH, TYPE_LOAD, TYPE_TAC = 0x02, 0x06, 0x07, 0x08, 0x09, 0x0C
TYPES = frozenset({TYPE_PURCHASE, TYPE_MAC, TYPE_ENCRYPTION, TYPE_BOTH, TYPE_LOAD, TYPE_TAC})
ALGORITHM_DES = 0x01


class PsamStateError(ImageError):
    """A stored PSAM image that cannot be read back."""


@dataclass(slots=True)
class KeyRecord:
    """`usage`: bits 8-6 diversifications still to do, bits 5-1 type; `id` is the version of a purchase key.

    `file` is the key file it stands in.
    """

    usage: int
    id: int
    value: bytes
    file: int = KEY_FILES[0]

    @property
    def levels(self) -> int:
        return self.usage >> 5

    @property
    def type(self) -> int:
        return self.usage & 0x1F


@dataclass(slots=True)
class ControlKey:
    """A master key (00 of the environment, 80 of the application) or KID-01 to KID-03, each of its own tries."""

    kid: int
    value: bytes
    tries_left: int = TRIES


@dataclass(slots=True)
class PsamFile:
    """A transparent file; `write_kid` is the control key whose authentication lets it be written."""

    fid: int
    content: bytes
    write_kid: int
    in_application: bool


@dataclass(slots=True)
class Environment:
    """One algorithm's tree: files, the key records of all three key files, the terminal transaction number."""

    algorithm: Algorithm
    fid: int
    name: bytes
    files: list[PsamFile]
    records: list[KeyRecord]
    controls: list[ControlKey]
    counter: int = 0

    def control(self, kid: int) -> ControlKey | None:
        return next((key for key in self.controls if key.kid == kid), None)

    def file(self, fid: int, *, in_application: bool) -> PsamFile | None:
        return next((f for f in self.files if f.fid == fid and f.in_application == in_application), None)


@dataclass(slots=True)
class PsamState:
    """`transit_sequence` is the terminal transaction number of the transport ministry's application."""

    environments: list[Environment]
    transit_sequence: int = 0
    is_blocked: bool = False

    @property
    def terminal(self) -> bytes:
        """终端机编号, as file 0016 of the first environment has it."""
        file = self.environments[0].file(FID_TERMINAL, in_application=False)
        return file.content if file else bytes(6)

    def to_json(self) -> str:
        return image.dump(self)

    @classmethod
    def from_json(cls, text: str) -> PsamState:
        """Raises PsamStateError for anything `to_json` did not write."""
        try:
            return image.restore(cls, json.loads(text))
        except (ValueError, TypeError, KeyError) as exc:
            raise PsamStateError(f"PSAM image unreadable: {exc}") from exc


class PsamStore:
    """The image in one file, replaced whole, as `simulators.card.CardStore` keeps a card's."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def exists(self) -> bool:
        return self.path.exists()

    def load(self) -> PsamState:
        """Raises PsamStateError."""
        return PsamState.from_json(self.path.read_text(encoding="ascii", errors="replace"))

    def save(self, state: PsamState) -> None:
        """Raises OSError; the old image then stays."""
        replace_file(self.path, state.to_json())
