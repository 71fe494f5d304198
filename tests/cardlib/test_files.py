"""Every kind of file, read and written by name on every generation."""

from __future__ import annotations

from typing import Any

import pytest

from apdu.channel import CountingChannel
from apdu.errors import AccessDeniedError
from cardlib.codec import CodecError, encode_value
from cardlib.errors import CardDataError
from cardlib.session import SocialSecurityCard
from cardlib.spec import AccessKind, EfSpec, ItemSpec, ItemType, Structure
from simulators.card import CardState, SimCard
from simulators.factory import build_card
from simulators.personas import load
from tests.cardlib.support import key_service, roots

PIN = "123456"
PERSONAS = ["adult-1.0", "adult-2.0", "adult-3.0"]


def stored(name: str) -> CardState:
    return build_card(load(name), roots())


def opened(state: CardState, *, pin: bool = True) -> SocialSecurityCard:
    card = SimCard(state)
    session = SocialSecurityCard(card, card.power_on())
    session.open()
    if pin:
        session.verify_pin(PIN)
    return session


# -- reading everything -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PERSONAS)
def test_everything_is_read_with_pin_and_keys(name: str) -> None:
    session = opened(stored(name))
    content = session.read_all(key_service())
    spec = session.known_spec()
    assert content.refused == {}
    assert content.files.keys() == {ef.path for df in spec.dfs if not df.is_optional for ef in df.efs} | {"SSSEDIR"}


@pytest.mark.parametrize(
    ("name", "holder"), [("child-3.0", "测试小戊"), ("rare-name-3.0", "测试䶮·艾克拜尔·示例·阿卜杜热合曼")]
)
def test_other_people_are_read_too(name: str, holder: str) -> None:
    content = opened(stored(name), pin=bool(load(name).pin)).read_all(key_service())
    assert content.refused == {}
    assert content.files["SSSEEF06"]["name"] == holder


def test_what_is_refused_is_named() -> None:
    content = opened(stored("adult-2.0"), pin=False).read_all(key_service())
    assert content.refused == {"DF04EF06": "ACCESS_DENIED", "DF04EF08": "ACCESS_DENIED"}
    assert "SSSEEF08" in opened(stored("adult-2.0")).read_all().refused, "the photo needs a key"


def test_values_and_their_texts_stand_in_parallel() -> None:
    content = opened(stored("adult-2.0")).read_all(key_service())
    assert content.files["SSSEEF06"]["sex"] == "1"
    assert content.texts["SSSEEF06"]["sex"] == {"zh": "男", "en": "male"}
    assert content.files["DF04EF05"]["medical_region"] == "990100"
    assert len(content.files["DF03EF19"]["insurance_voucher"]) == 4
    assert len(content.texts["DF03EF19"]["insurance_voucher"]) == 4
    assert content.texts["DF03EF19"]["insurance_voucher"][0].keys() == {"scheme"}
    assert content.files["DF02EF07"][0]["employer_name"] == "测试市模拟机械厂"
    assert content.files["SSSEEF08"]["photo"].startswith("424D00112233")
    assert content.files["SSSEDIR"][0] == {"aid": "D15600000500", "label": "公共应用信息区"}
    assert content.files["DF01EF16"] == {"reserved_1": ""}


def test_optional_applications_are_read_where_present() -> None:
    persona = load("adult-3.0")
    object.__setattr__(persona, "optional_applications", ("DF05", "DF06"))
    try:
        state = build_card(persona, roots())
    finally:
        object.__setattr__(persona, "optional_applications", ())
    content = opened(state).read_all(key_service())
    assert {"DF05EF05", "DF06EF05", "DF06EF06"} <= content.files.keys()


def test_a_blocked_application_does_not_spoil_the_others() -> None:
    state = stored("adult-2.0")
    next(df for df in state.dfs if df.fid == 0xDF02).is_blocked = True
    content = opened(state).read_all(key_service())
    assert {path[:4] for path in content.refused} == {"DF02"}
    assert set(content.refused.values()) == {"APPLICATION_BLOCKED"}
    assert "DF07EF05" in content.files


def test_a_verified_pin_spares_the_reading_keys() -> None:
    card = SimCard(stored("adult-3.0"))
    count = CountingChannel(card)
    session = SocialSecurityCard(count, card.power_on())
    session.open()
    session.verify_pin(PIN)
    before = count.apdus
    session.read_file("DF01EF05", key_service())
    assert count.apdus - before == 2  # SELECT and one read


# -- writing everything -----------------------------------------------------------------------------------------------


def sample(item: ItemSpec) -> Any:
    """A value unlike the persona's, full length."""
    if item.type is ItemType.BTLV:
        return {inner.slug: sample(inner) for inner in item.inner}
    for candidate in ("20301231", "203012", "20301231235959", "990199", "1", "11", "123", "12345", "310", "9"):
        try:
            encode_value(item, candidate)
        except CodecError:
            continue
        return candidate
    return _some_code(item)


