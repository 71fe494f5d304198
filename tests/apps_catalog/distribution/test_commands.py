"""`onecard catalog repo …, fetch, verify` end to end."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from apps_catalog.catalog import DATA
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from onecard_cli.catalog import catalog_app

RUN = CliRunner()


@pytest.fixture(autouse=True)
def _cheap_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = partial(SoftKeyService.create, cost=ScryptCost(n=2, r=1))
    monkeypatch.setattr(SoftKeyService, "create", cheap)


def run(*arguments: str | Path) -> Any:
    return RUN.invoke(catalog_app, list(map(str, arguments)))


def test_from_keys_to_terminal(tmp_path: Path) -> None:
    repo, keys, into = tmp_path / "public", tmp_path / "signing", tmp_path / "held"
    assert "14 个密钥" in run("repo", "init", repo, "--keys", keys).stdout
    assert run("repo", "init", repo, "--keys", keys).exit_code == 1
    assert "✓ timestamp 2" in run("repo", "publish", repo, DATA, "--keys", keys).stdout
    root = repo / "metadata" / "1.root.json"
    said = run("fetch", repo.as_uri(), "--into", into, "--root", root)
    assert "✓ 2: 15 个文件" in said.stdout, said.output
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "full-1.bin").write_bytes(b"list")
    (keys / "snapshot").rename(tmp_path / "snapshot")
    assert "next timestamp" in run("repo", "publish", repo, lists, "--role", "blocklist", "--keys", keys).stdout
    (tmp_path / "snapshot").rename(keys / "snapshot")
    assert "✓ timestamp 3" in run("repo", "timestamp", repo, "--keys", keys).stdout
    for step in (("rotate", repo, "120000"), ("revoke", repo, "root-2")):
        assert run("repo", *step, "--keys", keys).exit_code == 0
    assert run("repo", "renew-root", repo, "--keys", keys).exit_code == 0
    versions = {row["role"]: row["version"] for row in json.loads(run("repo", "status", repo, "--json").stdout)}
    assert (versions["root"], versions["120000"], versions["timestamp"]) == (3, 3, 5)
    assert run("fetch", repo.as_uri(), "--into", into).exit_code == 0
    document = json.loads(run("verify", into, "--json").stdout)
    assert (document["set"], len(document["files"])) == ("5", 16)
    assert run("verify", tmp_path / "nothing").exit_code == 1


def test_drill() -> None:
    said = run("repo", "drill")
    assert said.stdout.splitlines()[-1].startswith("✓ 断网核对"), said.output
