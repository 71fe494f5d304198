"""A batch by command line over a running service: roster, files, return files, the outlet, the holder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cardlib.spec import Generation
from onecard_cli.__main__ import app
from onecard_cli.home import Home
from onecard_cli.system import System
from simulators.production import Faults, bank, card_factory, initialization_centre
from tests.issuance.production import roster

pytestmark = pytest.mark.slow


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    with System(Home.at(tmp_path / "home"), use_pcsc=False) as running:
        monkeypatch.setenv("ONECARD_HOME", str(running.home.path))
        monkeypatch.setenv("ONECARD_ISSUANCE_URL", running.issuance_url)
        yield running


def invoke(*arguments: str) -> str:
    """In this process: twenty starts of the command line would take a minute."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_batch_by_command_line(system: System, tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        return json.loads(invoke(*arguments))

    run("issuance", "numbers", "--region", "110000", "--from", "A0000001", "--count", "30")
    batch = run("office", "batch", "new", "--region", "110000", "--unit", "SCH-1", "--unit-name", "示例小学")["id"]
    people = tmp_path / "roster.csv"
    people.write_bytes(roster(8))
    assert run("office", "batch", "roster", batch, str(people))["accepted"] == 8
    partners = {
        "bank": bank(),
        "factory": card_factory("110000", 0xB001),
        "keys": initialization_centre("110000", Generation.V3, system.home.roots()),
    }
    for stage, partner in partners.items():
        sent = Path(run("office", "batch", "send", batch, stage, "--to", str(tmp_path))["file"])
        back = tmp_path / f"{stage}.txt"
        with sent.open("rb") as source, back.open("wb") as target:
            answer = partner.answer(source, target, Faults(bad=0.3 if stage == "bank" else 0, seed=4))
        taken = run("office", "batch", "return", batch, stage, str(back))
        assert taken["refused"] == len(answer.bad)
        assert run("office", "batch", "return", batch, stage, str(back))["state"] == "repeated"
        if answer.bad:
            told = invoke("office", "batch", "rejects", taken["id"])
            assert all(len(line.split(" | ")) == 4 for line in told.splitlines())
            assert {int(line.split("\t")[0]) for line in told.splitlines()} == set(answer.bad)
    shown = run("office", "batch", "show", batch)
    finished = shown["by_state"]["finished"]
    assert 0 < finished < 8
    assert run("office", "batch", "release", batch)["released"] == 8 - finished
    run("office", "stock", "add-place", "outlet-1", "--name", "一所", "--region", "110000")
    handed = run("office", "batch", "hand-out", batch, "outlet-1")
    assert run("office", "stock", "receive", handed["transfer_id"])["state"] == "received"
    number = run("office", "batch", "lines", batch, "--state", "finished")[0]["card_number"]
    assert run("office", "batch", "collect", number, "--place", "outlet-1")["ecard_no"]
    balance = run("office", "stock", "balance")
    assert balance["is_zero"]
    assert {line["place_id"]: line["closing"] for line in balance["lines"]}["outlet-1"] == finished - 1


def test_what_batch_and_stock_commands_refuse_or_save(system: System, tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        return json.loads(invoke(*arguments))

    def refused(*arguments: str) -> str:
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == 1, done.output
        return done.stderr

    run("issuance", "numbers", "--region", "110000", "--from", "A0000001", "--count", "5")
    batch = run("office", "batch", "new", "--region", "110000")["id"]
    people = tmp_path / "roster.csv"
    people.write_bytes(roster(3))
    run("office", "batch", "roster", batch, str(people))
    assert "no file was written for bank yet" in refused("office", "batch", "fetch", batch, "bank")
    sent = Path(run("office", "batch", "send", batch, "bank", "--to", str(tmp_path))["file"])
    first = sent.read_bytes()
    assert sent.stat().st_mode & 0o077 == 0
    sent.write_bytes(b"")
    fetched = run("office", "batch", "fetch", batch, "bank", "--to", str(tmp_path))
    assert (Path(fetched["file"]).read_bytes(), fetched["lines"]) == (first, 3)
    assert len(list(tmp_path.glob(".SH_*"))) == 0

    words = refused("office", "stock", "add-place", "no such id!", "--name", "一所", "--region", "110000")
    assert "body.id: " in words
    assert "[string_pattern_mismatch]" in words
    words = refused("office", "stock", "balance", "--day", "2999-01-01")
    assert "query.day" in words
    assert " / " in words
    assert "→" in words
    assert "--day" in refused("office", "stock", "balance", "--close")
    people.write_text("nothing\n")
    other = run("office", "batch", "new", "--region", "110000")["id"]
    assert "file_titles" in refused("office", "batch", "roster", other, str(people))
    assert "APPLICATION_STATE" in refused(
        "office", "batch", "add", other, run("office", "batch", "lines", batch)[0]["application_id"]
    )
