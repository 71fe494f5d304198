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
            assert {int(line.split("\t")[0]) for line in told.splitlines()} == set(answer.bad)
    shown = run("office", "batch", "show", batch)
    finished = shown["by_state"]["finished"]
    assert 0 < finished < 8
    assert run("office", "batch", "release", batch)["released"] == 8 - finished
    run("office", "stock", "add-place", "outlet-1", "--name", "一所", "--region", "110000")
    handed = run("office", "batch", "hand-out", batch, "outlet-1")
    assert run("office", "stock", "receive", handed["transfer_id"])["state"] == "received"
    number = next(
        row[0]
        for row in _rows(system, "SELECT card_number FROM production_lines WHERE state = 'finished' ORDER BY line")
    )
    assert run("office", "batch", "collect", number, "--place", "outlet-1")["ecard_no"]
    balance = run("office", "stock", "balance")
    assert balance["is_zero"]
    assert {line["place_id"]: line["closing"] for line in balance["lines"]}["outlet-1"] == finished - 1


def _rows(system: System, query: str) -> list[tuple[Any, ...]]:
    import sqlite3

    path = system.home.database_url.partition(":///")[2]
    with sqlite3.connect(path) as connection:
        return connection.execute(query).fetchall()
