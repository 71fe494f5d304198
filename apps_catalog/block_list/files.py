"""The file format, version 2: a head of 96 bytes, the body, integers little-endian.

| bytes | head |
|---|---|
| 4 | `OCBL` |
| 1 | version, 2 |
| 1 | content: 1 filter, 2 exact list, 3 delta |
| 2 | zero |
| 8 | edition |
| 8 | base: edition of the full list this file is or builds on |
| 8 | Unix second at which it was true |
| 16 | salt of the base |
| 8 | entries; of a delta: added |
| 8 | zero; of a delta: removed |
| 32 | SM3 over the 64 bytes before and the SM3 of every MiB of the body |

The body of a filter is what rbloom saves (eight bytes with the number of probes, then the bits), of an exact list one
set of packed keys (`packed`), of a delta two. The digest finds damage; who may publish is the distribution's matter.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, Final

from apps_catalog.block_list.errors import BlockListError
from apps_catalog.block_list.keys import SALT_BYTES
from hsm.primitives import default_engine

FILTER: Final = "filter.bl"
EXACT: Final = "list.bl"
DELTA: Final = "delta.bl"
MAX_ENTRIES: Final = 50_000_000
MAX_CHANGES: Final = 1_000_000
"""Entries of a delta: they are held as objects, about 70 bytes each."""

_FACTS: Final = struct.Struct("<4sBBHQQQ16sQQ")
_MAGIC: Final = b"OCBL"
_VERSION: Final = 2
_DIGEST_BYTES: Final = 32
HEAD_BYTES: Final = _FACTS.size + _DIGEST_BYTES
_CHUNK: Final = 1 << 20
_MAX_BODY: Final = MAX_ENTRIES * 10
_MAX_SECOND: Final = 253_402_300_799
"""The last second of the year 9999."""


class Content(IntEnum):
    FILTER = 1
    EXACT = 2
    DELTA = 3


@dataclass(frozen=True, slots=True)
class Head:
    """`as_of`: Unix second. `removed` is zero outside deltas."""

    content: Content
    edition: int
    base: int
    as_of: int
    salt: bytes
    entries: int
    removed: int = 0

    def to_bytes(self) -> bytes:
        return _FACTS.pack(
            _MAGIC,
            _VERSION,
            self.content,
            0,
            self.edition,
            self.base,
            self.as_of,
            self.salt,
            self.entries,
            self.removed,
        )

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Head:
        """Raises BlockListError for another format or version and for numbers out of range."""
        if len(data) != _FACTS.size:
            raise BlockListError(f"{name} is shorter than its head")
        magic, version, content, zero, edition, base, as_of, salt, entries, removed = _FACTS.unpack(data)
        if magic != _MAGIC or zero:
            raise BlockListError(f"{name} is no block list")
        if version != _VERSION:
            raise BlockListError(f"{name} has version {version}, this program reads {_VERSION}")
        if content not in set(Content):
            raise BlockListError(f"{name} has unknown content {content}")
        is_delta = content == Content.DELTA
        most = MAX_CHANGES if is_delta else MAX_ENTRIES
        fits = entries + removed <= most and as_of <= _MAX_SECOND
        if not fits or (not is_delta and (removed or edition != base)) or (is_delta and edition <= base):
            raise BlockListError(f"{name} has numbers in its head that cannot be")
        return cls(Content(content), edition, base, as_of, salt, entries, removed)

    def belongs_to(self, full: Head) -> bool:
        return self.base == full.base and hmac.compare_digest(self.salt, full.salt)


def write(path: Path, head: Head, write_body: Callable[[BinaryIO], object]) -> None:
    """Whole or not at all, and on the disk when this returns."""
    if len(head.salt) != SALT_BYTES or head.entries > MAX_ENTRIES:
        raise BlockListError(f"{path.name}: more than {MAX_ENTRIES} entries, or no salt of {SALT_BYTES} bytes")
    making = path.with_suffix(".new")
    try:
        with making.open("w+b") as stream:
            stream.write(bytes(HEAD_BYTES))
            write_body(stream)
            facts = head.to_bytes()
            stream.seek(HEAD_BYTES)
            digest = _digest(facts, stream)
            stream.seek(0)
            stream.write(facts + digest)
            stream.flush()
            os.fsync(stream.fileno())
        making.replace(path)
    finally:
        making.unlink(missing_ok=True)


def read_head(path: Path) -> Head:
    """The head alone, unchecked by the digest: to name an edition, never to decide about a card."""
    with path.open("rb") as stream:
        return Head.from_bytes(stream.read(_FACTS.size), path.name)


def edition_of(path: Path) -> int:
    """What the next edition must be above, whatever version the file has. Raises BlockListError."""
    with path.open("rb") as stream:
        facts = stream.read(_FACTS.size)
    if len(facts) != _FACTS.size or not facts.startswith(_MAGIC):
        raise BlockListError(f"{path.name} is no block list")
    return int(_FACTS.unpack(facts)[4])


def check(stream: BinaryIO, content: Content, name: str) -> tuple[Head, int]:
    """Head and length of the body, once the digest agrees; the stream stands at the body. Raises BlockListError."""
    length = os.fstat(stream.fileno()).st_size - HEAD_BYTES
    if not 0 <= length <= _MAX_BODY:
        raise BlockListError(f"{name} cannot be a block list of {length} bytes")
    facts = stream.read(_FACTS.size)
    head = Head.from_bytes(facts, name)
    digest = stream.read(_DIGEST_BYTES)
    if head.content is not content:
        raise BlockListError(f"{name} is a {head.content.name.lower()}, not a {content.name.lower()}")
    if not hmac.compare_digest(digest, _digest(facts, stream)):
        raise BlockListError(f"{name} is damaged")
    stream.seek(HEAD_BYTES)
    return head, length


def _digest(facts: bytes, stream: BinaryIO) -> bytes:
    """Piece by piece: 60 MB in one would be the largest thing in a terminal's memory."""
    sm3 = default_engine().sm3
    pieces = [facts]
    while chunk := stream.read(_CHUNK):
        pieces.append(sm3(chunk))
    return sm3(b"".join(pieces))
