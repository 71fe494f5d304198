"""`onecard issuance publication` on an installation of one's own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from apps_catalog.distribution.client import fetch
from issuance.database import migrate
from onecard_cli.__main__ import app
from onecard_cli.home import Home


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["issuance", "publication", *words])


def test_from_init_to_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, keys = Home.at(tmp_path / "home"), tmp_path / "signing"
    monkeypatch.setenv("ONECARD_HOME", str(home.path))
    monkeypatch.delenv("ONECARD_ISSUANCE_DATABASE_URL", raising=False)
    unready = run("show").output
    assert "[DATABASE_UNAVAILABLE]" in unready
    assert "onecard issuance migrate" in unready
    assert "SELECT" not in unready
    migrate(home.database_url)
    assert "NOT_FOUND" in run("now").output
    assert "还没有发布过" in run("show").output
    assert run("init", "--keys", str(keys)).exit_code == 0
    assert {"root-1", "targets", "110000"} <= {folder.name for folder in keys.iterdir()}
    assert not {"blocklist", "timestamp"} & {folder.name for folder in keys.iterdir()}
    assert "CONFLICT" in run("init", "--keys", str(keys)).output
    home.transit_roots.write_text("{}")
    failed = run("now", "--json")
    assert failed.exit_code == 1
    told = {"block-list": "", "trust-anchors": "TRANSIT_ANCHORS_INVALID", "repository": ""}
    assert json.loads(failed.stdout)["parts"] == told
    home.transit_roots.unlink()
    assert "✓ block-list" in run("now", "--full").output
    shown = json.loads(run("show", "--json").stdout)
    assert [part["part"] for part in shown["parts"]] == ["block-list", "repository"]
    assert datetime.fromisoformat(shown["valid_until"]) > datetime.now(UTC) + timedelta(days=100)
    held = fetch(home.repository.as_uri(), tmp_path / "held", root=home.repository_root.read_bytes())
    assert sorted(file.name for file in (held.files / "blocklist").iterdir()) == ["filter.bl", "list.bl"]
    assert "root: " in run("show").output
