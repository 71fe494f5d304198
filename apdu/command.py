"""Command APDUs (ISO/IEC 7816-3, 12.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from apdu.errors import DecodingError, EncodingError

HEADER_LENGTH = 4
MAX_SHORT_DATA = 255
MAX_EXTENDED_DATA = 65535
MAX_SHORT_LE = 256
MAX_EXTENDED_LE = 65536


class Case(Enum):
    """Which of data and Le are present, and how wide their length fields are (7816-3, table 13)."""

    CASE_1 = "1"
    CASE_2S = "2S"
    CASE_3S = "3S"
    CASE_4S = "4S"
    CASE_2E = "2E"
    CASE_3E = "3E"
    CASE_4E = "4E"

    @property
    def is_extended(self) -> bool:
        return self.value.endswith("E")


@dataclass(frozen=True, slots=True)
class CommandApdu:
    """One ISO/IEC 7816-4 command; `le` is the number of bytes wanted, None when no Le field is sent."""

    cla: int
    ins: int
    p1: int = 0
    p2: int = 0
    data: bytes = b""
    le: int | None = None

    def __post_init__(self) -> None:
        for name in ("cla", "ins", "p1", "p2"):
            value = getattr(self, name)
            if not 0 <= value <= 0xFF:
                raise EncodingError(f"{name} is {value}, not one byte")
        if len(self.data) > MAX_EXTENDED_DATA:
            raise EncodingError(f"{len(self.data)} data bytes, at most {MAX_EXTENDED_DATA}")
        if self.le is not None and not 1 <= self.le <= MAX_EXTENDED_LE:
            raise EncodingError(f"le is {self.le}, not 1..{MAX_EXTENDED_LE}")

    @property
    def needs_extended(self) -> bool:
        """Whether the short form cannot carry the lengths."""
        return len(self.data) > MAX_SHORT_DATA or (self.le or 0) > MAX_SHORT_LE

    @property
    def case(self) -> Case:
        """The narrowest case that carries this command."""
        return self._case(self.needs_extended)

    def _case(self, extended: bool) -> Case:
        if not self.data and self.le is None:
            return Case.CASE_1
        number = 2 if not self.data else 3 if self.le is None else 4
        return Case(f"{number}{'E' if extended else 'S'}")

    def to_bytes(self, *, extended: bool = False) -> bytes:
        """Encode, choosing the case from `data` and `le` (7816-3, 12.1.3).

        Raises EncodingError when the short form cannot carry the lengths asked for;
        it never widens silently, because contactless readers that truncate extended
        APDUs report success.
        """
        header = bytes((self.cla, self.ins, self.p1, self.p2))
        if self.needs_extended and not extended:
            raise EncodingError(f"{len(self.data)} data bytes with le {self.le} need the extended form")
        if not extended:
            lc = bytes((len(self.data),)) if self.data else b""
            le = b"" if self.le is None else bytes((self.le & 0xFF,))
            return header + lc + self.data + le
        lc = b"\0" + len(self.data).to_bytes(2, "big") if self.data else b""
        le = b"" if self.le is None else (self.le & 0xFFFF).to_bytes(2, "big")
        if le and not lc:
            le = b"\0" + le
        return header + lc + self.data + le

    @classmethod
    def from_bytes(cls, raw: bytes) -> CommandApdu:
        """Decode any of the seven cases. Raises DecodingError on every other length."""
        return decode(raw)[0]


def decode(raw: bytes) -> tuple[CommandApdu, Case]:
    """The command and the case it was sent in (7816-3, 12.1.3)."""
    if len(raw) < HEADER_LENGTH:
        raise DecodingError(f"{len(raw)} bytes are no command header")
    body = bytes(raw[HEADER_LENGTH:])
    data, le, extended = _decode_body(body)
    command = CommandApdu(raw[0], raw[1], raw[2], raw[3], data, le)
    return command, command._case(extended)


def _decode_body(body: bytes) -> tuple[bytes, int | None, bool]:
    if not body:
        return b"", None, False
    if len(body) == 1:
        return b"", body[0] or MAX_SHORT_LE, False
    if body[0]:
        lc, rest = body[0], body[1:]
        if len(rest) == lc:
            return rest, None, False
        if len(rest) == lc + 1:
            return rest[:lc], rest[lc] or MAX_SHORT_LE, False
        raise DecodingError(f"Lc says {lc}, {len(rest)} bytes follow")
    if len(body) == 3:
        return b"", int.from_bytes(body[1:], "big") or MAX_EXTENDED_LE, True
    if len(body) < 3:
        raise DecodingError("Lc 00 without an extended length")
    lc, rest = int.from_bytes(body[1:3], "big"), body[3:]
    if lc == 0:
        raise DecodingError("extended Lc is zero")
    if len(rest) == lc:
        return rest, None, True
    if len(rest) == lc + 2:
        return rest[:lc], int.from_bytes(rest[lc:], "big") or MAX_EXTENDED_LE, True
    raise DecodingError(f"extended Lc says {lc}, {len(rest)} bytes follow")
