"""The form of an item: every item goes through it unchanged, and nothing that is sent breaks it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps_catalog import load
from apps_catalog.fields import Fault
from apps_catalog.reader import check_item
from issuance.console import catalog_form
from issuance.console.words import words

CATALOG = load()
FIELDS = sorted({name for item in CATALOG.items for name in catalog_form.values_of(item)})
NAMES = st.one_of(
    st.sampled_from(FIELDS),
    st.from_regex(
        r"(places\.[0-9]{1,4}\.(area|name|name\.zh|closed|x)|rule\.\w{0,8}|returns(\.\w{0,5})?)", fullmatch=True
    ),
    st.text(max_size=12),
)


def test_every_item_goes_through_the_form() -> None:
    for item in CATALOG.items:
        values = catalog_form.values_of(item)
        table = catalog_form.table_from(catalog_form.compact(values)) | {"version": item.version}
        made, faults = check_item(table, owner=item.owner, head=CATALOG.head)
        assert faults == [], item.id
        assert made == item


@given(st.dictionaries(NAMES, st.one_of(st.just("true"), st.text(max_size=40)), max_size=40), st.booleans())
@settings(max_examples=80)
def test_whatever_is_sent_is_an_item_or_faults_at_fields_with_words(sent: dict[str, str], is_based: bool) -> None:
    values = (catalog_form.values_of(CATALOG.items[0]) if is_based else {}) | sent
    table = catalog_form.table_from(catalog_form.compact(values)) | {"version": 2}
    item, faults = check_item(table, owner="joint", head=CATALOG.head)
    assert (item is None) == bool(faults)
    if faults:
        error = catalog_form.told(faults)
        assert len(error.fields) == len(faults)
        for field in error.fields:
            assert field.text_zh
            assert field.remedy_zh
            assert not any(value in field.text_zh for value in sent.values() if len(value) > 12), "an echo"


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (Fault("name.en", "x"), "name.en"),
        (Fault("guide", "x"), "guide.zh"),
        (Fault("guide.en", "x", 2), "guide.en"),
        (Fault("places.area", "x", 3), "places.3.area"),
        (Fault("places.name.en", "x", 1), "places.1.name.en"),
        (Fault("places.name", "x", 1), "places.1.name.zh"),
        (Fault("rule.age_to", "x"), "rule.age_to"),
        (Fault("returns.basis", "x"), "returns.basis"),
        (Fault("sources", "x"), "sources"),
    ],
)
def test_a_fault_is_shown_at_its_field(fault: Fault, name: str) -> None:
    assert catalog_form.field_of(fault) == name
    assert f"help_{catalog_form.word_key(name)}" in words("zh")["catalog"]


def test_rows_of_places_close_up() -> None:
    sent = {
        "places.0.name.zh": "",
        "places.4.area": "110000",
        "places.7.area": "120000",
        "places.x.area": "1",
        "a": "b",
    }
    assert catalog_form.compact(sent) == {
        "places.0.area": "110000",
        "places.1.area": "120000",
        "places.x.area": "1",
        "a": "b",
    }


def test_every_field_has_its_words() -> None:
    keys = {
        catalog_form.word_key(catalog_form.field_of(Fault(key, ""))) for key in (*CATALOG.items[0].to_json(), "slug")
    }
    for language in ("zh", "en"):
        known = words(language)["catalog"]  # type: ignore[index]
        assert [key for key in keys - {"owner"} if f"field_{key}" not in known or f"help_{key}" not in known] == []
