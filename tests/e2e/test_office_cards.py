"""The life of a card by command line, over running services with the bank inside the centre."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onecard_cli.__main__ import app
from onecard_cli.demo import PERSON
from onecard_cli.home import Home
from onecard_cli.sim_bank import BOOKS
from onecard_cli.system import System
from simulators.bank import SimBank
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.personas import load
from tests.conftest import pcsc_problem

pytestmark = pytest.mark.slow


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    with System(Home.at(tmp_path), use_pcsc=not pcsc_problem()) as running:
        monkeypatch.setenv("ONECARD_HOME", str(tmp_path))
        monkeypatch.setenv("ONECARD_ISSUANCE_URL", running.issuance_url)
        monkeypatch.setenv("ONECARD_AGENT_URL", running.agent_url)
        monkeypatch.setenv("ONECARD_ISSUANCE_BANK_URL", "simulated")
        yield running


def run(*arguments: str, expect: int = 0) -> Any:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == expect, (arguments, done.output)
    return json.loads(done.stdout) if expect == 0 else done.output


def issued(system: System, tmp_path: Path) -> str:
    """A card in the reader, made for `PERSON`."""
    persona = replace(load("blank-3.0"), region=system.region)
    card = SimCard(build_card(persona, system.home.roots()))
    system.plug(0, card)
    system.wait_for_card(0)
    run("issuance", "blanks", card.state.historical.hex().upper(), "--region", system.region, "--delivery", "d")
    run("issuance", "numbers", "--region", system.region, "--from", "A0000001", "--count", "3")
    person = tmp_path / "person.json"
    person.write_text(json.dumps(PERSON), encoding="utf-8")
    application = run("issuance", "apply", str(person), "--region", system.region)["id"]
    return str(run("agent", "issue", application)["card_number"])


def test_an_office_keeps_a_card_by_command_line(system: System, tmp_path: Path) -> None:
    number = issued(system, tmp_path)
    run("office", "tasks", "run")
    bank = SimBank(tmp_path / BOOKS)
    assert bank.states() == {number: "inactive"}
    assert run("office", "card", "lose", number)["card"]["state"] == "4"
    assert run("office", "card", "lose", number)["result"] == "already"
    assert run("office", "card", "release", number)["card"]["state"] == "1"
    assert run("office", "card", "do", number, "lock")["card"]["state"] == "3"
    assert run("office", "card", "do", number, "unlock")["card"]["version"] > 1
    assert "CARD_STATE" in run("office", "card", "renew", number, expect=1)

    run("office", "card", "change", number, "--ethnic-group", "11")
    assert [card["card_number"] for card in run("office", "card", "list", "--to-rewrite")] == [number]
    assert run("agent", "rewrite")["items"] == "ethnic_group"
    assert run("office", "card", "show", number)["rewrite_pending"] is False
    assert run("agent", "pin-unblock", "--reader", "00")["outcome"] == "pin_unblocked"

    found = run("office", "found", "register", number, "--outlet", "hall-3")["id"]
    assert [row["id"] for row in run("office", "found", "list")] == [found]
    assert run("office", "found", "end", str(found), "hand-back")["state"] == "returned"

    run("office", "tasks", "run")
    assert run("office", "outbox", "list", "--state", "pending") == []
    assert run("office", "outbox", "list") == []
    bank.desk(number, "activate")
    run_now = run("office", "bank", "reconcile", "--reason", "test")
    assert [(row["ours"], row["theirs"], row["resolution"]) for row in run_now["list"]] == [
        ("inactive", "active", "adopt")
    ]
    assert run("office", "bank", "reports")[0]["id"] >= run_now["id"]

    replacement = run("office", "card", "replace", number, "damaged", "--keep-number")
    assert replacement["kind"] == "replacement"
    assert "CARD_STATE" in run("office", "card", "cancel", number, expect=1)
    assert "NOT_FOUND" in run("office", "outbox", "retry", "0" * 32, expect=1)
    assert "CONFLICT" in run("office", "card", "end", number, "exit", expect=1)
    acts = [event["act"] for event in run("office", "card", "history", number)]
    assert acts[0] == "replacement"
    assert "rewrite" in acts
    bank.close()
