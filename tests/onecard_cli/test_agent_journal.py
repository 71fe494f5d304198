"""`onecard agent journal` and `onecard issuance reconcile`: what is said, and the exit status that scripts go by."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest
from typer.testing import CliRunner

from onecard_cli import agent_journal
from onecard_cli.services import agent_app, issuance_app

JOURNAL = {
    "follows": "5b" * 16,
    "reason": "JOURNAL_FORKED",
    "begun_at": "2026-01-05T01:00:00Z",
    "sequence": 120,
    "acknowledged": 117,
    "oldest_at": "2026-01-05T02:00:00Z",
    "kinds": {"card_use": 2, "purchase": 1},
}
WAITING = {
    "state": "waiting",
    "failure": "SERVICE_UNREACHABLE",
    "text_zh": "连不上中心",
    "text_en": "The centre cannot be reached",
    "remedy_zh": "检查网线",
    "remedy_en": "Check the cable",
    "detail": "ConnectError",
    "attempts": 4,
    "next_try_at": "2026-01-05T02:00:30Z",
    "told_at": None,
    "journal": JOURNAL,
    "aside": [{"sequence": 17, "kind": "purchase", "at": "2026-01-05T01:30:00Z", "failure": "CONFLICT", "detail": "x"}],
}
SENT = WAITING | {"state": "sent", "failure": None, "next_try_at": None, "aside": []}
NONE = SENT | {"state": "none", "journal": None}


@pytest.mark.parametrize(
    ("told", "status"), [(WAITING, 1), (SENT | {"aside": WAITING["aside"]}, 1), (SENT, 0), (NONE, 0)]
)
def test_what_waits_and_why(told: dict[str, Any], status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_journal, "asked_of_agent", lambda *_: told)
    plain = CliRunner().invoke(agent_app, ["journal"])
    assert plain.exit_code == status
    if told is WAITING:
        for word in (
            "SERVICE_UNREACHABLE",
            "Check the cable",
            "3 (card_use 2, purchase 1)",
            "02:00:30",
            "JOURNAL_FORKED",
            "17 purchase",
        ):
            assert word in plain.output
    as_json = CliRunner().invoke(agent_app, ["journal", "--json"])
    assert (as_json.exit_code, json.loads(as_json.output)) == (status, told)


@pytest.mark.parametrize("difference", [0, 2])
def test_a_difference_is_an_exit_status(difference: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def ask(_client: Any, *request: str, **arguments: Any) -> dict[str, int]:
        asked.append((*request, arguments))
        return {"difference": difference}

    monkeypatch.setattr(agent_journal, "centre", lambda *_: nullcontext())
    monkeypatch.setattr(agent_journal, "ask", ask)
    done = CliRunner().invoke(issuance_app, ["reconcile", "hall-3", "--day", "2026-01-05"])
    assert done.exit_code == (1 if difference else 0)
    assert asked == [("GET", "/v1/terminals/hall-3/reconciliation", {"params": {"day": "2026-01-05"}})]
