"""Stored values: the reference's own bytes first, then every item both ways, then what the field shows instead."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.codec import (
    CodecError,
    StoredDataError,
    decode_code,
    decode_cyclic,
    decode_value,
    encode_cyclic,
    encode_record,
    encode_value,
    is_gbk,
    join_name,
    rewritten_value,
    split_name,
)
from cardlib.spec import CardSpec, Format, ItemSpec, ItemType, Structure, code_list, load

SPEC = load("3.0")

# slug, value, record: byte forms of the reference documents.
VECTORS = [
    ("card_identification_code", "990100D15600000500000001FFFFFFFF", "0110990100D15600000500000001FFFFFFFF"),
    ("card_class", "3", "020133"),
    ("specification_version", "3.00", "0304332E3030"),
    ("initialization_institution", "915600000299010099010001", "040C915600000299010099010001"),
    ("issue_date", "20250101", "050420250101"),
    ("card_number", "A00000011", "0709413030303030303131"),
    ("social_security_number", "990100199001010012", "0812393930313030313939303031303130303132"),
    ("name", "测试甲", "091EB2E2CAD4BCD7" + "00" * 24),
    ("name_extension", "", "4E14" + "00" * 20),
    ("sex", "9", "0A0139"),
    ("ethnic_group", "99", "0B0199"),
    ("birthplace", "", "0C03FFFFFF"),
    ("unemployment_months_paid", "012", "6303303132"),
    ("offline_settlement_amount", "1250", "920400001250"),
    ("dependant_relation", "2", "76012F"),
]


def item(slug: str) -> ItemSpec:
    return SPEC.find_item(slug)[1]


def all_items(spec: CardSpec = SPEC) -> list[ItemSpec]:
    return [inner for df in spec.dfs for ef in df.efs for top in ef.items for inner in (top, *top.inner)]


@pytest.mark.parametrize(("slug", "value", "record"), VECTORS, ids=[row[0] for row in VECTORS])
def test_records_of_the_reference(slug: str, value: str, record: str) -> None:
    assert encode_record(item(slug), value).hex().upper() == record
    assert decode_value(item(slug), bytes.fromhex(record)[2:]) == value


def test_an_unused_item_is_full_length_and_reads_empty() -> None:
    for spec in map(load, ("1.0", "2.0", "3.0")):
        for each in all_items(spec):
            raw = encode_value(each)
            assert len(raw) == each.length, each.slug
            if each.format in (Format.HEX, Format.NUMBER) or (each.type is ItemType.B):
                continue
            decoded = decode_value(each, raw)
            assert not any(decoded.values()) if isinstance(decoded, dict) else decoded == "", each.slug


def values(each: ItemSpec) -> st.SearchStrategy[str]:
    """Texts that the item can hold and gives back unchanged."""
    digits = each.length * 2 if each.type is ItemType.CN else each.length
    if each.format is Format.DATE:
        return st.dates().map(lambda day: day.strftime("%Y%m%d").zfill(8))
    if each.format is Format.DATETIME:
        return st.datetimes().map(lambda time: time.strftime("%Y%m%d%H%M%S").zfill(14))
    if each.format is Format.YEAR_MONTH:
        return st.dates().map(lambda day: day.strftime("%Y%m").zfill(6))
    if each.format in (Format.FEN, Format.NUMBER):
        top = 10**digits if each.type is ItemType.CN else 1 << (8 * each.length)
        return st.integers(0, top - 1).map(str)
    if each.format is Format.HEX:
        return st.binary(min_size=each.length, max_size=each.length).map(lambda raw: raw.hex().upper())
    if each.code_list is not None:
        codes = code_list(each.code_list)
        if codes.parts:
            return st.tuples(*(st.sampled_from(sorted(part.codes)) for part in codes.parts)).map("".join)
        return st.sampled_from(sorted(codes.codes))
    if each.format in (Format.MONTHS, Format.REGION) or each.type is ItemType.CN:
        return st.text("0123456789", min_size=digits, max_size=digits)
    return st.text("ABCXYZ123-", min_size=1, max_size=each.length)


SIMPLE = [each for each in all_items() if each.type is not ItemType.BTLV and each.length <= 0x70]


@settings(max_examples=150)
@given(st.data())
def test_every_item_gives_back_what_was_written(data: st.DataObject) -> None:
    each = data.draw(st.sampled_from(SIMPLE), label="item")
    value = data.draw(values(each), label="value")
    raw = encode_value(each, value)
    assert len(raw) == each.length
    assert decode_value(each, raw) == value


@settings(max_examples=150)
@given(st.sampled_from(all_items()), st.binary(max_size=120))
def test_any_bytes_decode_or_are_refused(each: ItemSpec, raw: bytes) -> None:
    try:
        decoded = decode_value(each, raw)
    except StoredDataError:
        return
    assert isinstance(decoded, dict) == bool(each.inner)


def test_a_value_of_thousands_of_bytes_is_no_number() -> None:
    for each in all_items():
        if each.format is Format.FEN:
            with pytest.raises(StoredDataError):
                decode_value(each, b"\x11" * 5000)


@pytest.mark.parametrize(
    ("slug", "value"),
    [
        ("issue_date", "20250230"),
        ("issue_date", "2025"),
        ("issue_date", "２０２５０１０１"),
        ("birthplace", "9901"),
        ("card_number", "A000000111"),
        ("social_security_number", "测试"),
        ("sex", "3"),
        ("ethnic_group", "60"),
        ("medical_scheme", "3101000"),
        ("medical_scheme", "31010002"),
        ("name", "甲" * 16),
        ("name", "甲\n"),
        ("name", "\ud800"),
        ("offline_settlement_amount", "123456789"),
        ("unemployment_months_paid", "1a"),
        ("card_identification_code", "9901"),
        ("card_identification_code", "zz"),
        ("photo", b"\x00" * 4097),
        ("name", 3.5),
        ("degree", {"57": "401", "degree_code": "401"}),
        ("degree", {"77": "401"}),
        ("degree", "401"),
        ("degree", b"\x57\x03401"),
    ],
)
def test_what_the_card_cannot_hold_is_refused(slug: str, value: object) -> None:
    with pytest.raises(CodecError) as caught:
        encode_value(item(slug), value)
    assert caught.value.failure == "INPUT_INVALID"


def test_constructed_items_hold_every_inner_item() -> None:
    degree = item("degree")
    value = {"degree_code": "401", "field_of_study": "080605", "school_name": "测试大学"}
    raw = encode_value(degree, {"57": "401", "58": "080605", "school_name": "测试大学"})
    assert raw.hex().upper().startswith("5703343031" + "5803080605" + "5928B2E2CAD4B4F3D1A7")
    assert len(raw) == 0x34
    assert decode_value(degree, raw) == value
    assert encode_value(degree, raw) == raw
    assert decode_value(degree, b"\xff" * 0x34) == dict.fromkeys(value, "")
    for broken in (raw[:-1], b"\x99\x01\x00" + raw, raw[:1]):
        with pytest.raises(StoredDataError):
            decode_value(degree, broken)


def test_cyclic_records() -> None:
    log = SPEC.ef("DF04EF08")
    fields = {
        "transaction_number": "258",
        "transaction_type": "2",
        "terminal_number": "990100000001",
        "transaction_time": "20250316101500",
        "account_amount": "0",
        "self_paid_amount": "10",
        "pooling_amount": "20",
    }
    raw = encode_cyclic(log, fields)
    assert raw.hex().upper() == "0102329901000000012025031610150000000000" + "0000000A" + "00000014"
    assert decode_cyclic(log, raw) == fields
    assert list(decode_cyclic(log, raw[:20])) == list(fields)[:5]  # "account only" records (draft P7 §12)
    with pytest.raises(CodecError):
        encode_cyclic(log, {"price": "1"})
    with pytest.raises(CodecError):
        encode_cyclic(SPEC.ef("SSSEEF05"), {})


def test_fills_and_dates_of_the_field() -> None:
    """OPEN F6 and F7 of the reference: other fills are read, never written."""
    name = item("name")
    text = "测试甲".encode("gbk")
    for fill in (b"\x00", b"\x20", b"\xff", b"\x30", b"\x20\x00"):
        assert decode_value(name, (text + fill * 30)[:30]) == "测试甲"
    assert decode_value(item("registered_address"), ("测试路100".encode("gbk")).ljust(80, b"\x00")) == "测试路100"
    assert decode_value(item("card_number"), b"E00000000") == "E00000000"
    assert decode_value(item("issue_date"), b"2012") == "2012"
    assert decode_value(item("issue_date"), bytes.fromhex("20121231")) == "20121231"
    with pytest.raises(StoredDataError):
        decode_value(item("issue_date"), bytes.fromhex("2012A231"))
    with pytest.raises(StoredDataError) as caught:
        decode_value(name, b"\x81")
    assert caught.value.failure == "CARD_DATA_INVALID"


def test_long_and_rare_names_split_between_characters() -> None:
    first, second = split_name("甲" * 14 + "a" + "乙丙丁")
    assert (len(first), len(second)) == (0x1E, 0x14)
    assert first == "甲".encode("gbk") * 14 + b"a\x00"  # the last byte is no half of 乙
    assert second.rstrip(b"\x00") == "乙丙丁".encode("gbk")
    rare = "测试㛃𠀀"
    assert not is_gbk(rare)
    assert is_gbk("测试")
    assert join_name(*split_name(rare)) == rare
    assert decode_value(item("name"), split_name(rare)[0]) == rare
    for refused in ("", "  ", "甲" * 26, "甲\x07"):
        with pytest.raises(CodecError):
            split_name(refused)


@settings(max_examples=100)
@given(st.text("甲乙丙㛃𠀀AB·", min_size=1, max_size=12))
def test_split_names_join_again(name: str) -> None:
    assert join_name(*split_name(name)) == name


def test_a_name_cut_inside_a_character_still_joins() -> None:
    raw = ("a" + "甲" * 16).encode("gbk")
    assert join_name(raw[:30], raw[30:].ljust(20, b"\x00")) == "a" + "甲" * 16
    with pytest.raises(StoredDataError):
        join_name(raw[:30])


def test_codes_have_texts() -> None:
    assert decode_code("sex", "1") == "男"
    assert decode_code("sex", "1", "en") == "male"
    assert decode_code("ethnic_group", "01") == "汉族"
    assert decode_code("ethnic_group", "10", "en") == "Chosen"
    assert decode_code("insured_scheme", "110", "en") == "basic pension of enterprise employees"
    assert decode_code("dependant_relation", "02") == "子女"
    assert decode_code("insured_scheme", "110") == "企业职工基本养老保险"
    assert decode_code("sex", "7") == "7"
    assert decode_code("medical_scheme", "31010010") == "职工基本医疗保险、异地就医、医疗救助"
    assert decode_code("medical_scheme", "31010010", "en") == (
        "basic medical insurance of employees, treatment elsewhere, medical relief"
    )
    assert decode_code("unemployment_registration", "103000", "en") == "registered, dismissed by a public body"
    assert decode_code("unemployment_registration", "103000") == "登记、机关事业单位辞退"


def test_cards_rewritten_with_new_meanings() -> None:
    old = load("1.0")
    stored = {
        0x71: bytes.fromhex("990100EE"),
        0x70: b"110",
        0x6E: bytes.fromhex("19990101"),
    }
    region, raw = rewritten_value(old, "DF03EF07", 0x71, stored)
    assert (region.slug, decode_value(region, raw)) == ("pension_region", "990100")
    scheme, raw = rewritten_value(old, "DF03EF07", 0x70, stored)
    assert (scheme.slug, decode_value(scheme, raw)) == ("pension_scheme", "110")
    assert rewritten_value(old, "DF03EF07", 0x6E, stored)[0].slug == "pension_account_date"
    untouched = {0x71: bytes.fromhex("00012345"), 0x70: b"120"}
    amount, raw = rewritten_value(old, "DF03EF07", 0x71, untouched)
    assert (amount.slug, decode_value(amount, raw)) == ("pension_account_amount", "12345")
    assert rewritten_value(old, "DF03EF07", 0x70, untouched)[0].slug == "pension_months_paid"
    assert rewritten_value(SPEC, "DF03EF07", 0x71, {0x71: bytes.fromhex("9901EE")})[0].slug == "pension_region"


def test_cyclic_and_transparent_items_make_no_record() -> None:
    assert SPEC.ef("DF04EF15").structure is Structure.CYCLIC
    with pytest.raises(CodecError):
        encode_record(item("photo"), b"")
