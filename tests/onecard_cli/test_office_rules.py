"""`onecard office rules`, `office photo`: what an operator checks before a centre uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from issuance.rules.schema import pack_schema
from onecard_cli.__main__ import app
from simulators.portrait import Portrait

SHIPPED = Path(__file__).parents[2] / "issuance" / "rules"


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["office", *words])
    return result.exit_code, result.stdout, result.stderr


def test_shipped_packs_pass() -> None:
    status, out, _ = run("rules", "check", *map(str, sorted(SHIPPED.glob("*.toml"))))
    assert status == 0
    assert out.splitlines()[1] == "✓ 120000.toml 天津市 / Tianjin: 2020-01-01, 2024-01-01"


def test_errors_name_file_line_field_rule_and_remedy(tmp_path: Path) -> None:
    text = (SHIPPED / "110000.toml").read_text(encoding="utf-8")
    file = tmp_path / "110000.toml"
    file.write_text(text.replace("pin_tries = 6", "pin_tries = 60").replace("dpi = 350", "dpi = 1"), encoding="utf-8")
    status, _, err = run("rules", "check", str(file))
    assert status == 1
    assert "RULES_INVALID" in err
    line = 1 + next(number for number, words in enumerate(text.splitlines()) if words.startswith("pin_tries"))
    told = next(words for words in err.splitlines() if "pin_tries" in words)
    for part in (
        f"110000.toml:{line}",
        "太大，最多 10",
        "too large: at most 10",
        "改为允许范围内的值",
        "less_than_equal",
    ):
        assert part in told
    assert "version.0.photo.dpi" in err


def test_rules_of_a_day() -> None:
    old = json.loads(run("rules", "show", "120000", "--on", "2023-12-31")[1])
    new = json.loads(run("rules", "show", "120101", "--on", "2024-01-01")[1])
    assert (old["temporary_loss_days"], new["temporary_loss_days"]) == (7, 5)
    assert run("rules", "show", "440000")[0] == 1


def test_schema() -> None:
    assert json.loads(run("rules", "schema")[1]) == pack_schema()


@pytest.mark.parametrize(("change", "status"), [({}, 0), ({"dpi": 72}, 1)])
def test_photos(tmp_path: Path, change: dict[str, int], status: int) -> None:
    file = tmp_path / "me.jpg"
    file.write_bytes(Portrait(**change).jpeg())  # type: ignore[arg-type]
    ended, out, _ = run("photo", str(file), "--region", "110000")
    report = json.loads(out)
    assert (ended, report["ok"], len(report["fields"])) == (status, status == 0, status)
