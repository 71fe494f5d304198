"""The three files of a block list as what they are: filter, exact list, delta."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final

from rbloom import Bloom

from apps_catalog.block_list import files
from apps_catalog.block_list.errors import BlockListError
from apps_catalog.block_list.files import Content, Head
from apps_catalog.block_list.packed import PackedKeys, length_for, write_keys

FALSE_RATE: Final = 0.0022
"""12.74 bits an entry, 1.592 bytes; one good card in 455 goes on to the exact list."""

_PROBES_BYTES: Final = 8
_MAX_PROBES: Final = 32


def write_filter(path: Path, head: Head, keys: Iterable[bytes]) -> None:
    bloom = Bloom(max(1, head.entries), FALSE_RATE, int.from_bytes)
    bloom.update(keys)
    files.write(path, head, lambda stream: stream.write(bloom.save_bytes()))


def read_filter(path: Path) -> tuple[Head, Bloom]:
    """Raises BlockListError where there is none, or one of another size than its entries need."""
    if not path.exists():
        raise BlockListError(f"there is no {path.name}")
    with path.open("rb") as stream:
        head, length = files.check(stream, Content.FILTER, path.name)
        if not _PROBES_BYTES < length <= _PROBES_BYTES + 2 * head.entries + 64:
            raise BlockListError(f"{path.name} has the wrong length for {head.entries} entries")
        body = stream.read(length)
    if not 1 <= int.from_bytes(body[:_PROBES_BYTES], "little") <= _MAX_PROBES:
        raise BlockListError(f"{path.name} asks for an impossible number of probes")
    return head, Bloom.load_bytes(body, int.from_bytes)


class ExactList:
    """Every blocked entry, read from its file at each question unless `keys` are held; threads may share it.

    Not mapped: pages once touched would count as the terminal's memory, 60 MB at 10 million entries, and a file cut
    short would end the process instead of raising.
    """

    def __init__(self, path: Path) -> None:
        self._stream = path.open("rb")
        try:
            self.head, length = files.check(self._stream, Content.EXACT, path.name)
            if length != length_for(self.head.entries):
                raise BlockListError(f"{path.name} has the wrong length for {self.head.entries} entries")
            self.keys = PackedKeys(self._read, files.HEAD_BYTES, self.head.entries)
        except BlockListError:
            self.close()
            raise

    def close(self) -> None:
        self._stream.close()

    def _read(self, at: int, length: int) -> bytes:
        # `fileno` raises once closed; a number kept would by then be another file's.
        data = os.pread(self._stream.fileno(), length, at)
        if len(data) != length:
            raise BlockListError("the exact list was cut short while in use")
        return data


def write_exact(path: Path, head: Head, keys: Iterable[bytes]) -> None:
    files.write(path, head, lambda stream: write_keys(stream, keys, head.entries))


def write_delta(path: Path, head: Head, added: list[bytes], removed: list[bytes]) -> None:
    def body(stream: BinaryIO) -> None:
        write_keys(stream, added, len(added))
        write_keys(stream, removed, len(removed))

    files.write(path, head, body)


def read_delta(path: Path) -> tuple[Head, frozenset[bytes], frozenset[bytes]]:
    """Entries added and removed since the base. Raises BlockListError for one that is both, or there twice."""
    with path.open("rb") as stream:
        head, length = files.check(stream, Content.DELTA, path.name)
        first = length_for(head.entries)
        if length != first + length_for(head.removed):
            raise BlockListError(f"{path.name} has the wrong length for its entries")
        body = stream.read(length)

    def slice_of(at: int, size: int) -> bytes:
        return body[at : at + size]

    added = frozenset(PackedKeys(slice_of, 0, head.entries))
    removed = frozenset(PackedKeys(slice_of, first, head.removed))
    if len(added) != head.entries or len(removed) != head.removed or added & removed:
        raise BlockListError(f"{path.name} has an entry twice")
    return head, added, removed
