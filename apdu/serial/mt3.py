"""Frames and commands of MT3 readers (明泰), in both forms seen in the field.

Raw form: `02 | LEN(2, big-endian) | body | LRC | 03`. Split form: every byte between 02 and 03 is sent as two bytes,
`30 + high nibble` and `30 + low nibble`, so that 02 and 03 occur at the ends alone. LRC is the XOR over the body.

The two forms also differ in their commands. Raw body: `CMDH CMDL delay data`, CMDH the slot; reply `status(2) delay
payload`. Split body: `CMD(2)`, its own parameters; reply `status(2) payload`. Status 0000 is success; of the others
1007 alone is known, and means any error.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from operator import xor
from typing import Final

from apdu.errors import EncodingError
from apdu.serial.errors import FrameError
from apdu.serial.frames import FrameSource

STX: Final = 0x02
ETX: Final = 0x03
MAX_BODY: Final = 4096
STATUS_OK: Final = 0x0000


class Form(StrEnum):
    RAW = "raw"
    SPLIT = "split"


class Slot(StrEnum):
    USER = "user"
    SAM1 = "sam1"
    SAM2 = "sam2"
    CONTACTLESS = "contactless"


RAW_SLOTS: Final = {Slot.USER: 0xC0, Slot.CONTACTLESS: 0xC1, Slot.SAM1: 0xC2, Slot.SAM2: 0xC3}
SPLIT_SLOTS: Final = {Slot.USER: 0x00, Slot.SAM1: 0x11}

RAW_POWER_ON, RAW_APDU, RAW_POWER_OFF, RAW_DESELECT = 0x30, 0x31, 0x32, 0x33
RAW_VERSION: Final = bytes.fromhex("000100")
SPLIT_POWER_ON: Final = bytes.fromhex("3222")
SPLIT_APDU: Final = bytes.fromhex("3226")
SPLIT_POWER_OFF: Final = bytes.fromhex("3223")
SPLIT_VERSION: Final = bytes.fromhex("311101")

# (form, body, frame): SELECT of the social security application as seen on a split line, and its answer 6118
VECTORS: Final = (
    (
        Form.SPLIT,
        bytes.fromhex("32260000A404000F7378312E73682EC9E7BBE1B1A3D5CF"),
        bytes.fromhex(
            "023030313733323236303030303A3430343030303F373337383331323E37333638323E"
            "3C393E373B3B3E313B313A333D353C3F3E3603"
        ),
    ),
    (Form.SPLIT, bytes.fromhex("00006118"), bytes.fromhex("02303030343030303036313138373903")),
)


def lrc(body: bytes) -> int:
    return reduce(xor, body, 0)


def encode(body: bytes, form: Form) -> bytes:
    """Raises EncodingError for a body that is empty or longer than MAX_BODY."""
    if not 0 < len(body) <= MAX_BODY:
        raise EncodingError(f"a body of {len(body)} bytes fits no frame")
    inner = len(body).to_bytes(2, "big") + body + bytes((lrc(body),))
    if form is Form.SPLIT:
        inner = split(inner)
    return bytes((STX,)) + inner + bytes((ETX,))


def split(data: bytes) -> bytes:
    return bytes(0x30 | nibble for byte in data for nibble in (byte >> 4, byte & 0x0F))


def join(data: bytes) -> bytes:
    """Inverse of `split`. Raises FrameError."""
    if len(data) % 2 or any(byte & 0xF0 != 0x30 for byte in data):
        raise FrameError("a byte outside 30..3F in a split frame")
    return bytes((high & 0x0F) << 4 | (low & 0x0F) for high, low in zip(data[::2], data[1::2], strict=True))


class FrameDecoder(FrameSource):
    """Bodies of frames."""

    def __init__(self, form: Form) -> None:
        super().__init__(bytes((STX,)))
        self._form = form
        self._width = 2 if form is Form.SPLIT else 1

    def _first(self) -> tuple[bytes, int] | None:
        buffer, width = self._buffer, self._width
        if len(buffer) < 1 + 2 * width:
            return None
        length = int.from_bytes(self._plain(1, 2), "big")
        if not 0 < length <= MAX_BODY:
            raise FrameError(f"a frame announces {length} bytes")
        end = 1 + (length + 3) * width
        if len(buffer) <= end:
            return None
        if buffer[end] != ETX:
            raise FrameError(f"no end mark after {length} bytes")
        inner = self._plain(1 + 2 * width, length + 1)
        if lrc(inner):
            raise FrameError(f"the check byte of a frame of {length} bytes is wrong")
        return inner[:-1], end + 1

    def _plain(self, start: int, count: int) -> bytes:
        raw = bytes(self._buffer[start : start + count * self._width])
        return join(raw) if self._form is Form.SPLIT else raw


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    payload: bytes

    @property
    def is_ok(self) -> bool:
        return self.status == STATUS_OK

    @classmethod
    def from_body(cls, body: bytes, form: Form) -> Reply:
        """Raises FrameError for a body shorter than its fixed part."""
        fixed = 3 if form is Form.RAW else 2
        if len(body) < fixed:
            raise FrameError(f"a reply of {len(body)} bytes")
        return cls(int.from_bytes(body[:2], "big"), body[fixed:])


def power_on(slot: Slot, form: Form) -> bytes:
    """Reply payload: the ATR. Raises EncodingError for a slot the form has no code for."""
    if form is Form.SPLIT:
        return SPLIT_POWER_ON + b"\x00\x00" + _code(slot, form)
    return _code(slot, form) + bytes((RAW_POWER_ON, 0)) + (b"\x01" if slot is Slot.CONTACTLESS else b"")


def apdu(slot: Slot, command: bytes, form: Form) -> bytes:
    """Reply payload: the response APDU."""
    if form is Form.SPLIT:
        return SPLIT_APDU + _code(slot, form) + command
    return _code(slot, form) + bytes((RAW_APDU, 0)) + command


def power_off(slot: Slot, form: Form) -> bytes:
    if form is Form.SPLIT:
        return SPLIT_POWER_OFF + _code(slot, form)
    return _code(slot, form) + bytes((RAW_DESELECT if slot is Slot.CONTACTLESS else RAW_POWER_OFF, 0))


def version(form: Form) -> bytes:
    """Touches no card; used to see whether the reader lives."""
    return SPLIT_VERSION if form is Form.SPLIT else RAW_VERSION


def _code(slot: Slot, form: Form) -> bytes:
    code = (SPLIT_SLOTS if form is Form.SPLIT else RAW_SLOTS).get(slot)
    if code is None:
        raise EncodingError(f"the {form} form has no code for the slot {slot}")
    return bytes((code,))
