"""`onecard catalog block …` end to end, and the short form of its measurement."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench import block_list
from onecard_cli.catalog import catalog_app

LOST = "110000D156000005000000A1FFFFFFFF"
OTHER = "120000D156000005000000A1FFFFFFFF"


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(catalog_app, ["block", *map(str, arguments)])


def test_from_a_listing_to_a_decision(tmp_path: Path) -> None:
    listing, folder = tmp_path / "blocked.csv", tmp_path / "edition"
    listing.write_text(f"card,{LOST}\n", encoding="utf-8")
    built = json.loads(run("build", listing, "--into", folder, "--json").stdout)
    assert (built["entries"], set(built["bytes"])) == (1, {"filter.bl", "list.bl"})
    refused = run("look", folder, "--card", LOST)
    assert (refused.exit_code, "已挂失或注销" in refused.stdout) == (1, True)

    listing.write_text(f"ecard,{OTHER}\n", encoding="utf-8")
    assert "1 张 / entries，减 / removed 1" in run("delta", listing, "--into", folder).stdout
    said = json.loads(run("look", folder, "--card", LOST, "--offline", "--json").stdout)
    assert (said["verdict"], said["action"], said["freshness"]) == ("clear", "accept", "fresh")
    assert said["edition"] > built["edition"]
    assert run("look", folder, "--ecard", OTHER, "--profile", "counter").exit_code == 1
    assert "1 张 / cards" in run("look", folder).stdout


def test_what_cannot_be_is_named(tmp_path: Path) -> None:
    listing, folder = tmp_path / "blocked.csv", tmp_path / "edition"
    assert "INPUT_INVALID" in run("build", listing, "--into", folder).stderr
    listing.write_text(f"card,{LOST}\n", encoding="utf-8")
    assert "BLOCK_LIST_INVALID" in run("delta", listing, "--into", folder).stderr
    assert "BLOCK_LIST_INVALID" in run("look", folder).stderr
    run("build", listing, "--into", folder)
    assert "INPUT_INVALID" in run("look", folder, "--card", "1").stderr
    assert "INPUT_INVALID" in run("look", folder, "--profile", "gate").stderr


def test_the_measurement_checks_every_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def here(work: Callable[..., Any], *arguments: object) -> Any:
        return work(*arguments)

    monkeypatch.setattr(block_list, "_apart", here)
    monkeypatch.setattr(block_list, "CALLS", 300)
    monkeypatch.setattr(block_list, "GOOD", 300)
    figures = block_list.measure(entries=3000, added=20, released=10)
    assert figures.filter_bytes / figures.entries <= 1.64  # the head counts at this size
    assert set(figures.disk_us) == set(figures.held_us) == {"clear", "blocked", "added", "released"}
    assert figures.tables()
