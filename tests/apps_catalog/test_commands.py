"""`onecard catalog …` end to end, on the shipped catalog and on one of one item."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from apps_catalog.catalog import today
from onecard_cli.catalog import catalog_app
from tests.apps_catalog.conftest import ITEM

Write = Callable[..., Path]


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(catalog_app, list(map(str, arguments)))


def test_what_says_why() -> None:
    question = ("what", "--from", "130000", "--in", "110000", "--on", "2026-12-01", "--carrier", "qr")
    said = run(*question, "--ecard-level", "2", "--age", "70", "--state", "normal").stdout
    assert "✓ 人社系统扫码登录" in said
    assert "    + 不限发卡地 / Cards of every place are honoured" in said
    assert "北京公园游览年票" not in said
    assert "    - 不能这样用，只能用：插卡、刷卡（非接触）" in run(*question, "--all").stdout
    document = json.loads(run(*question, "--json", "--offline", "--category", "student", "--opened", "bank").stdout)
    assert {answer["outcome"] for answer in document["answers"]} == {"no", "depends"}
    refused = run(*question, "--state", "stolen")
    assert (refused.exit_code, "INPUT_INVALID" in refused.output) == (1, True)


def test_lint_fails_on_a_defect(write: Write) -> None:
    assert run("lint").stdout.startswith("✓ 132")
    defect = write(items=ITEM + 'rule = { card_states = ["cancelled"] }\n')
    said = run("lint", defect, "--on", "2025-06-01")
    assert (said.exit_code, "only cancelled cards" in said.stdout) == (1, True)
    (finding,) = json.loads(run("lint", defect, "--on", "2025-06-01", "--json").stdout)["findings"]
    assert finding["defect"] == "unreachable"


def test_a_version_goes_its_way(write: Write, tmp_path: Path) -> None:
    store = ("--store", tmp_path / "store")
    source = write(items=ITEM)
    number = json.loads(run("draft", source, *store, "--note", "first", "--json").stdout)["version"]
    assert run("review", number, "--region", "110000", "--by", "a", "--refuse", *store).exit_code == 0
    refused = run("release", number, *store)
    assert (refused.exit_code, "CONFLICT" in refused.output) == (1, True)
    for region in ("110000", "120000", "130000"):
        run("review", number, "--region", region, "--by", "a", *store)
    later = (today() + timedelta(30)).isoformat()
    said = json.loads(run("release", number, "--effective", later, *store, "--json").stdout)
    assert (said["stage"], said["waits_for"], said["effective"]) == ("released", [], later)
    assert "waits for 110000" in run("rollback", number, "--as", "2099.1.1", *store, "--note", "again").stdout
    assert f"→ {number}" in run("versions", "--on", later, *store).stdout
    assert json.loads(run("versions", *store, "--json").stdout)["in_force"] is None
    (source / "items.toml").write_text(ITEM.replace('["contact", "qr"]', '["qr"]'), encoding="utf-8")
    assert "用卡方式：取消插卡" in run("diff", number, source, *store).stdout
    (change,) = json.loads(run("diff", number, source, *store, "--json").stdout)["changes"]
    assert change["fields"][0]["new"] == ["qr"]
    assert run("diff", source, source).stdout.endswith("0 项变化 / changes\n")


def test_an_import_reports_line_by_line(write: Write, tmp_path: Path) -> None:
    into = write(items=ITEM)
    (tmp_path / "lists").mkdir()
    table = tmp_path / "lists" / "new.csv"
    table.write_text("id,name_zh\njoint-culture-visit,参观\n", encoding="utf-8")
    said = run("import", table, "--into", into)
    assert said.exit_code == 1
    assert "✗ 行 / line 2，事项名称（英文）: joint-culture-visit is missing" in said.stdout
    defaults = ITEM.replace("[[item]]\n", "[defaults]\n").replace('id = "joint-culture-loan"\n', "")
    (tmp_path / "lists" / "shared.toml").write_text(defaults, encoding="utf-8")
    table.write_text("id,version\njoint-culture-visit,1\n", encoding="utf-8")
    said = run("import", table, "--into", into, "--defaults", tmp_path / "lists" / "shared.toml", "--json")
    assert json.loads(said.stdout)["written"] == "new.toml"


def test_rules_of_gates_are_looked_at_before_they_are_signed(tmp_path: Path) -> None:
    rules = Path(__file__).parents[2] / "docs" / "transit-rules"
    gate = rules / "gates" / "metro-exit.toml"
    said = run("rules", rules / "published", "--gate", gate)
    assert (said.exit_code, said.stdout.splitlines()) == (
        0,
        [
            "demo-metro",
            "  2026-01-01 … 2026-12-31  2026.1",
            "  2027-01-01 … 2028-01-31  2027.1",
            "✓ metro-exit.toml: metro_exit 2:17 · 2026.1, 2027.1",
        ],
    )
    shutil.copytree(rules / "published", tmp_path / "rules")
    (empty := tmp_path / "empty").mkdir()
    first = tmp_path / "rules" / "demo-metro.2026-01-01.toml"
    first.write_text(first.read_text("utf-8").replace("valid_until = 2027-01-31", "valid_until = 2026-11-30"), "utf-8")
    said = run("rules", tmp_path / "rules", "--json")
    gap = {"from": "2026-12-01", "until": "2026-12-31", "version": None}
    assert (said.exit_code, json.loads(said.stdout)["networks"]["demo-metro"][1]) == (1, gap)
    for folder, told in ((tmp_path / "nowhere", "FOLDER"), (empty, "no rules")):
        refused = run("rules", folder)
        assert (refused.exit_code != 0, "INTERNAL" in refused.output, told in refused.output) == (True, False, True)
    other = tmp_path / "bus.toml"
    other.write_text(gate.read_text("utf-8").replace("metro_exit", "bus_flat"), "utf-8")
    refused = run("rules", rules / "published", "--gate", other)
    assert (refused.exit_code, "bus.toml: rules: this mode needs fares.flat_fen" in refused.output) == (
        1,
        True,
    )
