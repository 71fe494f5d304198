"""The office's day by command line: a chip becomes stock, an application a card, a code is taken once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cardlib.spec import Generation, load
from onecard_cli.demo import PERSON
from onecard_cli.demo_holder import demo_holder
from onecard_cli.home import Home
from onecard_cli.system import System
from simulators.card import Algorithm, CardState, SimCard
from simulators.factory import activate, historical_bytes
from simulators.vpcd import VpcdLink
from tests.conftest import pcsc_problem
from tests.e2e.support import onecard

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One for the tests below, in any order."""
    home = Home.at(tmp_path_factory.mktemp("office"))
    with System(home, use_pcsc=not pcsc_problem(), wallet_port=0) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONECARD_ISSUANCE_URL", running.issuance_url)
        patch.setenv("ONECARD_AGENT_URL", running.agent_url)
        yield running


def chip(system: System) -> SimCard:
    spec, state = load(Generation.V3), CardState()
    transport_key = system.home.roots().root("TK", spec.algorithm)
    activate(state, transport_key, Algorithm(spec.algorithm_id), historical_bytes(system.region, 7))
    return SimCard(state)


def take_out(system: System, link: VpcdLink) -> None:
    """Of the first slot; the agent has seen it, too."""
    link.remove()
    agent, end = system.agent_client(), time.monotonic() + 30
    while any(r["atr"] for r in agent.get("/v1/readers").raise_for_status().json() if r["name"].endswith("00")):
        assert time.monotonic() < end, "the card is out, and the agent does not see it"
        time.sleep(0.05)


def test_office_commands_name_what_is_wrong(system: System) -> None:
    done = onecard("agent", "issue", "0" * 32, home=system.home.path)
    assert done.returncode == 1
    assert "CARD_ABSENT" in done.stderr
    done = onecard("issuance", "stock", "--url", "http://127.0.0.1:9", home=system.home.path)
    assert "SERVICE_UNREACHABLE" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_office_issues_a_card_by_command_line(system: System, tmp_path: Path) -> None:
    def run(*arguments: str, expect: int = 0, given: str = "") -> Any:
        done = onecard(*arguments, home=system.home.path, given=given)
        assert done.returncode == expect, done.stderr
        return json.loads(done.stdout) if expect == 0 else done.stderr

    def stock() -> list[int]:
        found = run("issuance", "stock")
        columns = {"blanks": ("used", "in_stock", "reserved"), "card_numbers": ("used", "free", "reserved")}
        return [sum(row[name] for row in found[table]) for table, names in columns.items() for name in names]

    before = stock()
    link = system.plug(0, chip(system))
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
    who = ("--name", PERSON["name"], "--number", PERSON["social_security_number"])
    signed = run("wallet", "apply", *who, "--card-number", issued["card_number"], given="482915\n482915\n")
    assert signed["ecard_no"] == issued["ecard_no"]
    code = run("wallet", "code", "--json", "--png", str(tmp_path / "code.png"))["code"]
    assert (tmp_path / "code.png").read_bytes().startswith(b"\x89PNG")
    assert run("issuance", "validate", code)["card_state"] == "1"
    assert "CODE_USED" in run("issuance", "validate", code, expect=1)
    assert [now - then for then, now in zip(before, stock(), strict=True)] == [1, 0, 0, 1, 1, 0]
    assert "ALREADY_ISSUED" in run("issuance", "apply", str(person), "--region", "110000", expect=1)
    take_out(system, link)


def test_the_holder_that_up_names_gets_a_code_on_the_phone(system: System) -> None:
    holder = demo_holder(system)
    assert demo_holder(system) == holder, "issued once"
    form = holder | {"password": "482915", "again": "482915", "key": "newcomer-1"}
    origin = {"Origin": system.wallet_url}
    with httpx.Client(base_url=system.wallet_url, headers=origin, trust_env=False, follow_redirects=True) as phone:
        shown = phone.post("/apply", data=form)
        assert (shown.url.path, "oc-qr" in shown.text) == ("/code", True), shown.text
        assert "oc-qr" in phone.get("/code", params={"scene": "transit"}).text
