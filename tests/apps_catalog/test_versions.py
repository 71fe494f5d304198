"""From draft to joint release and back again, on a catalog of one item."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from apps_catalog import Carrier, CatalogError, load
from apps_catalog.catalog import DATA
from apps_catalog.diff import Kind, diff
from apps_catalog.version_rules import EffectiveDayError
from apps_catalog.versions import Stage, VersionError, VersionStore
from tests.apps_catalog.conftest import ITEM

DAY = date(2025, 3, 1)
LATER = DAY + timedelta(days=30)
REGIONS = ("110000", "120000", "130000")
HEAD = (DATA / "catalog.toml").read_text(encoding="utf-8")
FIRST = ITEM
SECOND = ITEM.replace('["contact", "qr"]', '["contact"]').replace(
    "version = 1", 'version = 2\nchange = { zh = "停用扫码", en = "No more codes" }'
)

Write = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "store")


@pytest.fixture
def source(write: Write) -> Callable[[str, str], Path]:
    def directory(number: str, items: str) -> Path:
        return write(head=re.sub(r'version = ".*"', f'version = "{number}"', HEAD, count=1), items=items)

    return directory


def publish(store: VersionStore, number: str, effective: date = DAY) -> None:
    for region in REGIONS:
        store.review(number, region, accepts=True, by="reviewer", note="", on=DAY)
    store.release(number, effective=effective, on=DAY)


def test_the_way_of_a_version(store: VersionStore, source: Callable[[str, str], Path]) -> None:
    store.draft(source("2025.1.1", FIRST), note="first", on=DAY)
    assert store.get("2025.1.1").stage(REGIONS) is Stage.DRAFT
    assert store.in_force(DAY) is None
    store.review("2025.1.1", "110000", accepts=False, by="a", note="no", on=DAY)
    for region in REGIONS[1:]:
        store.review("2025.1.1", region, accepts=True, by="b", note="", on=DAY)
    assert store.get("2025.1.1").stage(REGIONS) is Stage.REVIEW
    with pytest.raises(VersionError, match="yes of 110000"):
        store.release("2025.1.1", effective=DAY, on=DAY)
    assert store.review("2025.1.1", "110000", accepts=True, by="a", note="", on=DAY).stage(REGIONS) is Stage.ACCEPTED
    store.release("2025.1.1", effective=DAY, on=DAY)

    store.draft(source("2025.1.2", SECOND), note="second", on=DAY)
    publish(store, "2025.1.2", effective=LATER)
    assert [store.in_force(day).number for day in (DAY, LATER - timedelta(1), LATER)] == [  # type: ignore[union-attr]
        "2025.1.1",
        "2025.1.1",
        "2025.1.2",
    ]
    again = store.rollback("2025.2.1", "2025.1.1", note="back", on=DAY)
    assert (again.again, again.stage(REGIONS)) == ("2025.1.1", Stage.DRAFT)
    publish(store, "2025.2.1", effective=LATER)
    assert store.in_force(LATER) == store.get("2025.2.1")
    assert diff(store.open("2025.1.1"), store.open("2025.2.1")) == []
    assert store.open("2025.2.1").published == DAY
    assert [version.number for version in store.versions()] == ["2025.1.1", "2025.1.2", "2025.2.1"]


def test_steps_out_of_order_are_refused(store: VersionStore, source: Callable[[str, str], Path]) -> None:
    store.draft(source("2025.1.2", FIRST), note="", on=DAY)
    for number in ("2025.1.1", "2025.1.2"):
        with pytest.raises(VersionError, match="does not come after"):
            store.draft(source(number, FIRST), note="", on=DAY)
    with pytest.raises(VersionError, match="never released"):
        store.rollback("2025.1.3", "2025.1.2", note="", on=DAY)
    with pytest.raises(VersionError, match="no region"):
        store.review("2025.1.2", "310000", accepts=True, by="", note="", on=DAY)
    with pytest.raises(VersionError, match="one line"):
        store.review("2025.1.2", "110000", accepts=True, by="a\nb", note="", on=DAY)
    with pytest.raises(EffectiveDayError, match="past"):
        publish(store, "2025.1.2", effective=DAY - timedelta(1))
    with pytest.raises(EffectiveDayError, match="366 days away"):
        store.release("2025.1.2", effective=DAY + timedelta(367), on=DAY)
    store.release("2025.1.2", effective=LATER, on=DAY)
    for step in (
        lambda: store.review("2025.1.2", "110000", accepts=False, by="", note="", on=DAY),
        lambda: store.release("2025.1.2", effective=LATER, on=DAY),
        lambda: store.rollback('1"\nx = "', "2025.1.2", note="", on=DAY),
    ):
        with pytest.raises(VersionError) as caught:
            step()
        assert caught.value.failure == "CONFLICT"
    for number in ("2025.1.9", "../2025.1.2"):
        with pytest.raises(VersionError) as caught:
            store.get(number)
        assert caught.value.failure == "NOT_FOUND"
    with pytest.raises(VersionError, match=r"did not rise: joint-culture-loan"):
        store.draft(source("2025.1.3", FIRST.replace('"qr"]', '"contactless"]')), note="", on=DAY)
    store.draft(source("2025.1.3", SECOND), note="", on=DAY)
    with pytest.raises(VersionError, match="nothing may take effect before"):
        publish(store, "2025.1.3", effective=DAY)


def test_a_catalog_with_a_defect_is_no_draft(store: VersionStore, source: Callable[[str, str], Path]) -> None:
    defect = FIRST + 'rule = { card_states = ["cancelled"] }\n'
    with pytest.raises(CatalogError, match="cancelled"):
        store.draft(source("2025.1.1", defect), note="", on=DAY)
    with pytest.raises(CatalogError):
        store.draft(source("2025.1.1", "x"), note="", on=DAY)
    assert store.versions() == []


@pytest.mark.parametrize("damage", ["changed", "added", "removed", "record"])
def test_what_was_drafted_cannot_change(
    store: VersionStore, source: Callable[[str, str], Path], tmp_path: Path, damage: str
) -> None:
    store.draft(source("2025.1.1", FIRST), note="", on=DAY)
    folder = tmp_path / "store" / "2025.1.1"
    if damage == "changed":
        (folder / "files" / "items.toml").write_text(FIRST + "\n", encoding="utf-8")
    elif damage == "added":
        (folder / "files" / "more.toml").write_text(FIRST, encoding="utf-8")
    elif damage == "removed":
        (folder / "files" / "items.toml").unlink()
    else:
        (folder / "state.json").write_text(json.dumps({"reviews": 3}), encoding="utf-8")
    with pytest.raises(CatalogError, match=r"2025\.1\.1/"):
        store.open("2025.1.1")
    with pytest.raises(CatalogError):
        publish(store, "2025.1.1")


def test_differences_in_words(write: Write) -> None:
    old = load(write(items=FIRST, more=FIRST.replace("culture-loan", "culture-gone").replace("借书", "旧项")))
    new = load(
        write(
            items=SECOND.replace('"120000"]', '"130000"]').replace("2025-12-31", "2026-12-31")
            + "rule = { age_from = 60 }\n",
            more=FIRST.replace("culture-loan", "culture-new").replace("借书", "新项"),
        )
    )
    gone, changed, come = diff(old, new)
    assert (gone.kind, gone.text.zh) == (Kind.REMOVED, "不再提供：旧项")
    assert (come.kind, come.item.id) == (Kind.ADDED, "joint-culture-new")
    assert come.text.zh.startswith("新增：新项。北京市、石家庄市；插卡、电子社保卡二维码；2025年1月1日起可用。")
    assert changed.text.zh == "有变化：借书（停用扫码）"
    assert {field.field: field.text.en for field in changed.fields} == {
        "holders": "Whose cards: now also Hebei; no longer Tianjin",
        "carriers": "Carriers: no longer Electronic card QR code",
        "effective_to": 'Last day: was "2025-12-31", is now "2026-12-31"',
        "rule": "Conditions: now also age 60 or more",
    }
    document = changed.to_json()
    assert document["fields"][1]["old"] == [Carrier.CONTACT.value, Carrier.QR.value]
    assert json.loads(json.dumps(document)) == document


def test_every_field_has_words(write: Write) -> None:
    """Each optional field, added and taken away again, becomes a sentence."""
    more = """\
generations = ["3.0"]
accessibility = { zh = "坡道", en = "Ramp" }
rule = { age_to = 15, whole = true }
places = [{ area = "110000", name = { zh = "馆", en = "Hall" }, closed = 2027-01-01 }]
guide = [{ zh = "先登记", en = "Register" }]
materials = [{ zh = "证件", en = "Document" }]
equipment = ["qr_scanner"]
returns = { data = ["name"], basis = "provisions-2024" }
differs = { zh = "另有规定", en = "Other rules" }
"""
    plain, full = load(write(items=FIRST)), load(write(items=FIRST + more))
    for old, new in ((plain, full), (full, plain)):
        (change,) = diff(old, new)
        assert len(change.fields) == 9
        assert all(field.text.zh and "None" not in field.text.en for field in change.fields)
