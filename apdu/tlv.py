"""BER-TLV data objects (ISO/IEC 7816-4, 5.2.2; ISO/IEC 8825-1), definite lengths only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

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
        tag = self.tag
        return bool(tag & (0x20 if tag < 0x100 else 0x2000 if tag < 0x10000 else 0x200000))

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
    data, position, size = bytes(data), 0, len(data)
    while position < size:
        tag = data[position]
        if tag == 0:
            position += 1
            continue
        if len(objects) == MAX_OBJECTS:
            raise TlvDecodingError(f"more than {MAX_OBJECTS} objects")
        if tag & 0x1F == 0x1F:
            tag, position = _decode_long_tag(data, position)
        else:
            position += 1
        if position == size:
            raise TlvDecodingError("tag without a length")
        length = data[position]
        position += 1
        if length >= 0x80:
            length, position = _decode_long_length(data, position)
        end = position + length
        if end > size:
            raise TlvDecodingError(f"tag {tag:X} announces {length} bytes, {size - position} follow")
        objects.append(Tlv(tag, data[position:end]))
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
    level = parse(source) if isinstance(source, bytes) else source
    for tag in path[:-1]:
        template = _first(level, tag)
        if template is None:
            return None
        level = parse(template.value)
    return _first(level, path[-1])


def walk(source: bytes | Iterable[Tlv]) -> Iterator[tuple[int, Tlv]]:
    """Every object with its depth, templates before their content. Raises TlvDecodingError beyond MAX_DEPTH."""
    levels = [iter(parse(source) if isinstance(source, bytes) else source)]
    while levels:
        for item in levels[-1]:
            yield len(levels) - 1, item
            if item.is_constructed:
                if len(levels) == MAX_DEPTH:
                    raise TlvDecodingError(f"nested deeper than {MAX_DEPTH}")
                levels.append(iter(parse(item.value)))
                break
        else:
            levels.pop()


def _first(level: Iterable[Tlv], tag: int) -> Tlv | None:
    for item in level:
        if item.tag == tag:
            return item
    return None


# Cards use few tags, and each is checked with every object that carries it.
@lru_cache(maxsize=512)
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


def _decode_long_tag(data: bytes, start: int) -> tuple[int, int]:
    """Tag and the position behind it; bits 1 to 5 of the byte at `start` are set."""
    for position in range(start + 1, min(start + MAX_TAG_BYTES, len(data))):
        if position == start + 1 and data[position] == 0x80:
            raise TlvDecodingError(f"tag at offset {start} is padded")
        if not data[position] & 0x80:
            return int.from_bytes(data[start : position + 1], "big"), position + 1
    raise TlvDecodingError(f"tag at offset {start} does not end")


def _encode_length(length: int) -> bytes:
    if length < 0x80:
        return bytes((length,))
    raw = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(raw),)) + raw


def _decode_long_length(data: bytes, position: int) -> tuple[int, int]:
    """Length and the position behind it; the byte before `position` says how many bytes it has."""
    count = data[position - 1] & 0x7F
    if count == 0:
        raise TlvDecodingError("indefinite length")
    if count > MAX_LENGTH_BYTES or position + count > len(data):
        raise TlvDecodingError(f"length field of {count} bytes")
    length = int.from_bytes(data[position : position + count], "big")
    if length > MAX_VALUE_LENGTH:
        raise TlvDecodingError(f"a value of {length} bytes, at most {MAX_VALUE_LENGTH}")
    return length, position + count
