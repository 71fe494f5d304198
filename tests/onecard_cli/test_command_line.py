"""What every command owes its user: help with an example, failures with a remedy, no traceback."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cardlib.failures import FailureCode
from hsm.api import Algorithm, KeyRef
from onecard_cli.__main__ import app
from onecard_cli.home import Home
from onecard_cli.output import CommandError, reports_failures


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=lambda value: str(value)[:40])
def test_every_command_explains_itself_with_an_example(path: tuple[str, ...], command: Any) -> None:
    assert "\n\n\b\nExample" in command.help, "on a line of its own"
    assert f"./onecard {' '.join(path)}" in command.help
    assert all(parameter.help for parameter in command.params if parameter.name != "ctx")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def test_catalog_answers_and_refuses_in_words() -> None:
    answer = json.loads(run("catalog", "list", "--region", "120000", "--json").stdout)
    assert len(answer["items"]) > 40
    refused = run("catalog", "list", "--region", "440000", "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["failure"] == "REGION_UNKNOWN"
    refused = run("catalog", "list", "--region", "abc")
    assert (refused.exit_code, "INPUT_INVALID" in refused.output) == (1, True)


def test_doctor_goes_through_every_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONECARD_HOME", str(tmp_path / "home"))
    findings = json.loads(run("doctor", "--json").stdout)["findings"]
    subjects = " ".join(finding["subject"] for finding in findings)
    for word in ("Python", "crypto", "client", "simulation", "home", "key store", "catalog"):
        assert word in subjects
    assert all(finding["ok"] or finding["remedy"] for finding in findings)


def test_doctor_loses_no_finding_to_a_check_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("broken driver")

    home = Home.at(tmp_path / "home")
    home.key_store.write_text("{}")
    monkeypatch.setenv("ONECARD_HOME", str(home.path))
    monkeypatch.setenv("ONECARD_AGENT_SCANNER", "/dev/null")
    monkeypatch.setenv("ONECARD_AGENT_PIN_PAD", "/nowhere/tty")
    monkeypatch.setattr("simulators.pcscd.is_available", broken)
    monkeypatch.setattr("apps_catalog.load", broken)
    monkeypatch.setattr("onecard_cli.doctor_devices._ask_port", broken)
    done = run("doctor", "--json")
    found = {finding["subject"]: finding for finding in json.loads(done.stdout)["findings"]}
    bad = [subject for subject, finding in found.items() if not finding["ok"]]
    assert done.exit_code == 1
    assert [word for word in ("simulation", "key store", "catalog", "QR", "PIN pad") if word not in " ".join(bad)] == []
    assert found["磁盘 / disk"]["ok"]
    assert all(found[subject]["remedy"] for subject in bad)


def test_failures_are_told_with_cause_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    @reports_failures
    def refuse(as_json: bool = False) -> None:
        raise CommandError(FailureCode.CARD_ABSENT, "reader 1")

    with pytest.raises(typer.Exit):
        refuse()
    said = capsys.readouterr().err
    assert "CARD_ABSENT" in said
    assert "原因" in said
    assert "办法" in said
    with pytest.raises(typer.Exit):
        refuse(as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["failure"], bool(answer["remedy"])) == (False, "CARD_ABSENT", True)


def test_typing_errors_are_not_program_errors(capsys: pytest.CaptureFixture[str]) -> None:
    @reports_failures
    def broken() -> None:
        int("x")

    with pytest.raises(typer.Exit):
        broken()
    assert "INPUT_INVALID" in capsys.readouterr().err


def test_home_is_private_and_keeps_its_keys(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    first = home.key_service()
    known = first.keys()
    refs = {info.ref: info.kcv for info in known}
    assert KeyRef("IRK", Algorithm.SM4) in refs
    first.close()
    assert Home.at(tmp_path / "home").key_service().keys() == known
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    for path in (home.key_store, home.passphrase_file, home.ministry, home.make_client_key("terminal-1")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_a_key_store_without_its_passphrase_says_what_to_set(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    home.key_service().close()
    home.passphrase_file.unlink()
    with pytest.raises(CommandError) as refused:
        home.key_service()
    assert refused.value.failure is FailureCode.KEY_STORE_LOCKED
    assert "ONECARD_PASSPHRASE" in str(refused.value)


def test_an_interrupted_first_start_is_completed(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    whole = home.key_service()
    expected = [replace(info, created=0) for info in whole.keys()]  # noqa: SIM118
    whole.destroy(expected[0].ref)
    whole.close()
    again = home.key_service().keys()
    assert [replace(info, created=0) for info in again] == expected
