"""Records of the social security card: tag(1) length(1) value (ISO/IEC 7816-4, 5.2.1, one-byte lengths)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from apdu.errors import EncodingError, TlvDecodingError

MAX_VALUE_LENGTH = 254


@dataclass(frozen=True, slots=True)
class SimpleTlv:
    """One item. Tags 00 and FF are not allowed; a length byte FF would announce the long form, used by no card file."""

    tag: int
    value: bytes

    def __post_init__(self) -> None:
        if not 0x01 <= self.tag <= 0xFE:
            raise EncodingError(f"{self.tag:#x} is no tag (01..FE)")
        if len(self.value) > MAX_VALUE_LENGTH:
            raise EncodingError(f"{len(self.value)} value bytes, at most {MAX_VALUE_LENGTH}")

    def to_bytes(self) -> bytes:
        return bytes((self.tag, len(self.value))) + self.value

    @classmethod
    def from_bytes(cls, raw: bytes) -> SimpleTlv:
        """Exactly one item. Raises TlvDecodingError when bytes are missing or left over."""
        items = parse_records(raw)
        if len(items) != 1:
            raise TlvDecodingError(f"{len(items)} items where one was expected")
        return items[0]


def parse_records(data: bytes) -> list[SimpleTlv]:
    """Items one after the other, as READ RECORD modes 101 and 110 return them; duplicates stay in order."""
    items: list[SimpleTlv] = []
    position = 0
    while position < len(data):
        tag = data[position]
        if not 0x01 <= tag <= 0xFE:
            raise TlvDecodingError(f"{tag:#04x} at offset {position} is no tag")
        if position + 1 >= len(data):
            raise TlvDecodingError(f"tag {tag:02X} without a length")
        length = data[position + 1]
        end = position + 2 + length
        if length > MAX_VALUE_LENGTH or end > len(data):
            raise TlvDecodingError(f"tag {tag:02X} announces {length} bytes, {len(data) - position - 2} follow")
        items.append(SimpleTlv(tag, bytes(data[position + 2 : end])))
        position = end
    return items


def encode(items: Iterable[SimpleTlv]) -> bytes:
    return b"".join(item.to_bytes() for item in items)


def find(items: Iterable[SimpleTlv], tag: int) -> SimpleTlv | None:
    """The first item with this tag."""
    return next((item for item in items if item.tag == tag), None)
