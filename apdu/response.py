"""Response APDUs (ISO/IEC 7816-3, 12.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

from apdu.errors import DecodingError, EncodingError

MAX_RESPONSE_DATA = 65536
SW_OK = 0x9000


@dataclass(frozen=True, slots=True)
class ResponseApdu:
    """Data and the status word of one answer."""

    data: bytes
    sw: int

    def __post_init__(self) -> None:
        if not 0 <= self.sw <= 0xFFFF:
            raise EncodingError(f"status word {self.sw} is not two bytes")
        if len(self.data) > MAX_RESPONSE_DATA:
            raise EncodingError(f"{len(self.data)} response bytes, at most {MAX_RESPONSE_DATA}")

    @property
    def sw1(self) -> int:
        return self.sw >> 8

    @property
    def sw2(self) -> int:
        return self.sw & 0xFF

    @property
    def is_ok(self) -> bool:
        """9000 and nothing else."""
        return self.sw == SW_OK

    def to_bytes(self) -> bytes:
        return self.data + self.sw.to_bytes(2, "big")

    @classmethod
    def from_bytes(cls, raw: bytes) -> ResponseApdu:
        """Raises DecodingError when there is no status word or more than 65536 data bytes."""
        if not 2 <= len(raw) <= MAX_RESPONSE_DATA + 2:
            raise DecodingError(f"{len(raw)} bytes are no response")
        return cls(bytes(raw[:-2]), int.from_bytes(raw[-2:], "big"))
