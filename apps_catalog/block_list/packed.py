"""Packed keys: sorted, without the leading bytes that their place tells, then the index of the places.

`count` keys without their first `lead` bytes each (0, 1 or 2, by the count alone), then for each of the 256^lead
leading values the number of keys up to and including it, four bytes. A place holds some 150 keys at 10 million.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import BinaryIO, Final

from apps_catalog.block_list.errors import BlockListError
from apps_catalog.block_list.keys import KEY_BYTES

_INDEX_BYTES: Final = 4
_AT_ONCE: Final = 1 << 16
_TYPE: Final = "I"


def lead_for(count: int) -> int:
    return 0 if count <= 1 << 8 else 1 if count <= 1 << 16 else 2


def _places(lead: int) -> int:
    return 1 << 8 * lead


def length_for(count: int) -> int:
    """Bytes of `count` packed keys."""
    lead = lead_for(count)
    return count * (KEY_BYTES - lead) + _INDEX_BYTES * _places(lead)


def write_keys(stream: BinaryIO, keys: Iterable[bytes], count: int) -> None:
    """`keys`: exactly `count`, sorted, each once."""
    lead = lead_for(count)
    held = [0] * _places(lead)
    rests: list[bytes] = []
    for key in keys:
        held[int.from_bytes(key[:lead], "big")] += 1
        rests.append(key[lead:])
        if len(rests) == _AT_ONCE:
            stream.write(b"".join(rests))
            rests.clear()
    stream.write(b"".join(rests))
    ends = array(_TYPE)
    total = 0
    for number in held:
        total += number
        ends.append(total)
    _swap(ends)
    stream.write(ends.tobytes())


class PackedKeys:
    """Packed keys where `read(at, length)` finds them, from `start` on; only the index is held.

    Raises BlockListError for an index that is none; what `read` raises comes through.
    """

    def __init__(self, read: Callable[[int, int], bytes], start: int, count: int) -> None:
        self._read, self._start = read, start
        self._lead = lead_for(count)
        self._width = KEY_BYTES - self._lead
        ends = array(_TYPE)
        ends.frombytes(read(start + count * self._width, _INDEX_BYTES * _places(self._lead)))
        _swap(ends)
        self._ends = ends
        rises = all(low <= high for low, high in pairwise(ends))
        if len(ends) != _places(self._lead) or ends[-1] != count or not rises:
            raise BlockListError("the index of the entries is wrong")

    def __contains__(self, key: bytes) -> bool:
        lead, width, ends = self._lead, self._width, self._ends
        place = int.from_bytes(key[:lead], "big")
        low = ends[place - 1] if place else 0
        block = self._read(self._start + low * width, (ends[place] - low) * width)
        rest = key[lead:]
        found = block.find(rest)
        # A hit between two entries is made of the end of one and the beginning of the next.
        while found != -1 and found % width:
            found = block.find(rest, found + 1)
        return found != -1

    def __iter__(self) -> Iterator[bytes]:
        width, low = self._width, 0
        for place, high in enumerate(self._ends):
            lead = place.to_bytes(self._lead, "big")
            block = self._read(self._start + low * width, (high - low) * width)
            for start in range(0, len(block), width):
                yield lead + block[start : start + width]
            low = high


def _swap(ends: array[int]) -> None:
    if ends.itemsize != _INDEX_BYTES:
        raise BlockListError(f"integers of {ends.itemsize} bytes on this machine")
    if sys.byteorder == "big":
        ends.byteswap()
