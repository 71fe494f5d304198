"""Answer to reset (ISO/IEC 7816-3, clause 8)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Final, Literal

from apdu.errors import AtrDecodingError

MIN_LENGTH: Final = 2
MAX_LENGTH: Final = 33  # TS and at most 32 characters (8.2.1)
DIRECT_CONVENTION: Final = 0x3B
INVERSE_CONVENTION: Final = 0x3F

InterfaceGroup = Literal["TA", "TB", "TC", "TD"]
_GROUPS: Final[tuple[InterfaceGroup, ...]] = ("TA", "TB", "TC", "TD")
_DEFAULT_TC2: Final = 0x0A


@dataclass(frozen=True, slots=True)
class Atr:
    """A well-formed answer to reset. `interface` holds TA, TB, TC, TD of each level, None where absent."""

    raw: bytes
    interface: tuple[tuple[int | None, ...], ...]
    historical_bytes: bytes
    tck: int | None

    @property
    def protocols(self) -> tuple[int, ...]:
        """Offered protocols in the card's order, T=15 left out; (0,) when no TD names one (8.2.3)."""
        named = [td & 0x0F for level in self.interface if (td := level[3]) is not None]
        offered = tuple(dict.fromkeys(t for t in named if t != 15))
        return offered or (() if named else (0,))

    def interface_byte(self, group: InterfaceGroup, level: int) -> int | None:
        """TA1 is `interface_byte("TA", 1)`."""
        if not 1 <= level <= len(self.interface):
            return None
        return self.interface[level - 1][_GROUPS.index(group)]

    @property
    def rejection(self) -> str | None:
        """Why a terminal must refuse this card, None when it must not (draft P8, 5.1.3)."""
        ta1, td1, td2 = self.interface_byte("TA", 1), self.interface_byte("TD", 1), self.interface_byte("TD", 2)
        if ta1 is not None and ta1 & 0x0F not in (1, 2, 4):
            return f"TA1 {ta1:02X} asks for a rate outside D = 1, 2, 8"
        if td1 is not None and td1 & 0x0F > 1:
            return f"TD1 {td1:02X} offers neither T=0 nor T=1"
        if td2 is not None and td2 & 0x0F not in (1, 15):
            return f"TD2 {td2:02X} is neither T=1 nor T=15"
        tc2 = self.interface_byte("TC", 2)
        if tc2 not in (None, _DEFAULT_TC2):
            return f"TC2 {tc2:02X} changes the waiting time"
        return None

    def to_bytes(self) -> bytes:
        return self.raw

    @classmethod
    def from_bytes(cls, raw: bytes) -> Atr:
        """Raises AtrDecodingError for a wrong convention, missing or surplus bytes and a wrong or misplaced TCK."""
        raw = bytes(raw)
        if not MIN_LENGTH <= len(raw) <= MAX_LENGTH:
            raise AtrDecodingError(f"{len(raw)} bytes are no ATR")
        if raw[0] not in (DIRECT_CONVENTION, INVERSE_CONVENTION):
            raise AtrDecodingError(f"TS is {raw[0]:02X}")
        levels: list[tuple[int | None, ...]] = []
        position, present = 2, raw[1] >> 4
        while present:
            level: list[int | None] = []
            for bit in range(4):
                if not present & (1 << bit):
                    level.append(None)
                    continue
                if position >= len(raw):
                    raise AtrDecodingError("interface bytes are cut off")
                level.append(raw[position])
                position += 1
            levels.append(tuple(level))
            td = level[3]
            present = 0 if td is None else td >> 4
        end = position + (raw[1] & 0x0F)
        # TCK exists exactly when a protocol other than T=0 is named (8.2.5).
        has_tck = any(td & 0x0F for level_ in levels if (td := level_[3]) is not None)
        if len(raw) != end + has_tck:
            raise AtrDecodingError(f"{len(raw)} bytes where {end + has_tck} are announced")
        if has_tck and reduce(xor, raw[1:]):
            raise AtrDecodingError("TCK is wrong")
        return cls(raw, tuple(levels), raw[position:end], raw[end] if has_tck else None)
