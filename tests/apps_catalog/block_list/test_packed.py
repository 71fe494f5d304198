"""Entries packed into few bytes, and the heads of the files that hold them."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from apps_catalog.block_list import BlockListError
from apps_catalog.block_list.files import MAX_CHANGES, MAX_ENTRIES, Content, Head
from apps_catalog.block_list.keys import KEY_BYTES, KeySet
from apps_catalog.block_list.packed import PackedKeys, lead_for, length_for, write_keys

AT = 1_800_000_000


@pytest.mark.parametrize("many", [0, 1, 256, 257, 65_536, 65_537])
def test_packed_keys_hold_exactly_what_went_in(tmp_path: Path, many: int) -> None:
    chance = random.Random(many)
    keys = sorted({chance.randbytes(KEY_BYTES) for _ in range(many)})
    path = tmp_path / "packed"
    with path.open("wb") as stream:
        write_keys(stream, keys, len(keys))
    data = b"head" + path.read_bytes()
    assert len(data) == 4 + length_for(len(keys))
    packed = PackedKeys(lambda at, size: data[at : at + size], 4, len(keys))
    assert list(packed) == keys
    assert all(key in packed for key in keys[:: max(1, many // 500)])
    assert not any(chance.randbytes(KEY_BYTES) in packed for _ in range(200))


@pytest.mark.parametrize("top", [0, 0x7F, 0xFF])
@pytest.mark.parametrize("held", [False, True])
def test_entries_far_from_where_digests_would_lie_are_found(tmp_path: Path, top: int, held: bool) -> None:
    chance = random.Random(top)
    keys = sorted({bytes([top]) + chance.randbytes(KEY_BYTES - 1) for _ in range(250)})
    path = tmp_path / "packed"
    with path.open("wb") as stream:
        write_keys(stream, keys, len(keys))
    data = path.read_bytes()
    packed = PackedKeys(lambda at, size: data[at : at + size], 0, len(keys))
    if held:
        packed.hold()
        data = b""
    assert all(key in packed for key in keys)
    others = [bytes([chance.choice([top, top, 3])]) + chance.randbytes(KEY_BYTES - 1) for _ in range(300)]
    assert not any(key in packed for key in others)
    assert list(packed) == keys


@pytest.mark.parametrize("ends", [[2], [0]])
def test_an_index_of_another_count_is_refused(ends: list[int]) -> None:
    data = b"a" * KEY_BYTES + struct.pack("<I", *ends)
    with pytest.raises(BlockListError):
        PackedKeys(lambda at, size: data[at : at + size], 0, 1)


def test_an_index_that_falls_is_refused() -> None:
    ends = [300, 0] + [300] * 254
    data = b"a" * 7 * 300 + struct.pack("<256I", *ends)
    with pytest.raises(BlockListError):
        PackedKeys(lambda at, size: data[at : at + size], 0, 300)


HEAD = Head(Content.DELTA, AT + 1, AT, AT, bytes(16), 3, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(HEAD, edition=AT),
        replace(HEAD, entries=MAX_CHANGES),
        replace(HEAD, content=Content.FILTER),
        replace(HEAD, content=Content.EXACT, edition=AT),
        replace(HEAD, content=Content.EXACT, edition=AT, removed=0, entries=MAX_ENTRIES + 1),
        replace(HEAD, as_of=2**60),
    ],
)
def test_a_head_with_numbers_that_cannot_be(wrong: Head) -> None:
    assert Head.from_bytes(HEAD.to_bytes(), "delta") == HEAD
    with pytest.raises(BlockListError):
        Head.from_bytes(wrong.to_bytes(), "delta")


@pytest.mark.parametrize("at", [0, 4, 5, 6, 7])
def test_another_format_is_refused(at: int) -> None:
    data = bytearray(HEAD.to_bytes())
    data[at] ^= 0x80
    with pytest.raises(BlockListError):
        Head.from_bytes(bytes(data), "delta")


def test_a_hit_across_two_entries_is_none(tmp_path: Path) -> None:
    """The bytes stand in the file, but as the end of one entry and the beginning of the next."""
    keys = [b"\0" * 4 + b"AAAA", b"\1" * 4 + b"BBBB", b"\2" * 8]
    path = tmp_path / "packed"
    with path.open("wb") as stream:
        write_keys(stream, keys, 3)
    data = path.read_bytes()
    packed = PackedKeys(lambda at, size: data[at : at + size], 0, 3)
    assert lead_for(3) == 0
    assert b"AAAA" + b"\1" * 4 not in packed
    assert all(key in packed for key in keys)


def test_a_key_set_is_a_sorted_set() -> None:
    keys = [random.Random(at).randbytes(KEY_BYTES) for at in range(300)]
    found = KeySet()
    for key in keys + keys[:30]:
        found.add(key)
    assert found.settle() == len(keys)
    assert list(found) == sorted(keys)
