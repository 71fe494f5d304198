"""The demo as its user runs it: whole processes, nothing replaced."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import pcsc_problem
from tests.e2e.support import onecard

STEPS = ("application", "personalization", "read_back", "driver_read", "catalog", "wallet_apply")
STEPS += ("qr_validate", "qr_replay_refused", "loss_refused", "release_accepted")
CHALLENGES_3_0 = 35


def demo(*arguments: str) -> dict[str, Any]:
    done = onecard("demo", "--json", *arguments)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, answer
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("--generation", "2.0", "--tear", "257")])
def test_demo_shows_the_main_job(arguments: tuple[str, ...]) -> None:
    """A tear that never comes, as personalization is shorter, strikes no later step."""
    answer = demo(*arguments)
    steps = {step["name"]: step for step in answer["steps"]}
    assert all(step["ok"] and step["ms"] >= 0 for step in steps.values())
    assert set(STEPS) <= set(steps)
    assert steps["personalization"].get("torn", False) is False
    assert answer["reader"] == ("built-in" if pcsc_problem() else "pcsc")
    fields = steps["driver_read"]["pOutInfo"].split("|")
    assert len(fields) == 12
    assert fields[2] == steps["read_back"]["card_number"]
    assert answer["network_round_trips"] <= CHALLENGES_3_0 + 2
    assert 200 < answer["apdus"] <= 260


@pytest.mark.slow
def test_demo_goes_on_with_a_torn_card_and_logs_in_with_it() -> None:
    """Every other command: `test_torn_issuance`."""
    answer = demo("--tear", "77", "--login")
    steps = {step["name"]: step for step in answer["steps"]}
    assert steps["personalization"]["torn"] is True
    assert list(steps)[-5:] == ["login_page", "phone", "logged_in", "answer_replay_refused", "logged_out"]
    assert (steps["logged_in"]["person"], steps["answer_replay_refused"]["status"]) == ("测试甲", 403)
    assert answer["ok"] is True


@pytest.mark.slow
def test_a_day_at_two_gates_ends_with_equal_books() -> None:
    answer = demo("--transit")
    steps = {step["name"]: step for step in answer["steps"]}
    paid = {name: steps[name]["paid_fen"] for name in ("metro", "senior", "student", "torn", "network_cut")}
    assert paid == {"metro": 500, "senior": 0, "student": 250, "torn": 500, "network_cut": 250}
    assert (steps["books"]["takings_fen"], steps["books"]["difference_fen"]) == (sum(paid.values()) + 500, 0)
    assert steps["lost"]["locked"] is True
    assert answer["ok"] is True


def test_demo_explains_a_wrong_option() -> None:
    done = onecard("demo", "--generation", "9.0", "--json")
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_demo_at_the_kiosk_survives_jam_and_power_cut() -> None:
    """Through the kiosk's pages without a browser; in one, and all the rest: `test_kiosk`."""
    answer = demo("--kiosk", "--no-pcsc")
    steps = {step["name"]: step for step in answer["steps"]}
    assert steps["replacement"]["troubles"] == ["making_trouble"]
    assert list(steps)[-3:] == ["power_cut", "collect", "books"]
    assert (steps["books"]["used"], steps["books"]["spoiled"]) == (3, 0)
