"""Lists from outside: CSV and XLSX, headings and words in Chinese, every line or none."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from apps_catalog import Carrier, CatalogError, Category, load
from apps_catalog.importer import headings, import_list
from apps_catalog.tables import MAX_BYTES, MAX_CELL, MAX_ROWS, TableError, read_rows
from tests.apps_catalog.conftest import ITEM

DEFAULTS = ITEM.split("[[item]]")[0] + "[defaults]\n" + ITEM.split("[[item]]")[1].split("\n", 2)[2]
HEADS = ["事项编号", "事项名称", "name_en", "可用地区", "用卡方式", "启用日期", "最低年龄", "人员类别", "依据"]
SOURCE = "人社部发〔2023〕34号所附行动计划"
VISIT = ["joint-culture-visit", "参观", "Visiting", "北京市、120000", "插卡;qr", "2025年1月2日", "60", "残疾人", SOURCE]
LEND = ["joint-culture-lend", "借还", "Lending", "河北省", "刷卡（非接触）", "20250103", "", "", "provisions-2024"]


@pytest.fixture
def into(write: Callable[..., Path]) -> Path:
    directory = write(items=ITEM)
    (directory / "shared").mkdir()
    (directory / "shared" / "national.toml").write_text(DEFAULTS, encoding="utf-8")
    return directory


def lay(into: Path, rows: Sequence[Sequence[Any]], name: str = "List 1.csv", encoding: str = "utf-8-sig") -> Path:
    path = into / "shared" / name
    if name.endswith("xlsx"):
        book = Workbook()
        for row in rows:
            book.worksheets[0].append(row)
        book.save(path)
        return path
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def bring(table: Path, into: Path, **options: Any) -> Any:
    return import_list(table, into, defaults=into / "shared" / "national.toml", **options)


@pytest.mark.parametrize(("name", "encoding"), [("l.csv", "utf-8-sig"), ("l.csv", "gb18030"), ("l.xlsx", "")])
def test_a_list_becomes_items(into: Path, name: str, encoding: str) -> None:
    lend = [*LEND[:5], datetime(2025, 1, 3), *LEND[6:]] if name.endswith("xlsx") else LEND
    report = bring(lay(into, [HEADS, VISIT, [], lend], name, encoding), into)
    assert [(line.number, line.fault) for line in report.lines] == [(2, ""), (4, "")]
    assert report.written == into / "l.toml"
    catalog = load(into)
    visit, lent = catalog.item("joint-culture-visit"), catalog.item("joint-culture-lend")
    assert visit.areas == ("110000", "120000")
    assert visit.carriers == (Carrier.CONTACT, Carrier.QR)
    assert visit.sources == ("national-plan-2023",)
    assert (visit.rule.age_from, visit.rule.categories) == (60, (Category.DISABLED,))
    assert (visit.effective_from, lent.effective_from) == (date(2025, 1, 2), date(2025, 1, 3))
    assert lent.terms == catalog.item("joint-culture-loan").terms


@pytest.mark.parametrize(
    ("column", "value", "heading", "says"),
    [
        (0, "culture", "事项编号", "form"),
        (0, "joint-culture-lend", "事项编号", "earlier"),
        (0, "joint-culture-loan", "事项编号", "earlier"),
        (2, "", "事项名称（英文）", "missing"),
        (2, "参观", "事项名称（英文）", "Chinese"),
        (3, "上海市", "可用地区", "上海市"),
        (4, "nfc", "用卡方式", "contactless"),
        (5, "2025年13月1日", "启用日期", "no day"),
        (6, "六十", "最低年龄", "whole number"),
        (6, "200", "最低年龄", "150"),
        (7, "有钱人", "人员类别", "student"),
    ],
)
def test_one_bad_line_keeps_all_out(into: Path, column: int, value: str, heading: str, says: str) -> None:
    bad = [*VISIT[:column], value, *VISIT[column + 1 :]]
    report = bring(lay(into, [HEADS, LEND, bad]), into)
    assert report.written is None
    assert [item.id for item in load(into).items] == ["joint-culture-loan"]
    fault = report.faults[-1]
    assert (fault.number, fault.column) == (3, heading)
    assert says in fault.fault
    assert fault.to_json()["line"] == 3
    assert fault.remedy


def test_headings_are_understood_as_they_are_told(into: Path) -> None:
    report = bring(lay(into, [headings(), [VISIT[0]]]), into)
    assert (report.faults, report.written) == ((), into / "list-1.toml")


def test_an_import_replaces_the_last_one_only_when_told(into: Path) -> None:
    assert bring(lay(into, [HEADS, VISIT]), into).written == into / "list-1.toml"
    with pytest.raises(TableError, match="already"):
        bring(lay(into, [HEADS, LEND]), into)
    assert bring(lay(into, [HEADS, LEND]), into, replace=True).written
    assert {item.id for item in load(into).items} == {"joint-culture-loan", "joint-culture-lend"}
    with pytest.raises(TableError, match="already"):
        bring(lay(into, [HEADS, LEND], "catalog.csv"), into, replace=True)
    (into / "items.toml").unlink()
    (into / "list-1.toml").unlink()
    with pytest.raises(CatalogError):
        bring(lay(into, [HEADS, LEND]), into)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "no line"),
        ("事项编号,颜色\n1,2\n".encode(), "颜色"),
        ("事项编号,id\n1,2\n".encode(), "twice"),
        ("事项名称\n1\n".encode(), "missing"),
        (b"\xff\xff\xff", "GB 18030"),
        (b'id\n"open', "line"),
        (b"PK\x03\x04 no workbook", "XLSX"),
        (b"x" * (MAX_BYTES + 1), "larger"),
        (b"x" * (MAX_CELL + 1), "cell"),
        (b"\n" * (MAX_ROWS + 1), "lines"),
    ],
)
def test_files_that_are_no_list(into: Path, raw: bytes, says: str) -> None:
    path = into / "shared" / "bad.csv"
    path.write_bytes(raw)
    with pytest.raises(TableError, match=says):
        bring(path, into)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"PK\x03\x04" + tail))
def test_no_bytes_do_more_than_a_table_error(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(raw)
    try:
        rows = read_rows(path)
    except TableError:
        return
    assert all(any(cells) for _, cells in rows)