def identity(session: SocialSecurityCard) -> dict[str, str]:
    """Values that may replace what identifies a card: right check digits, the card's own region and version."""
    return {
        "card_number": "C12345679",
        "social_security_number": "990101199001010115",
        "specification_version": str(session.read_item("specification_version")),
        "card_identification_code": f"{session.region}D15600000512345678FFFFFFFF",
    }


def _some_code(item: ItemSpec) -> str:
    from cardlib.spec import code_list

    assert item.code_list is not None, item.slug
    codes = code_list(item.code_list)
    return "".join(sorted(part.codes)[-1] for part in codes.parts) or sorted(codes.codes)[-1]


FIXED = {"card_identification_code", "specification_version", "name_extension", "card_number"}


def writable(session: SocialSecurityCard) -> list[tuple[EfSpec, ItemSpec]]:
    return [
        (ef, item)
        for df in session.known_spec().dfs
        if not df.is_optional
        for ef in df.efs
        if ef.write.kind is not AccessKind.NEVER and ef.structure is not Structure.CYCLIC
        for item in ef.items
        if item.slug not in FIXED
    ]


@pytest.mark.parametrize("name", PERSONAS)
def test_every_item_is_written_by_name_and_read_back(name: str) -> None:
    session = opened(stored(name))
    keys = key_service()
    for ef, item in writable(session):
        value = "0102030405" * 50 if ef.structure is Structure.TRANSPARENT else sample(item)
        value = identity(session).get(item.slug, value)
        names = [f"{item.slug}:{n}" for n in range(1, item.count + 1)] if item.count > 1 else [item.slug]
        for each in names:
            session.write_item(each, value, keys)
            read = session.read_item(each, keys)
            assert _normal(read) == _normal(value), each
    session.read_all(keys)


def _normal(value: Any) -> Any:
    """Money and months are given back without or with their leading zeros."""
    if isinstance(value, dict):
        return {slug: _normal(inner) for slug, inner in value.items()}
    return str(value).lstrip("0") or "0"


def test_instances_are_apart() -> None:
    session = opened(stored("adult-3.0"))
    degree = {"degree_code": "403", "field_of_study": "070100", "school_name": "测试䶮大学"}
    session.write_item("degree:3", degree, key_service())
    degrees = session.read_file("DF01EF15", key_service())["degree"]
    assert degrees[2] == degree == session.read_item("degree:3", key_service())
    assert degrees[0]["school_name"] == "测试大学"
    assert not any(degrees[1].values())
    for wrong in ("degree:4", "degree:0", "degree:x", "sex:2x"):
        with pytest.raises(CodecError):
            session.write_item(wrong, degree, key_service())


@pytest.mark.parametrize("name", ["测试甲", "测试䶮·艾克拜尔·示例·阿卜杜热合曼", "测" * 15, "𠮷" * 8])
def test_names_go_over_both_items(name: str) -> None:
    state = stored("adult-3.0")
    session = opened(state)
    session.write_item("name", name, key_service())
    assert session.read_item("name", key_service()) == name
    assert opened(state).read_basic(key_service()).name == name


def test_a_name_cut_inside_a_character_is_read_whole() -> None:
    """Some writers cut tag 09 at 30 bytes wherever that falls."""
    state = stored("adult-2.0")
    raw = ("A" + "测试" * 9).encode("gbk")
    records = next(ef for ef in state.dfs[0].efs if ef.fid == 0xEF06).records
    records[1], records[2] = b"\x09\x1e" + raw[:30], b"\x4e\x14" + raw[30:].ljust(20, b"\0")
    session = opened(state)
    assert session.read_file("SSSEEF06")["name"] == session.read_item("name") == "A" + "测试" * 9


def test_cyclic_records_are_appended_newest_first() -> None:
    session = opened(stored("adult-3.0"))
    ef = session.known_spec().ef("DF02EF07")
    for year in range(2000, 2000 + ef.records + 1):
        session.files.append("DF02EF07", {"start_date": f"{year}0101", "employer_name": "测试"}, key_service())
    history = session.read_file("DF02EF07", key_service())
    assert [job["start_date"][:4] for job in history] == ["2004", "2003", "2002", "2001"]
    with pytest.raises(AccessDeniedError):
        session.files.append("DF04EF08", {}, key_service())


