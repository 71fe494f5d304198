"""`onecard catalog repo …, fetch, verify` end to end."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from apps_catalog.catalog import DATA
from apps_catalog.distribution.repository import Repository
from apps_catalog.distribution.roles import ROLES, Roles
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from onecard_cli.catalog import catalog_app
from onecard_cli.catalog_keys import SigningKeys

RUN = CliRunner()


@pytest.fixture(autouse=True)
def _cheap_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = partial(SoftKeyService.create, cost=ScryptCost(n=2, r=1))
    monkeypatch.setattr(SoftKeyService, "create", cheap)


def run(*arguments: str | Path) -> Any:
    return RUN.invoke(catalog_app, list(map(str, arguments)))


def test_from_keys_to_terminal(tmp_path: Path) -> None:
    repo, keys, into = tmp_path / "public", tmp_path / "signing", tmp_path / "held"
    assert "15 个密钥" in run("repo", "init", repo, "--keys", keys).stdout
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


def test_a_repository_made_before_a_role_was_known_goes_on_and_gets_it(tmp_path: Path) -> None:
    repo, keys, into = tmp_path / "public", tmp_path / "signing", tmp_path / "held"
    older = Roles(ROLES.top, {name: rule for name, rule in ROLES.delegated.items() if name != "transit-rules"})
    with SigningKeys(keys) as signing:
        root = Repository(repo, {name: signing.make(name) for name in older.holders}, roles=older).create()
    (tmp_path / "root.json").write_bytes(root)
    assert "✓ timestamp 2" in run("repo", "timestamp", repo, "--keys", keys).stdout
    rules = Path(__file__).parents[3] / "docs" / "transit-rules" / "published"
    publish = ("publish", repo, rules, "--role", "transit-rules", "--keys", keys)
    assert "no role 'transit-rules'" in run("repo", *publish).stderr
    (keys / "targets").rename(tmp_path / "targets")
    assert "the key of targets is not at hand" in run("repo", "add-roles", repo, "--keys", keys).stderr
    (tmp_path / "targets").rename(keys / "targets")
    for told in ("✓ transit-rules\n✓ timestamp 3\n", "✓ timestamp 4\n"):
        assert run("repo", "add-roles", repo, "--keys", keys).stdout == told
    assert "✓ transit-rules: 2 个文件" in run("repo", *publish).stdout
    assert run("fetch", repo.as_uri(), "--into", into, "--root", tmp_path / "root.json").exit_code == 0
    assert "transit-rules/demo-metro.2027-01-01.toml" in json.loads(run("verify", into, "--json").stdout)["files"]


def test_keys_that_never_meet(tmp_path: Path) -> None:
    repo, keys, into = tmp_path / "public", tmp_path / "signing", tmp_path / "held"
    run("repo", "init", repo, "--keys", keys)
    root = repo / "metadata" / "1.root.json"
    machines = {name: tmp_path / f"machine-{name}" for name in ("root-1", "root-2", "targets", "110000")}
    for name, machine in machines.items():
        machine.mkdir()
        (keys / name).rename(machine / name)
    file = tmp_path / "exchange.json"

    def sign(machine: str) -> Any:
        return run("repo", "sign", file, "--root", root, "--keys", machines[machine])

    assert "root 0/2" in run("repo", "propose", repo, "--into", file).stdout
    assert "✓ root: root-1" in sign("root-1").stdout
    refused = run("repo", "accept", repo, file)
    assert "HANDOVER_REFUSED" in refused.stderr
    assert "missing signature" in refused.stderr
    assert "✓ 签名已齐" in sign("root-2").stdout
    assert "✓ timestamp 2" in run("repo", "accept", repo, file, "--keys", keys).stdout
    key = tmp_path / "110000.key.json"
    run("repo", "key", "new", "110000", "--keys", machines["110000"])
    run("repo", "key", "show", "110000", "--keys", machines["110000"], "--into", key)
    assert json.loads(run("repo", "key", "show", "110000", "--keys", machines["110000"]).stdout)["holder"] == "110000"
    run("repo", "propose", repo, "--key", key, "--into", file)
    assert "✓ 110000: 110000" in sign("110000").stdout
    assert "not your role" in sign("root-1").stderr
    missing = json.loads(run("repo", "show", file, "--root", root, "--json").stdout)["missing"]
    assert missing == ["targets 0/1"]
    assert "→" in sign("targets").stdout
    assert "✓ 110000 2" in run("repo", "accept", repo, file, "--keys", keys).stdout
    assert run("repo", "key", "end", "110000", "--keys", machines["110000"], "--destroy").exit_code == 0
    copy = tmp_path / "copy"
    shutil.copytree(repo, copy)
    assert "next timestamp" in run("repo", "publish", copy, DATA, "--keys", machines["110000"]).stdout
    assert "✓ 签名已齐" in run("repo", "deliver", copy, "110000", "--into", file).stdout
    assert "✓ 110000 3" in run("repo", "accept", repo, file).stdout
    assert "✓ timestamp 4" in run("repo", "publish", repo, DATA, "--keys", keys).stdout
    assert "15 个文件" in run("fetch", repo.as_uri(), "--into", into, "--root", root).stdout


def test_drill() -> None:
    said = run("repo", "drill")
    assert said.stdout.splitlines()[-1].startswith("✓ 断网核对"), said.output
