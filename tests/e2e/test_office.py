"""The office's day by command line: a chip becomes stock, an application a card, a code is taken once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cardlib.spec import Generation, load
from onecard_cli.demo import PERSON
from onecard_cli.home import Home
from onecard_cli.system import System
from simulators.card import Algorithm, CardState, SimCard
from simulators.factory import activate, historical_bytes
from tests.conftest import pcsc_problem
from tests.e2e.support import onecard

pytestmark = pytest.mark.slow


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    with System(Home.at(tmp_path), use_pcsc=not pcsc_problem()) as running:
        monkeypatch.setenv("ONECARD_ISSUANCE_URL", running.issuance_url)
        monkeypatch.setenv("ONECARD_AGENT_URL", running.agent_url)
        yield running


def chip(system: System) -> SimCard:
    spec, state = load(Generation.V3), CardState()
    transport_key = system.home.roots().root("TK", spec.algorithm)
    activate(state, transport_key, Algorithm(spec.algorithm_id), historical_bytes(system.region, 7))
    return SimCard(state)


def test_an_office_issues_a_card_by_command_line(system: System, tmp_path: Path) -> None:
    def run(*arguments: str, expect: int = 0) -> Any:
        done = onecard(*arguments, home=system.home.path)
        assert done.returncode == expect, done.stderr
        return json.loads(done.stdout) if expect == 0 else done.stderr

    system.plug(0, chip(system))
    system.wait_for_card(0)
    assert run("agent", "initialize", "--region", "110000")["outcome"] == "initialized"
    assert run("issuance", "numbers", "--region", "110000", "--from", "A0000001", "--count", "2")["added"] == 2
    person = tmp_path / "person.json"
    person.write_text(json.dumps(PERSON), encoding="utf-8")
    apply = ("issuance", "apply", str(person), "--region", "110000", "--key", "office-test-1")
    application = run(*apply)["id"]
    assert run(*apply)["id"] == application
    issued = run("agent", "issue", application)
    assert issued["card_number"]
    steps = {step["step"]: step["status"] for step in run("issuance", "show", application)["steps"]}
    assert steps["read_back"] == steps["enable"] == steps["ecard"] == "done"
    code = run("issuance", "code", issued["ecard_no"], "--png", str(tmp_path / "code.png"))["code"]
    assert (tmp_path / "code.png").read_bytes().startswith(b"\x89PNG")
    assert run("issuance", "validate", code)["card_state"] == "1"
    assert "CODE_USED" in run("issuance", "validate", code, expect=1)
    stock = run("issuance", "stock")
    assert [(blank["used"], blank["in_stock"], blank["reserved"]) for blank in stock["blanks"]] == [(1, 0, 0)]
    assert [(pool["used"], pool["free"], pool["reserved"]) for pool in stock["card_numbers"]] == [(1, 1, 0)]
    assert "ALREADY_ISSUED" in run("issuance", "apply", str(person), "--region", "110000", expect=1)


def test_office_commands_name_what_is_wrong(system: System) -> None:
    done = onecard("agent", "issue", "0" * 32, home=system.home.path)
    assert done.returncode == 1
    assert "CARD_ABSENT" in done.stderr
    done = onecard("issuance", "stock", "--url", "http://127.0.0.1:9", home=system.home.path)
    assert "SERVICE_UNREACHABLE" in done.stderr
    assert "Traceback" not in done.stderr
