"""Packed keys: sorted, without the leading bytes that their place tells, then the index of the places.

`count` keys without their first `lead` bytes each (0, 1 or 2, by the count alone), then for each of the 256^lead
leading values the number of keys up to and including it, four bytes. A place holds some 150 keys at 10 million.
"""

from __future__ import annotations

import struct
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
_SPLITS: Final[tuple[Callable[[bytes], tuple[int, int]], ...]] = (
    lambda key: (0, int.from_bytes(key[:2])),
    struct.Struct(">BH").unpack_from,
    struct.Struct(">HH").unpack_from,
)
"""Place and the two bytes after it, by the number of leading bytes."""

_NEAR: Final = 20
"""Entries looked at on either side of where one should be; with 150 in a place, the whole place is read once in 500."""


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


def _holds(block: bytes, rest: bytes, width: int) -> bool:
    found = block.find(rest)
    # A hit between two entries is made of the end of one and the beginning of the next.
    while found != -1 and found % width:
        found = block.find(rest, found + 1)
    return found != -1


class PackedKeys:
    """Packed keys where `read(at, length)` finds them, from `start` on; only the index is held.

    Raises BlockListError for an index that is none; what `read` raises comes through.
    """

    def __init__(self, read: Callable[[int, int], bytes], start: int, count: int) -> None:
        self._read, self._start = read, start
        self._lead = lead_for(count)
        self._width = KEY_BYTES - self._lead
        self._split = _SPLITS[self._lead]
        self._held: bytes | None = None
        ends = array(_TYPE)
        ends.frombytes(read(start + count * self._width, _INDEX_BYTES * _places(self._lead)))
        _swap(ends)
        if len(ends) != _places(self._lead) or ends[-1] != count:
            raise BlockListError("the index of the entries is wrong")
        ends.insert(0, 0)
        if any(low > high for low, high in pairwise(ends)):
            raise BlockListError("the index of the entries is wrong")
        self._bounds = ends

    def hold(self) -> None:
        """Everything into memory: from now on `read` is not called."""
        self._held = self._read(self._start, self._bounds[-1] * self._width)

    def __contains__(self, key: bytes) -> bool:
        # Everything in one function, as a call is a tenth of what a lookup may take.
        width, bounds = self._width, self._bounds
        place, part = self._split(key)
        low, high = bounds[place], bounds[place + 1]
        # Entries are digests, so one lies near the part of its place that its next two bytes are of 2^16.
        first = low + ((high - low) * part >> 16) - _NEAR
        last = first + 2 * _NEAR
        if first < low:
            first = low
        if last > high:
            last = high
        held = self._held
        block = (
            self._read(self._start + first * width, (last - first) * width)
            if held is None
            else held[first * width : last * width]
        )
        rest = key[self._lead :]
        found = block.find(rest)
        if found >= 0:
            if not found % width:
                return True
        elif (first == low or block[:width] < rest) and (last == high or rest < block[-width:]):
            return False
        return _holds(self._entries(low, high), rest, width)

    def _entries(self, first: int, last: int) -> bytes:
        width = self._width
        if self._held is not None:
            return self._held[first * width : last * width]
        return self._read(self._start + first * width, (last - first) * width)

    def __iter__(self) -> Iterator[bytes]:
        width = self._width
        for place, (low, high) in enumerate(pairwise(self._bounds)):
            lead = place.to_bytes(self._lead, "big")
            block = self._entries(low, high)
            for start in range(0, len(block), width):
                yield lead + block[start : start + width]


def _swap(ends: array[int]) -> None:
    if ends.itemsize != _INDEX_BYTES:
        raise BlockListError(f"integers of {ends.itemsize} bytes on this machine")
    if sys.byteorder == "big":
        ends.byteswap()
