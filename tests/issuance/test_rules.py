"""Rule packs: strict, one per province, cities fall back to theirs."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from issuance.clock import add_years, age_on
from issuance.rules import RuleError, RulePackInvalidError, load_rules

SHIPPED = Path(__file__).parents[2] / "issuance" / "rules"


def test_shipped_packs() -> None:
    book = load_rules()
    assert book.regions == ("110000", "120000", "130000")
    assert book.pack("130102") is book.pack("130000")
    assert not set(book.pack("110000").number_prefixes) & set(book.pack("120000").number_prefixes)
    with pytest.raises(RuleError):
        book.pack("440000")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("validity_years = 10", "validity_years = 0", "validity_years"),
        ("validity_years = 10", "validity_years = true", "validity_years"),
        ("validity_years = 10", 'validity_years = "10"', "validity_years"),
        ("validity_years = 10", "", "validity_years is missing"),
        ("validity_years = 10", "validity_years = 10\nvalidity_year = 10", "validity_year is unknown"),
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


def test_no_packs(tmp_path: Path) -> None:
    with pytest.raises(RulePackInvalidError):
        load_rules(tmp_path)


def test_dates() -> None:
    assert add_years(date(2024, 2, 29), 10) == date(2034, 2, 28)
    assert age_on(date(2010, 6, 2), date(2026, 6, 1)) == 15
    assert age_on(date(2010, 6, 1), date(2026, 6, 1)) == 16