def test_a_photo_is_written_whole_and_the_rest_emptied() -> None:
    session = opened(stored("adult-3.0"))
    photo = bytes(range(1, 256)) * 9
    session.write_item("photo", photo, key_service())
    assert session.read_item("photo", key_service()) == photo.hex().upper()
    raw = session.files.read_transparent(session.known_spec().ef("SSSEEF08"), key_service())
    assert raw == photo.ljust(4096, b"\0")
    session.write_item("photo", "", key_service())
    assert session.read_item("photo", key_service()) == ""
    for wrong in ("xyz", bytes(4097)):
        with pytest.raises(CodecError):
            session.write_item("photo", wrong, key_service())


def test_files_that_want_secured_updates_get_them() -> None:
    state = stored("adult-3.0")
    for df, fid in ((0, 0xEF05), (1, 0xEF06), (0, 0xEF08)):
        next(ef for ef in state.dfs[df].efs if ef.fid == fid).flags = 1
    session = opened(state)
    for slug, value in (("issue_date", "20270101"), ("telephone", "01000000000"), ("photo", "00" * 254 + "01")):
        session.write_item(slug, value, key_service())
        assert session.read_item(slug, key_service()) == value


# -- old cards and odd cards ------------------------------------------------------------------------------------------


def test_new_meanings_on_an_old_card_are_filled_with_e() -> None:
    """V2.0 App. C: the old field, the new value, E to the end; the old items stay readable beside it."""
    state = stored("adult-1.0")
    session = opened(state)
    keys = key_service()
    session.write_item("nationality", "CHN", keys)
    raw = next(ef for ef in state.dfs[1].efs if ef.fid == 0xEF0A).records[0]
    assert raw.hex().upper() == "370443484EEE"
    assert session.read_item("nationality", keys) == "CHN"
    assert session.read_file("DF01EF0A", keys).keys() == {"nationality", "last_year_wages", "wages_update_date"}
    with pytest.raises(CodecError, match="rewritten first"):
        session.write_item("party_joining_date", "20200701", keys)
    session.write_item("political_affiliation", "01", keys)
    session.write_item("party_joining_date", "20200701", keys)
    assert session.read_item("party_joining_date", keys) == "20200701"
    with pytest.raises(CodecError, match="does not fit"):
        session.write_item("employment_registration", "10010", keys)
    with pytest.raises(KeyError):
        session.write_item("name_extension", "x", keys)


def test_both_date_encodings_are_read() -> None:
    state = stored("adult-2.0")
    records = next(ef for ef in state.dfs[0].efs if ef.fid == 0xEF05).records
    records[4], records[5] = b"\x05\x042012", b"\x06\x04\x20\x35\x03\x01"
    basic = opened(state).read_basic()
    assert (basic.issue_date, basic.expiry_date) == ("2012", "20350301")


def test_short_files_and_longer_logs_of_the_field() -> None:
    """A province may keep more cyclic records (V2.0 §6), an account-only log shorter ones, a chip a smaller photo."""
    state = stored("adult-2.0")
    df04 = next(df for df in state.dfs if df.fid == 0xDF04)
    log = next(ef for ef in df04.efs if ef.fid == 0xEF08)
    log.record_length, log.records = 0x14, [bytes.fromhex("00013299010000000120250316101500") + bytes(4)] * 40
    photo = next(ef for ef in state.dfs[0].efs if ef.fid == 0xEF08)
    photo.size, photo.content = 0x200, b"\xff" * 0x200
    session = opened(state)
    records = session.read_file("DF04EF08", key_service())
    assert len(records) == 40
    assert "self_paid_amount" not in records[0]
    assert session.read_item("photo", key_service()) == "FF" * 0x200


def test_malformed_content_names_its_file() -> None:
    state = stored("adult-2.0")
    df02 = next(df for df in state.dfs if df.fid == 0xDF02)
    next(ef for ef in df02.efs if ef.fid == 0xEF07).records[0] = b"\xff" * 7 + b"\xaa" * 78
    next(ef for ef in state.dfs[0].efs if ef.fid == 1).records[0] = b"\x61\x50\x4f"
    session = opened(state)
    content = session.read_all(key_service())
    assert content.refused == {"DF02EF07": "CARD_DATA_INVALID", "SSSEDIR": "CARD_DATA_INVALID"}
    with pytest.raises(CardDataError, match="DF02EF07"):
        session.read_file("DF02EF07", key_service())


@pytest.mark.parametrize(
    ("item", "value"),
    [
        ("card_number", "A10000024"),
        ("social_security_number", "110101"),
        ("specification_version", "9.99"),
        ("card_identification_code", "110000D15600000502000001FFFFFFFF"),
    ],
)
def test_what_identifies_a_card_is_not_rewritten_at_will(item: str, value: str) -> None:
    card = SimCard(build_card(load("adult-2.0"), roots()))
    session = SocialSecurityCard(card, card.power_on())
    session.open()
    before = session.read_item(item, key_service())
    with pytest.raises(ValueError, match=r"."):
        session.write_item(item, value, key_service())
    assert session.read_item(item, key_service()) == before
