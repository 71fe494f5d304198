"""Check characters, identification codes, reset information, masks."""

import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.identity import (
    IdentificationCode,
    IdentityError,
    SocialSecurityNumber,
    UnknownResetError,
    card_factor,
    card_number,
    card_number_check,
    citizen_number,
    institution_number,
    mask_card_number,
    mask_id,
    mask_name,
    reset_information,
    validate_card_number,
    validate_organisation_code,
    validate_region,
    validate_social_security_number,
    validate_terminal_number,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "vectors_card_crypto.json").read_text("utf-8"))
META = VECTORS["meta"]


def rows(kind: str) -> list[dict[str, str]]:
    found = [row for row in VECTORS["vectors"] if row["kind"] == kind]
    assert found
    return found


def test_check_characters_of_the_vectors() -> None:
    for row in rows("card_number_check"):
        assert card_number_check(row["body"]) == row["check"]
        assert validate_card_number(card_number(row["body"])) == row["body"] + row["check"]
    for row in rows("citizen_id_check"):
        assert citizen_number(row["body"]) == row["body"] + row["check"]
    for row in rows("org_code_check"):
        assert validate_organisation_code(row["body"] + row["check"])


BODIES = st.from_regex(r"\A[A-Z][0-9A-Z]{7}\Z")


@settings(max_examples=100)
@given(BODIES, st.integers(0, 7), st.sampled_from("0123456789"))
def test_one_wrong_digit_is_found(body: str, position: int, digit: str) -> None:
    number = card_number(body)
    changed = number[:position] + digit + number[position + 1 :]
    if not number[position].isdigit() or digit == number[position]:
        return
    with pytest.raises(IdentityError):
        validate_card_number(changed)


@settings(max_examples=50)
@given(st.text(max_size=12))
def test_anything_else_is_refused(text: str) -> None:
    for validate in (validate_card_number, validate_organisation_code, validate_social_security_number):
        try:
            accepted = validate(text)
        except IdentityError:
            continue
        assert accepted.isascii()


def test_printed_forms_are_accepted_and_wrong_ones_refused() -> None:
    assert validate_card_number(" d2143569-x ") == "D2143569X"
    for wrong in ("D21435690", "02143569X", "D2143569", "D2143569XX", "Ｄ2143569X"):
        with pytest.raises(IdentityError):
            validate_card_number(wrong)


def test_social_security_numbers() -> None:
    number = SocialSecurityNumber.parse("990100199001010012")
    assert (number.kind, number.region, number.birth_date, number.sex) == ("citizen", "990100", date(1990, 1, 1), "1")
    assert SocialSecurityNumber.parse("990100199001010020").sex == "2"
    with_x = next(n for n in (citizen_number(f"99010019900101{i:03d}") for i in range(100)) if n.endswith("X"))
    assert validate_social_security_number(with_x.lower()) == with_x
    assigned = SocialSecurityNumber.parse("FRA000000012AB3456")
    assert (assigned.kind, assigned.birth_date) == ("assigned", None)
    no_such_day = citizen_number("99010019900230001")
    for wrong in ("990100199001010011", no_such_day, "99010019900101001", "FR1000000012AB3456", ""):
        with pytest.raises(IdentityError) as caught:
            SocialSecurityNumber.parse(wrong)
        assert caught.value.failure == "INPUT_INVALID"
        assert not wrong or wrong not in str(caught.value)


def test_regions_terminals_institutions() -> None:
    assert validate_region("110000") == "110000"
    assert validate_terminal_number(META["terminal_number"])
    assert institution_number("990100", "990100", 1) == "915600000299010099010001"
    for wrong in ("11000", "1100000", "011000", "11000a", "１１００００"):
        with pytest.raises(IdentityError):
            validate_region(wrong)
    with pytest.raises(IdentityError):
        institution_number("990100", "990100", 100)


def test_identification_code() -> None:
    code = IdentificationCode("990100", bytes.fromhex("00000001"))
    assert str(code) == META["card_identification_code"] == bytes(code).hex().upper()
    assert IdentificationCode.from_hex(str(code)) == code
    for wrong in ("", "00" * 16, str(code)[:-2], "A" + str(code)[1:], "zz" * 16):
        with pytest.raises(IdentityError):
            IdentificationCode.from_hex(wrong)
    with pytest.raises(IdentityError):
        IdentificationCode("990100", b"1")


def test_reset_information_and_factor() -> None:
    reset = reset_information(bytes.fromhex(META["atr"]))
    assert reset.hex().upper() == META["historical_bytes"]
    assert card_factor(reset).hex().upper() == META["L3"]
    contactless = bytes.fromhex("3B8D8001") + reset
    checked = contactless + bytes([_xor(contactless[1:])])
    assert reset_information(checked) == reset
    with_two_more = bytes.fromhex("3B6F0000") + b"\x80\x31" + reset
    assert reset_information(with_two_more) == reset
    for wrong in (b"", bytes.fromhex("3B00"), bytes.fromhex(META["atr"])[:-1], bytes.fromhex("3B6C0000") + reset[1:]):
        with pytest.raises(UnknownResetError) as caught:
            reset_information(wrong)
        assert caught.value.failure == "NOT_SOCIAL_SECURITY_CARD"
    with pytest.raises(IdentityError):
        card_factor(reset[1:])


def _xor(raw: bytes) -> int:
    result = 0
    for byte in raw:
        result ^= byte
    return result


def test_masks() -> None:
    assert [mask_name(name) for name in ("", "甲", "测试", "测试甲", "欧阳测试")] == ["", "*", "测*", "测*甲", "欧**试"]
    assert mask_name("测试甲", is_public=True) == "测**"
    assert mask_id("99010019900101042X") == "**************042X"
    assert mask_id("99010019900101042X", first=3) == "990***********042X"
    assert mask_card_number("A00000011") == "A0000****"
    assert mask_id("1234") == "****"
    assert mask_card_number("A00") == "***"
