"""`onecard audit` and `onecard privacy` on an installation of one's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner, Result

from hsm.api import Purpose
from issuance.database import migrate
from issuance.sealing import PERSON_SEAL, ensure_seal_keys
from onecard_cli.__main__ import app
from onecard_cli.home import Home
from onecard_cli.registration import register_clients


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installation with five entries, taken into the log."""
    home = Home.at(tmp_path_factory.mktemp("furnished"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONECARD_HOME", str(home.path))
        patch.delenv("ONECARD_ISSUANCE_DATABASE_URL", raising=False)
        migrate(home.database_url)
        register_clients(home, home.database_url, {f"operator-{number}": ("operator",) for number in range(1, 6)})
        assert json.loads(run("office", "tasks", "run").output)["sequence_audit"] == 5
    return home.path


@pytest.fixture
def home(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy of it."""
    shutil.copytree(furnished, tmp_path / "home")
    monkeypatch.setenv("ONECARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ONECARD_ISSUANCE_DATABASE_URL", raising=False)
    return Home.default()


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_an_export_is_checked_elsewhere(home: Home, tmp_path: Path) -> None:
    assert "✓ 5 entries, 1 heads, 0 waiting, 5 unsealed" in run("audit", "verify").output
    log, proof = tmp_path / "out" / "audit.jsonl", tmp_path / "proof.json"
    log.parent.mkdir()
    told = run("audit", "export", str(log)).output
    keys = list(json.loads(run("audit", "key").output).values())
    assert f"--key {keys[0]}" in told
    assert run("audit", "prove", "3", "--out", str(proof)).exit_code == 0
    heads = ["--heads", str(home.path / "audit-heads.jsonl")]
    for file, more in ((log, heads), (proof, [])):
        command = [sys.executable, "-I", "verifier.py", str(file), "--key", keys[0], *more]
        done = subprocess.run(command, cwd=log.parent, capture_output=True, text=True, check=False)
        assert (done.returncode, "0 处问题" in done.stdout) == (0, True), done.stdout + done.stderr
    log.write_text(log.read_text().replace("operator-2", "operator-9"))
    done = subprocess.run([*command[:3], str(log), "--key", keys[0]], cwd=log.parent, capture_output=True, text=True)
    assert (done.returncode, "entry 2 #1: 内容被改动" in done.stdout) == (1, True)
    log.write_text("{}")
    done = subprocess.run([*command[:3], str(log), "--key", keys[0]], cwd=log.parent, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def test_a_manipulated_database_is_told(home: Home) -> None:
    engine = create_engine(home.database_url.replace("+aiosqlite", ""))
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER audit_entries_no_UPDATE"))
        connection.execute(text("UPDATE audit_entries SET clerk = 'x' WHERE id = 4"))
    engine.dispose()
    result = run("audit", "verify")
    assert (result.exit_code, "entry 4 #3: 内容被改动" in result.output, "AUDIT_BROKEN" in result.output) == (
        1,
        True,
        True,
    )
    report = json.loads(run("audit", "verify", "--json").output)
    assert [(finding["kind"], finding["entry_id"]) for finding in report["findings"]] == [("entry_changed", 4)]


@pytest.mark.parametrize(
    "words",
    [
        ["prove"],
        ["prove", "3", "--since", "5"],
        ["prove", "99"],
        ["prove", "3", "--out", "no/such/folder.json"],
        ["verify", "--heads", "no"],
        ["export", "no/such/folder.jsonl"],
    ],
)
def test_what_cannot_be_done_is_explained(home: Home, words: list[str]) -> None:
    result = run("audit", *words)
    assert (result.exit_code, "办法" in result.output, "Traceback" in result.output) == (1, True, False)
    assert "[INTERNAL]" not in result.output


def test_personal_data_from_the_command_line(home: Home) -> None:
    table = json.loads(run("privacy", "table", "--class", "sealed").output)
    assert table["persons"] == {"sealed": "sealed"}
    with home.keys_in_use() as keys:
        ensure_seal_keys(keys)
        keys.generate(replace(PERSON_SEAL, version=2), Purpose.SEAL)
        keys.retire(PERSON_SEAL)
    assert json.loads(run("privacy", "reseal").output) == {"version": 2, "resealed": 0, "remaining": {}}
    assert set(json.loads(run("privacy", "forget").output).values()) == {0}
