"""City codes: there and back, every wrong part refused by name, nothing else taken."""

from __future__ import annotations

import copy
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cardlib.spec.city_code as spec_module
from cardlib.city_code import CityCode, CityCodeError
from cardlib.spec.city_code import city_code_spec, read_spec
from cardlib.spec.loader import SpecError

NOW = datetime(2026, 1, 5, 1, 0, tzinfo=UTC)
CODE = CityCode(
    guide="https://code.city.example/q",
    system="BJ01",
    authorization="00000007",
    attribute="P001",
    generated=int(NOW.timestamp()),
    validity_s=60,
    extension="app=park",
    security="c2ln",
)
TEXT = "https://code.city.example/q#BJ0100000007P001176757480000060008app=park004c2ln"
UPPER = st.text("ABCXYZ0189", min_size=4, max_size=4)
PRINTABLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=200)


def test_the_layout_letter_by_letter() -> None:
    assert CODE.encode() == TEXT
    assert CityCode.parse(TEXT) == CODE
    assert (CODE.host, CODE.kind and CODE.kind.name) == ("code.city.example", "person")


@settings(max_examples=100)
@given(
    st.builds(
        replace,
        st.just(CODE),
        system=UPPER,
        attribute=UPPER,
        authorization=st.text("AZ09", min_size=8, max_size=8),
        generated=st.integers(0, 9_999_999_999),
        validity_s=st.integers(1, 86_400),
        extension=PRINTABLE,
        security=st.text("Az09_-", max_size=256),
    )
)
def test_there_and_back(code: CityCode) -> None:
    text = code.encode()
    assert len(text) <= city_code_spec().longest
    assert CityCode.parse(text) == code
    with pytest.raises(CityCodeError):
        CityCode.parse(text + "x")


@settings(max_examples=100)
@given(st.one_of(st.text(max_size=800), PRINTABLE.map(lambda tail: TEXT[:28] + tail)))
def test_any_text_is_a_code_or_a_refusal(text: str) -> None:
    try:
        code = CityCode.parse(text)
    except CityCodeError:
        return
    assert code.encode() == text


def test_every_beginning_is_refused() -> None:
    assert CityCodeError.failure == "CODE_UNKNOWN"
    for length in range(len(TEXT)):
        with pytest.raises(CityCodeError):
            CityCode.parse(TEXT[:length])


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"guide": "http://code.city.example/q"}, "guide"),
        ({"guide": "javascript:alert(1)"}, "guide"),
        ({"guide": "https://user@code.city.example/"}, "guide"),
        ({"guide": "https://[code/"}, "guide"),
        ({"guide": "https://a.example/" + "x" * 128}, "guide"),
        ({"guide": "https://code.city.example/#q"}, "guide"),
        ({"system": "bj01"}, "system"),
        ({"system": "BJ1"}, "system"),
        ({"attribute": "P01"}, "attribute"),
        ({"generated": -1}, "generation"),
        ({"validity_s": 0}, "validity"),
        ({"validity_s": 86_401}, "validity"),
        ({"extension": "x" * 201}, "extension"),
        ({"extension": "a b"}, "extension"),
        ({"extension": "中"}, "extension"),
        ({"security": "x" * 257}, "security"),
        ({"security": "c2ln="}, "security"),
    ],
)
def test_what_does_not_fit_is_neither_made_nor_taken(change: dict[str, object], part: str) -> None:
    with pytest.raises(CityCodeError, match=part):
        replace(CODE, **change).encode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("00060", "00000"),
        TEXT.replace("00060", "99999"),
        TEXT.replace("P001", "p001"),
        TEXT.replace("https", "http"),
        TEXT.replace("#", ""),
        TEXT.replace("008app=park", "009app=park"),
        TEXT.replace("1767574800", "17675748٠0"),
    ],
)
def test_foreign_hands(text: str) -> None:
    with pytest.raises(CityCodeError):
        CityCode.parse(text)


@pytest.mark.parametrize(
    ("seconds", "is_valid"), [(-6, False), (-5, True), (0, True), (59.9, True), (60, False), (3600, False)]
)
def test_time_decides(seconds: float, is_valid: bool) -> None:
    assert CODE.is_valid_at(NOW + timedelta(seconds=seconds)) is is_valid


def test_attributes_the_table_does_not_know() -> None:
    assert replace(CODE, attribute="Z001").kind is None
    assert replace(CODE, attribute="T001").kind != CODE.kind


def test_a_width_is_corrected_in_the_table_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(spec_module.__file__).with_name("data") / "city_code.toml"
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    public = {part["name"] for part in data["part"] if part["source"] == "public"}
    assert public == {"attribute", "extension"}
    wide = copy.deepcopy(data)
    next(part for part in wide["part"] if part["name"] == "system")["length"] = 6
    monkeypatch.setattr("cardlib.city_code.city_code_spec", lambda: read_spec(wide))
    assert CityCode.parse(TEXT.replace("BJ01", "BJ0100")).system == "BJ0100"
    for broken in ({"part": data["part"][1:]}, {"guide_end": "##"}, {"kind": [{"prefix": "P"}]}, {"part": 1}):
        with pytest.raises(SpecError):
            read_spec(data | broken)
