"""`onecard issuance journeys`: what is said of a day and a purse, and the exit status that scripts go by."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest
from typer.testing import CliRunner

from issuance.journeys.schemas import CardPurse, DayReconciliation, PurseJourneys
from onecard_cli import journeys
from onecard_cli.services import issuance_app


def example(model: Any) -> Any:
    return model.model_validate(model.model_config["json_schema_extra"]["examples"][0]).model_dump(mode="json")


def run(monkeypatch: pytest.MonkeyPatch, answer: Any, *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(journeys, "centre", lambda *_: nullcontext())
    monkeypatch.setattr(journeys, "ask", lambda *_, **__: answer)
    result = CliRunner().invoke(issuance_app, ["journeys", *arguments])
    return result.exit_code, result.output


def test_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    report = example(DayReconciliation)
    status, text = run(monkeypatch, report, "day", "2026-01-05")
    assert status == 0
    for words in ("takings 4.00", "未决", "said 7.00", "booked 4.00", "-3.00  1", "✓ t-4f0c2b7e9a1d"):
        assert words in text
    report["terminals"][0] |= {"is_explained": False, "said": None}
    status, text = run(monkeypatch, report | {"is_explained": False}, "day", "2026-01-05", "--terminal", "t-1")
    assert (status, "✗ t-4f0c2b7e9a1d" in text, "没报" in text) == (1, True, True)
    status, text = run(monkeypatch, report, "day", "2026-01-05", "--json")
    assert (status, json.loads(text)) == (0, report)


def test_a_purse(monkeypatch: pytest.MonkeyPatch) -> None:
    found = example(PurseJourneys)
    status, text = run(monkeypatch, found, "purse", found["face_number"])
    assert (status, "A00000011" in text, "2/17  3.00  没有进站" in text) == (0, True, True)
    assert json.loads(run(monkeypatch, found, "purse", found["face_number"], "--json")[1]) == found
    purse = example(CardPurse)
    status, text = run(monkeypatch, purse, "set-purse", "A00000011", purse["issuer"], purse["serial"])
    assert (status, json.loads(text)) == (0, purse)
