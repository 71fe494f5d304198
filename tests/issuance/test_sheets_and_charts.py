"""What leaves the service as a file: no formula in a table, nothing in a chart that a strict policy stops."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ElementTree
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook

from issuance.supervision.charts import CHARTS, ChartName
from issuance.supervision.rules import AlertRulesError, Measure, alert_rules
from issuance.supervision.schemas import Figures, Statistics
from issuance.supervision.sheets import Sheet, to_csv, to_xlsx

EVIL = ['=HYPERLINK("http://x")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1"]


@pytest.mark.parametrize("text", EVIL)
def test_no_cell_becomes_a_formula(text: str) -> None:
    sheet = Sheet("表", ("列",), ((text,), (-5,)))
    rows = list(csv.reader(io.StringIO(to_csv([sheet]).decode("utf-8-sig"), newline="")))
    assert rows[2] == [f"'{text}"]
    assert rows[3] == ["-5"], "a number stays one"
    cell = load_workbook(io.BytesIO(to_xlsx([sheet]))).worksheets[0]["A2"]
    assert cell.data_type == "s"


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
@settings(max_examples=60)
def test_any_text_makes_a_file_that_opens(texts: list[str]) -> None:
    sheet = Sheet("a/b:c*?", ("x",), tuple((text,) for text in texts))
    book = load_workbook(io.BytesIO(to_xlsx([sheet])))
    assert all(cell.data_type in ("s", "n", "inlineStr") for row in book.worksheets[0].rows for cell in row)
    to_csv([sheet]).decode("utf-8-sig")


def test_times_are_those_of_china() -> None:
    sheet = Sheet("t", ("at",), ((datetime(2026, 1, 5, 16, 30, tzinfo=UTC),),))
    assert b"2026-01-06 00:30:00" in to_csv([sheet])


def _figures(key: str, issued: int, seconds: float | None = 600.0) -> Figures:
    return Figures(
        key=key,
        name_zh="云溪区<script>",
        name_en="Yunxi & <style>",
        applied=issued + 1,
        issued=issued,
        refused=0,
        seconds_p50=seconds,
        seconds_p90=None if seconds is None else seconds * 2,
        stuck=None,
        spoiled=issued % 3,
    )


def _table(days: int) -> Statistics:
    first = date(2026, 1, 5)
    rows = [
        _figures((first + timedelta(n)).isoformat(), n * 7 % 11, None if n == 2 else 500.0 * n) for n in range(days)
    ]
    return Statistics(first=first, last=first, by="day", rows=rows, total=_figures("", 1))


@pytest.mark.parametrize("name", list(ChartName))
@pytest.mark.parametrize("days", [0, 1, 14])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_chart_holds_only_what_the_policy_lets_through(name: ChartName, days: int, language: str) -> None:
    drawn = CHARTS[name].draw(_table(days), language).decode()  # type: ignore[arg-type]
    root = ElementTree.fromstring(drawn)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "g", "rect", "path", "circle", "text"}
    names = {attribute for element in root.iter() for attribute in element.attrib}
    assert not {name for name in names if name == "style" or name.startswith("on") or "href" in name}
    assert re.findall(r"https?://[^\"'\s<]*", drawn) == ["http://www.w3.org/2000/svg"]
    assert root.get("role") == "img"
    title, description = root[0], root[1]
    assert (title.tag.rpartition("}")[2], description.tag.rpartition("}")[2]) == ("title", "desc")
    assert title.text
    assert root.get("aria-label")


def test_a_chart_has_the_colours_of_the_kit() -> None:
    drawn = CHARTS[ChartName.APPLICATIONS].draw(_table(14), "zh").decode()
    assert {"#1d3f72", "#96580a"} <= set(re.findall(r'fill="(#[0-9a-f]{6})"', drawn))


def test_the_shipped_alert_rules_use_every_measure() -> None:
    assert {rule.measure for rule in alert_rules().rule} == set(Measure)


@pytest.mark.parametrize(
    "change",
    ["", "above = 1\nbelow = 2", "above = 1\nunknown = 3", 'above = 1\ntext_zh = "{where}"'],
    ids=["no bound", "two bounds", "unknown", "words"],
)
def test_a_wrong_rule_is_refused(tmp_path: object, change: str) -> None:
    from pathlib import Path

    file = Path(str(tmp_path)) / "alerts.toml"
    words = "" if "text_zh" in change else 'text_zh = "x"\n'
    body = f'[[rule]]\nname = "one"\nmeasure = "stuck"\nseverity = "warn"\n{words}{change}\n'
    file.write_text(body + 'text_en = "x"\nremedy_zh = "x"\nremedy_en = "x"\n', encoding="utf-8")
    with pytest.raises(AlertRulesError):
        alert_rules(file)
