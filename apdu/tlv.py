"""BER-TLV data objects (ISO/IEC 7816-4, 5.2.2; ISO/IEC 8825-1), definite lengths only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from apdu.errors import EncodingError, TlvDecodingError

MAX_TAG_BYTES = 3
MAX_LENGTH_BYTES = 3  # after the first one, so values up to 16 MiB could be announced
MAX_VALUE_LENGTH = 65536
MAX_DEPTH = 8
MAX_OBJECTS = 4096


@dataclass(frozen=True, slots=True)
class Tlv:
    """One data object; `tag` holds all tag bytes, as 0x9F0C."""

    tag: int
    value: bytes

    def __post_init__(self) -> None:
        _encode_tag(self.tag)
        if len(self.value) > MAX_VALUE_LENGTH:
            raise EncodingError(f"{len(self.value)} value bytes, at most {MAX_VALUE_LENGTH}")

    @classmethod
    def of(cls, tag: int, children: Iterable[Tlv]) -> Tlv:
        """A template around other objects."""
        return cls(tag, encode(children))

    @property
    def is_constructed(self) -> bool:
        """Bit 6 of the first tag byte."""
        return bool(_encode_tag(self.tag)[0] & 0x20)

    @property
    def children(self) -> list[Tlv]:
        """The objects inside, whatever bit 6 says: the cards' primitive 9F0C holds objects too."""
        return parse(self.value)

    def to_bytes(self) -> bytes:
        return _encode_tag(self.tag) + _encode_length(len(self.value)) + self.value


def parse(data: bytes) -> list[Tlv]:
    """The objects of one level. 00 bytes between objects are skipped (7816-4, 5.2.2); everything else must fit exactly.

    Raises TlvDecodingError on truncation, indefinite length and anything above the limits of this module.
    """
    objects: list[Tlv] = []
    position = 0
    while position < len(data):
        if data[position] == 0:
            position += 1
            continue
        if len(objects) == MAX_OBJECTS:
            raise TlvDecodingError(f"more than {MAX_OBJECTS} objects")
        tag, position = _decode_tag(data, position)
        length, position = _decode_length(data, position)
        end = position + length
        if end > len(data):
            raise TlvDecodingError(f"tag {tag:X} announces {length} bytes, {len(data) - position} follow")
        objects.append(Tlv(tag, bytes(data[position:end])))
        position = end
    return objects


def encode(objects: Iterable[Tlv]) -> bytes:
    return b"".join(item.to_bytes() for item in objects)


def find(source: bytes | Iterable[Tlv], *path: int) -> Tlv | None:
    """The first object at `path`, one tag per level: `find(fci, 0x6F, 0xA5, 0x88)`.

    None when the path does not exist; TlvDecodingError when a level on the way is no TLV.
    """
    if not 1 <= len(path) <= MAX_DEPTH:
        raise EncodingError(f"a path has 1..{MAX_DEPTH} tags")
    level = parse(source) if isinstance(source, bytes) else list(source)
    found = next((item for item in level if item.tag == path[0]), None)
    if found is None or len(path) == 1:
        return found
    return find(found.value, *path[1:])


def walk(source: bytes | Iterable[Tlv], *, depth: int = 0) -> Iterator[tuple[int, Tlv]]:
    """Every object with its depth, templates before their content. Raises TlvDecodingError beyond MAX_DEPTH."""
    if depth >= MAX_DEPTH:
        raise TlvDecodingError(f"nested deeper than {MAX_DEPTH}")
    for item in parse(source) if isinstance(source, bytes) else source:
        yield depth, item
        if item.is_constructed:
            yield from walk(item.value, depth=depth + 1)


def _encode_tag(tag: int) -> bytes:
    if tag <= 0:
        raise EncodingError(f"{tag} is no tag")
    raw = tag.to_bytes((tag.bit_length() + 7) // 8, "big")
    is_long = raw[0] & 0x1F == 0x1F
    fits = len(raw) <= MAX_TAG_BYTES and (len(raw) > 1) == is_long
    if is_long:
        fits = fits and raw[1] != 0x80 and all(byte & 0x80 for byte in raw[1:-1]) and not raw[-1] & 0x80
    if not fits:
        raise EncodingError(f"{tag:X} is no well-formed tag")
    return raw


def _decode_tag(data: bytes, position: int) -> tuple[int, int]:
    start = position
    position += 1
    if data[start] & 0x1F == 0x1F:
        while True:
            if position >= len(data) or position - start >= MAX_TAG_BYTES:
                raise TlvDecodingError(f"tag at offset {start} does not end")
            if position == start + 1 and data[position] == 0x80:
                raise TlvDecodingError(f"tag at offset {start} is padded")
            position += 1
            if not data[position - 1] & 0x80:
                break
    return int.from_bytes(data[start:position], "big"), position


def _encode_length(length: int) -> bytes:
    if length < 0x80:
        return bytes((length,))
    raw = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(raw),)) + raw


def _decode_length(data: bytes, position: int) -> tuple[int, int]:
    if position >= len(data):
        raise TlvDecodingError("tag without a length")
    first = data[position]
    position += 1
    if first < 0x80:
        return first, position
    count = first & 0x7F
    if count == 0:
        raise TlvDecodingError("indefinite length")
    if count > MAX_LENGTH_BYTES or position + count > len(data):
        raise TlvDecodingError(f"length field of {count} bytes")
    length = int.from_bytes(data[position : position + count], "big")
    if length > MAX_VALUE_LENGTH:
        raise TlvDecodingError(f"a value of {length} bytes, at most {MAX_VALUE_LENGTH}")
    return length, position + count
