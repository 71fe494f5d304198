"""Acts that may need a second clerk: no page of the console does one but by `ApprovalService.perform`."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from issuance import console
from issuance.cards.commands import CardCommands
from issuance.clerks import runners
from issuance.clerks.acts import FOUR_EYES, Act
from issuance.clerks.approvals import ApprovalService
from issuance.console import card_acts, stock, stock_acts
from issuance.console.acting import Done
from issuance.stock.movements import MovementService
from issuance.stock.service import StockService

DIRECT = {"end_holder", "destroy", "change_numbers"}
"""What the runners call for three of the acts; the fourth is `CardCommands.act` with `cancel`."""
PLACES = {"card_acts", "stock_acts", "stock"}


def _trees() -> dict[str, ast.Module]:
    folder = Path(console.__file__).parent
    return {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in folder.glob("*.py")}


def test_no_page_goes_round_the_second_clerk() -> None:
    called = {node.attr for node in ast.walk(ast.parse(inspect.getsource(runners))) if isinstance(node, ast.Attribute)}
    assert called >= DIRECT, "the runners carry the acts out by these"
    for name, tree in _trees().items():
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not used & DIRECT, name
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            is_plain = ast.unparse(call.func).rpartition(".")[2] in ("_plain", "act")
            assert not (is_plain and any(ast.unparse(arg) == "'cancel'" for arg in call.args)), name


def test_every_such_act_is_named_where_it_is_asked_for() -> None:
    named: dict[str, set[str]] = {}
    for name, tree in _trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Act":
                named.setdefault(node.attr, set()).add(name)
    for act in FOUR_EYES:
        assert named[act.name], act
        assert named[act.name] <= PLACES, act


@pytest.fixture
def performed(monkeypatch: pytest.MonkeyPatch) -> list[Act]:
    """Acts asked of the service; what would carry them out is a failure."""
    done: list[Act] = []

    async def perform(_self: Any, act: Act, _body: dict[str, Any], _reason: str) -> BaseModel:
        done.append(act)
        return Done()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("carried out by one clerk")

    monkeypatch.setattr(ApprovalService, "perform", perform)
    for service in (CardCommands, MovementService, StockService):
        monkeypatch.setattr(service, "__init__", refuse)
    monkeypatch.setattr(ApprovalService, "__init__", lambda _self, _unit: None)
    return done


async def test_every_act_of_the_tables_asks_the_service(performed: list[Act]) -> None:
    unit: Any = None
    for card in card_acts.ACTS.values():
        if card.act in FOUR_EYES:
            await card.run(unit, "A00000011", card.order.model_construct(), "why")
    for act in stock_acts.ACTS.values():
        if act.act in FOUR_EYES:
            await act.run(unit, act.order.model_construct(), "why")
    await stock.by_two(unit, Act.NUMBER_CHANGE, Done(), "why")
    assert sorted(performed) == sorted(FOUR_EYES)
