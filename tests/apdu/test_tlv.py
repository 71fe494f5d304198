"""Data objects of both kinds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu import simple_tlv, tlv
from apdu.errors import EncodingError, TlvDecodingError
from apdu.simple_tlv import SimpleTlv, parse_records
from apdu.tlv import MAX_DEPTH, Tlv

# FCI of a 3.0 card and a DIR record (card_digest.md 1.2, card_files.md 3).
FCI = bytes.fromhex("6F1C840F7378312E73682EC9E7BBE1B1A3D5CFA50988011E9F0C03860103")
DIR = bytes.fromhex("61184F06D15600000500500EB9ABB9B2D3A6D3C3D0C5CFA2C7F8")


def test_fci_of_a_3_0_card() -> None:
    assert tlv.find(FCI, 0x6F, 0xA5, 0x88) == Tlv(0x88, b"\x1e")
    algorithm = tlv.find(FCI, 0x6F, 0xA5, 0x9F0C, 0x86)
    assert algorithm is not None
    assert algorithm.value == b"\x03"
    assert tlv.find(FCI, 0x6F, 0xA5, 0x50) is None
    assert [f"{depth}:{item.tag:X}" for depth, item in tlv.walk(FCI)] == ["0:6F", "1:84", "1:A5", "2:88", "2:9F0C"]
    assert tlv.encode(tlv.parse(FCI)) == FCI


def test_dir_record_round_trip() -> None:
    (template,) = tlv.parse(DIR)
    assert Tlv.of(0x61, template.children).to_bytes() == DIR
    assert template.children[1].value.decode("gbk") == "公共应用信息区"


@pytest.mark.parametrize("raw", [FCI, DIR], ids=["fci", "dir"])
def test_every_truncation_is_refused(raw: bytes) -> None:
    for length in range(1, len(raw)):
        with pytest.raises(TlvDecodingError):
            tlv.parse(raw[:length])


@pytest.mark.parametrize(
    "raw",
    ["6F80840000", "5F", "5F8001", "5F81818101AA", "848400000001AA", "8483020000AA", "84", "8481", "1F1F"],
    ids=["indefinite", "cut tag", "padded tag", "long tag", "long length", "huge", "no length", "cut length", "end"],
)
def test_malformed_objects(raw: str) -> None:
    with pytest.raises(TlvDecodingError) as caught:
        tlv.parse(bytes.fromhex(raw))
    assert caught.value.failure == "CARD_DATA_INVALID"


def test_padding_between_objects_and_long_length_forms_are_read() -> None:
    assert tlv.parse(bytes.fromhex("0000840100 00 8581020102 00")) == [Tlv(0x84, b"\0"), Tlv(0x85, b"\1\2")]


def test_depth_and_number_are_bounded() -> None:
    deep = Tlv(0x84, b"")
    for _ in range(MAX_DEPTH):
        deep = Tlv.of(0x61, [deep])
    with pytest.raises(TlvDecodingError):
        list(tlv.walk(deep.to_bytes()))
    assert len(list(tlv.walk(deep.value))) == MAX_DEPTH
    with pytest.raises(TlvDecodingError):
        tlv.parse(b"\x84\x00" * (tlv.MAX_OBJECTS + 1))


@pytest.mark.parametrize("tag", [0, -1, 0x5F, 0x8401, 0x5F80, 0x5F8001, 0x5F01_01, 0x5F818101])
def test_tags_that_are_none(tag: int) -> None:
    with pytest.raises(EncodingError):
        Tlv(tag, b"")


tags = st.sampled_from([0x01, 0x61, 0x6F, 0x84, 0xA5, 0x9F0C, 0x5F24, 0x7F4E, 0xDF8120, 0xFF])
tags = tags.filter(lambda tag: tag != 0xFF)
leaves = st.builds(Tlv, tags, st.binary(max_size=300))
trees = st.recursive(leaves, lambda inner: st.builds(Tlv.of, tags, st.lists(inner, max_size=3)), max_leaves=8)


@given(st.lists(trees, max_size=4))
@settings(max_examples=80)
def test_round_trip(objects: list[Tlv]) -> None:
    assert tlv.parse(tlv.encode(objects)) == objects


@given(st.binary(max_size=64))
@settings(max_examples=200)
def test_outside_bytes_parse_or_are_refused(raw: bytes) -> None:
    try:
        objects = list(tlv.walk(raw))
    except TlvDecodingError:
        return
    assert tlv.parse(tlv.encode(item for depth, item in objects if depth == 0)) == tlv.parse(raw)


# EF05 of the worked read of a 3.0 card (card_commands.md 8.1).
EF05 = bytes.fromhex(
    "0110990100D15600000500000001FFFFFFFF0201330304332E3030040C9156000002990100990100010504202501010604203501010709413030303030303131"
)


def test_records_of_ef05() -> None:
    records = parse_records(EF05)
    assert [record.tag for record in records] == [1, 2, 3, 4, 5, 6, 7]
    assert simple_tlv.find(records, 7) == SimpleTlv(7, b"A00000011")
    assert simple_tlv.find(records, 8) is None
    assert simple_tlv.encode(records) == EF05
    assert SimpleTlv.from_bytes(EF05[-11:]).value == b"A00000011"
    with pytest.raises(TlvDecodingError):
        SimpleTlv.from_bytes(EF05)


@given(st.lists(st.builds(SimpleTlv, st.integers(1, 254), st.binary(max_size=254)), min_size=1, max_size=6))
@settings(max_examples=60)
def test_records_round_trip_and_truncation(records: list[SimpleTlv]) -> None:
    raw = simple_tlv.encode(records)
    assert parse_records(raw) == records
    with pytest.raises(TlvDecodingError):
        parse_records(raw[: len(raw) - 1])


@given(st.binary(max_size=40))
@settings(max_examples=100)
def test_outside_records_parse_or_are_refused(raw: bytes) -> None:
    try:
        records = parse_records(raw)
    except TlvDecodingError:
        return
    assert simple_tlv.encode(records) == raw


@pytest.mark.parametrize("raw", ["0000", "FF00", "07", "0701", "07FF" + "00" * 255])
def test_malformed_records(raw: str) -> None:
    with pytest.raises(TlvDecodingError):
        parse_records(bytes.fromhex(raw))


def test_record_fields_out_of_range() -> None:
    for tag, value in ((0, b""), (0xFF, b""), (7, bytes(255))):
        with pytest.raises(EncodingError):
            SimpleTlv(tag, value)
