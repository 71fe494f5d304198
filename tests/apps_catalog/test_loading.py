"""A bad file is refused whole, and says where."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps_catalog import CatalogError, load
from apps_catalog.catalog import DATA
from apps_catalog.fields import Fault
from apps_catalog.reader import read_head, read_item
from apps_catalog.source import MAX_FILE_BYTES
from tests.apps_catalog.conftest import ITEM

Write = Callable[..., Path]


def test_the_unchanged_item_loads(write: Write) -> None:
    assert len(load(write(items=ITEM)).items) == 1


@pytest.mark.parametrize(
    ("old", "new", "field", "says"),
    [
        ('zh = "借书"', 'zh = "Borrowing"', "name.zh", "Chinese"),
        ('en = "Borrowing"', 'en = "借书"', "name.en", "Chinese"),
        ('en = "Borrowing"', 'en = " Borrowing"', "name.en", "space"),
        ('en = "Borrowing"', 'en = ""', "name.en", "empty"),
        ('en = "Borrowing"', 'en = "Bor\\nrowing"', "name.en", "one line"),
        ('en = "Borrowing"', 'en = "Borrow\u202egnp"', "name.en", "U+202E"),
        ('zh = "借书"', 'zh = "借\u200b书"', "name.zh", "U+200B"),
        ('zh = "借书"', 'zh = "借书\x85条"', "name.zh", "U+0085"),
        ("joint-culture-loan", f"joint-culture-{'x' * 83}", "id", "at most 96"),
        (', en = "Borrowing"', "", "name.en", "missing"),
        ('{ zh = "借书", en = "Borrowing" }', '"借书"', "name", "table"),
        ('en = "Borrowing" }', 'en = "Borrowing", fr = "Emprunt" }', "name.fr", "known"),
        ("version = 1", "version = 1\ncolour = 3", "colour", "known"),
        ("version = 1", "version = true", "version", "whole number"),
        ("version = 1", "version = 0", "version", "whole number"),
        ("version = 1", "", "version", "missing"),
        ("joint-culture-loan", "120000-culture-loan", "id", "joint-culture-"),
        ("joint-culture-loan", "joint-medical-loan", "id", "joint-culture-"),
        ('domain = "culture"', 'domain = "sport"', "domain", "sport"),
        ('["provisions-2024"]', '["hearsay"]', "sources", "hearsay"),
        ('level = "regional"', 'level = "world"', "level", "national, regional"),
        ('level = "regional"', 'level = "province"', "level", "joint"),
        ('"130100"]', '"310000"]', "areas", "310000"),
        ('"130100"]', '"1301"]', "areas", "1301"),
        ('"130100"]', '"110000"]', "areas", "twice"),
        ('areas = ["110000", "130100"]', "areas = []", "areas", "entries"),
        ('areas = ["110000", "130100"]', 'areas = "110000"', "areas", "list"),
        ('"120000"]', '"everyone"]', "holders", "everyone"),
        ('"120000"]', '"000000"]', "holders", "already"),
        ('"qr"]', '"nfc"]', "carriers", "contactless"),
        ('"qr"]', '"bank_account"]', "functions", "benefit"),
        ('["identity"]', '["identity", "benefit"]', "carriers", "bank_account"),
        ('validation = "online"', 'validation = "offline"', "validation", "QR"),
        ('["contact", "qr"]\n', '["contact"]\ngenerations = ["4.0"]\n', "generations", "4.0"),
        ("2025-01-01", '"2025-01-01"', "effective_from", "date"),
        ("2025-01-01", "2025-01-01T00:00:00", "effective_from", "date"),
        ("effective_from = 2025-01-01\n", "", "effective_from", "planned"),
        ('standing = "stated"', 'standing = "planned"', "effective_from", "planned"),
        ("2025-12-31", "2024-12-31", "effective_to", "before"),
        ("version = 1", "version = 2", "change", "what it changed"),
        ("version = 1", "version = 1\nrule = { age_from = 70, age_to = 60 }", "rule.age_to", "nobody"),
        ("version = 1", "version = 1\nrule = { age_from = 151 }", "rule.age_from", "150"),
        ("version = 1", "version = 1\nrule = { ecard_level = 3 }", "rule.ecard_level", "2"),
        ("version = 1", "version = 1\nrule = { whole = 1 }", "rule.whole", "true or false"),
        ("version = 1", 'version = 1\nrule = { categories = ["rich"] }', "rule.categories", "student"),
        ("version = 1", 'version = 1\nrule = { opened = ["transit"] }', "rule.opened", "contactless"),
        ("version = 1", "version = 1\nrule = { colour = 3 }", "rule.colour", "known"),
        ("version = 1", 'version = 1\nequipment = ["contactless_reader"]', "equipment", "contactless"),
        ("version = 1", 'version = 1\nreturns = { data = ["name"], basis = "x" }', "returns.basis", "source"),
        ("version = 1", "version = 1\nguide = []", "guide", "entries"),
        ("version = 1", 'version = 1\nmaterials = [{ zh = "证件" }]', "materials.en", "missing"),
        (
            "version = 1",
            'version = 1\nplaces = [{ area = "120000", name = { zh = "馆", en = "Hall" } }]',
            "places.area",
            "120000",
        ),
    ],
)
def test_faults_name_file_item_and_field(write: Write, old: str, new: str, field: str, says: str) -> None:
    assert old in ITEM
    with pytest.raises(CatalogError) as caught:
        load(write(items=ITEM.replace(old, new, 1)))
    (problem,) = caught.value.problems
    assert (problem.file, problem.field) == ("items.toml", field)
    assert problem.item in ITEM.replace(old, new, 1)
    assert says in problem.text
    assert str(problem) in str(caught.value)
    assert caught.value.failure == "CATALOG_INVALID"


def test_online_matter_needs_a_carrier_that_travels(write: Write) -> None:
    body = ITEM.replace('["contact", "qr"]', '["contact"]').replace('["offline"]', '["online"]')
    with pytest.raises(CatalogError, match="field channels"):
        load(write(items=body))


@pytest.mark.parametrize(
    ("level", "area", "field"),
    [("province", "120000", "areas"), ("province", "110105", "level"), ("city", "110000", "level")],
)
def test_a_province_speaks_only_for_itself(write: Write, level: str, area: str, field: str) -> None:
    body = ITEM.replace("joint", "110000").replace('"regional"', f'"{level}"')
    body = body.replace('["110000", "130100"]', f'["{area}"]')
    with pytest.raises(CatalogError, match=f"field {field}"):
        load(write(items=body))


def test_every_fault_is_reported_at_once(write: Write) -> None:
    bad = ITEM.replace('"culture"', '"sport"')
    with pytest.raises(CatalogError) as caught:
        load(write(one=bad, three="owner = 3", two=bad.replace("joint-culture-loan", "joint-culture-other")))
    assert [problem.file for problem in caught.value.problems] == ["one.toml", "three.toml", "two.toml"]


def test_an_item_id_is_used_once(write: Write) -> None:
    with pytest.raises(CatalogError, match=r"two\.toml:3:1, item joint-culture-loan, field id"):
        load(write(one=ITEM, two=ITEM))


def test_defaults_give_way_to_the_item(write: Write) -> None:
    change = 'change = { zh = "改", en = "Changed" }'
    shared = ITEM.replace("[[item]]", f'[defaults]\n{change}\nversion = 7\nlevel = "national"\n[[item]]').replace(
        "version = 1", ""
    )
    (item,) = load(write(items=shared)).items
    assert (item.version, item.level) == (7, "regional")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (ITEM.replace('"joint"', '"310000"', 1), "owner"),
        (ITEM.replace("[[item]]", '[defaults]\nid = "joint-culture-x"\n[[item]]'), "defaults.id"),
        ('owner = "joint"\nitem = []', "at least one"),
        ('owner = "joint"\nitem = [1]', "list of tables"),
        ('owner = "joint"\nitems = []', "item"),
        ("owner = = 1", "items.toml:1:9: is not TOML"),
        ("x = " + "9" * 5000, "TOML"),
        ("x = " + "[" * 5000, "TOML"),
        (
            "# gigabytes of memory\n y = { a" + ".'b'" * 60_000 + " = 1 }",
            "items.toml:2:8: is not TOML: a key has too many",
        ),
        ("#" * (MAX_FILE_BYTES + 1), "larger"),
    ],
)
def test_bad_files(write: Write, body: str, says: str) -> None:
    with pytest.raises(CatalogError, match=r"^items\.toml") as caught:
        load(write(items=body))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('version = "2026', 'version = "26', "version"),
        ('code = "110000"', 'code = "110100"', "region.code"),
        ('code = "110000"', 'code = "120000"', "region"),
        ('glyph = "人"', 'glyph = "人社"', "domain.glyph"),
        ('confidence = "high"', 'confidence = "certain"', "source.confidence"),
        ("published = ", "printed = ", "published"),
        ("[[region]]", '[[area]]\ncode = "310100"\nname = { zh = "沪", en = "S" }\n[[region]]', "area.code"),
    ],
)
def test_bad_heads(write: Write, old: str, new: str, field: str) -> None:
    head = (DATA / "catalog.toml").read_text(encoding="utf-8")
    assert old in head
    with pytest.raises(CatalogError) as caught:
        load(write(head=head.replace(old, new, 1), items=ITEM))
    assert [(problem.file, problem.field) for problem in caught.value.problems] == [("catalog.toml", field)]


def test_missing_directory_head_items_and_encoding(write: Write, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"catalog\.toml: is missing"):
        load(tmp_path / "nowhere")
    with pytest.raises(CatalogError, match="no item file"):
        load(write())
    (tmp_path / "latin.toml").write_bytes(b'owner = "\xff"')
    with pytest.raises(CatalogError, match=r"latin\.toml:1:10: is not UTF-8"):
        load(tmp_path)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
GOOD = tomllib.loads(ITEM)["item"][0]
HEAD = tomllib.loads((DATA / "catalog.toml").read_text(encoding="utf-8"))


@settings(max_examples=100)
@given(st.sampled_from(sorted(GOOD)), JUNK)
def test_no_value_of_a_field_does_more_than_a_fault(key: str, junk: object) -> None:
    head = read_head(HEAD)
    try:
        item = read_item({**GOOD, key: junk}, owner="joint", head=head)
    except Fault:
        return
    item.to_json()


@settings(max_examples=100)
@given(st.binary(max_size=80) | st.integers(0, len(ITEM.encode()) - 60).map(lambda cut: ITEM.encode()[:cut]))
def test_random_and_truncated_files_are_catalog_errors(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "catalog.toml").write_bytes((DATA / "catalog.toml").read_bytes())
        (directory / "items.toml").write_bytes(raw)
        with pytest.raises(CatalogError):
            load(directory)
