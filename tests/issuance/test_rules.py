"""Rule packs: strict, one per province, cities fall back to theirs."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from issuance.clock import add_years, age_on
from issuance.rules import Fees, PhotoProfile, RuleError, RulePackInvalidError, Rules, load_pack, load_rules
from issuance.rules.schema import pack_schema

SHIPPED = Path(__file__).parents[2] / "issuance" / "rules"


def test_shipped_packs() -> None:
    book = load_rules()
    assert book.regions == ("110000", "120000", "130000")
    assert book.pack("130102") is book.pack("130000")
    assert len({rules_of(region) for region in book.regions}) == 3, "the provinces differ"
    assert not set(book.pack("110000").number_prefixes) & set(book.pack("120000").number_prefixes)
    with pytest.raises(RuleError):
        book.pack("440000")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("validity_years = 10", "validity_years = 0", "validity_years"),
        ("validity_years = 10", "validity_years = true", "validity_years"),
        ("validity_years = 10", 'validity_years = "10"', "validity_years"),
        ("validity_years = 10", "", r"validity_years .*is missing"),
        ("validity_years = 10", "validity_years = 10\nvalidity_year = 10", r"validity_year .*is unknown"),
        ("min_kb = 14", "min_kb = 99", r"photo .*lower bound"),
        ("effective_from = 2020-01-01", 'effective_from = "2020-01-01"', "effective_from"),
        ("[[version]]", "[versions]", "version"),
        ("width = 358", "width = 3", r"110000\.toml:[0-9]+: version\.0\.photo\.width"),
        ('region = "110000"', 'region = "120000"', "region"),
        ("9156000002110000", "9156000002120000", "institution"),
        ('"A"', '"a"', "number_prefixes"),
        ('["A", "B", "C", "D"]', "[]", "number_prefixes"),
        ('["A", "B", "C", "D"]', "[1]", "number_prefixes"),
        ('name = "北京市"', 'name = " "', "name"),
        ("minor_age = 16", "minor_age = 16.5", "minor_age"),
        ("minor_age = 16", "minor_age =", "110000.toml"),
    ],
)
def test_wrong_pack_names_file_and_field(tmp_path: Path, old: str, new: str, word: str) -> None:
    text = (SHIPPED / "110000.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "110000.toml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(RulePackInvalidError, match=word) as caught:
        load_rules(tmp_path)
    assert "110000.toml" in str(caught.value)


def rules_of(region: str) -> str:
    return load_rules().pack(region).on(date(2026, 1, 1)).model_dump_json(exclude={"effective_from"})


def changed(tmp_path: Path, *lines: str) -> Path:
    text = (SHIPPED / "110000.toml").read_text(encoding="utf-8")
    file = tmp_path / "110000.toml"
    file.write_text("\n".join((text, *lines)), encoding="utf-8")
    return file


def test_a_version_holds_from_its_day_and_names_only_what_changes(tmp_path: Path) -> None:
    changed(
        tmp_path,
        "[[version]]",
        "effective_from = 2027-01-01",
        "temporary_loss_days = 30",
        "[version.photo]",
        "max_kb = 99",
    )
    pack = load_rules(tmp_path).pack("110000")
    old, new = pack.on(date(2026, 12, 31)), pack.on(date(2027, 1, 1))
    assert (old.temporary_loss_days, old.photo.max_kb) == (7, 40)
    assert (new.temporary_loss_days, new.photo.max_kb) == (30, 99)
    assert (new.photo.min_kb, new.fees_fen) == (old.photo.min_kb, old.fees_fen)
    with pytest.raises(RuleError, match="begin on 2020-01-01"):
        pack.on(date(2019, 12, 31))


def test_every_error_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    file = changed(tmp_path, "[[version]]", "effective_from = 2019-01-01", "[[version]]", "pin_tries = 6")
    lines = file.read_text(encoding="utf-8").replace("validity_years = 10", "validity_years = 0").splitlines()
    file.write_text("\n".join(lines), encoding="utf-8")
    pack, errors = load_pack(file)
    assert pack is None
    told = [(error.location, error.reason) for error in errors]
    assert told == [("version.0.validity_years", "greater_than_equal"), ("version.2.effective_from", "missing")]
    for error in errors:
        assert error.line is not None
        assert lines[error.line - 1].split(" ")[0] in (error.location.rpartition(".")[2], "[[version]]")
        words = error.words
        assert words.text_zh
        assert words.remedy_zh
        assert words.remedy_en in str(error)


def test_versions_stand_in_the_order_of_their_days(tmp_path: Path) -> None:
    _, errors = load_pack(changed(tmp_path, "[[version]]", "effective_from = 2020-01-01"))
    assert [(error.location, error.reason) for error in errors] == [("version.1.effective_from", "not_later")]


def test_two_regions_never_make_the_same_number(tmp_path: Path) -> None:
    for region in ("110000", "120000"):
        text = (SHIPPED / f"{region}.toml").read_text(encoding="utf-8")
        (tmp_path / f"{region}.toml").write_text(text.replace('"E"', '"A"'), encoding="utf-8")
    with pytest.raises(RulePackInvalidError, match="number_prefixes"):
        load_rules(tmp_path)


@settings(max_examples=60)
@given(st.binary(max_size=200), st.integers(min_value=0, max_value=3000))
def test_any_bytes_are_a_pack_or_told_errors(tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int) -> None:
    shipped = (SHIPPED / "130000.toml").read_bytes()
    file = tmp_path_factory.mktemp("packs") / "130000.toml"
    file.write_bytes(shipped[:at] + noise + shipped[at:])
    pack, errors = load_pack(file)
    assert (pack is None) == bool(errors)
    assert all(str(error).startswith("130000.toml") for error in errors)


def test_published_schema_is_the_one_in_use() -> None:
    published = json.loads((SHIPPED.parents[1] / "docs" / "rule-pack.schema.json").read_text(encoding="utf-8"))
    assert published == pack_schema()
    validator = Draft202012Validator(published)
    for file in SHIPPED.glob("*.toml"):
        data = json.loads(json.dumps(tomllib.loads(file.read_text(encoding="utf-8")), default=str))
        assert validator.is_valid(data), file.name
        data["version"][0].pop("pin_tries")
        assert not validator.is_valid(data)


def test_the_guide_names_every_rule() -> None:
    guide = (SHIPPED.parents[1] / "docs" / "rule-packs.md").read_text(encoding="utf-8")
    names = [*Rules.model_fields, *PhotoProfile.model_fields, *Fees.model_fields]
    assert [name for name in names if name not in guide] == []


def test_no_packs(tmp_path: Path) -> None:
    with pytest.raises(RulePackInvalidError):
        load_rules(tmp_path)


def test_dates() -> None:
    assert add_years(date(2024, 2, 29), 10) == date(2034, 2, 28)
    assert age_on(date(2010, 6, 2), date(2026, 6, 1)) == 15
    assert age_on(date(2010, 6, 1), date(2026, 6, 1)) == 16
