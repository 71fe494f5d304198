"""Sessions with a card in use: for its own chip only, in use only, the PIN kept nowhere, later changes not lost."""

from __future__ import annotations

from typing import Any

import pytest

from issuance.sessions import runner
from tests.issuance.bank_stand import BankStand, stand
from tests.issuance.conftest import atr, both_engines, fake_script, ok, refused

__all__ = ["stand"]
PIN = "246810"


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Visit scripts replaced by `fake_script`; every order one was made from."""
    seen: list[dict[str, Any]] = []

    def make(order: dict[str, Any], keys: Any) -> Any:
        seen.append(order)
        return fake_script(order, keys)

    for kind in ("rewrite", "pin_reset", "pin_unblock"):
        monkeypatch.setitem(runner.SCRIPTS, kind, make)
    return seen


async def _start(stand: BankStand, kind: str, **more: Any) -> Any:
    body = {"kind": kind, "atr": atr(1)} | more
    return await stand.centre.as_("terminal").post("/v1/card-sessions", json=body)


@both_engines
async def test_changes_reach_the_chip_and_no_later_one_is_lost(stand: BankStand, visits: list[dict[str, Any]]) -> None:
    number = await stand.card()
    refused(await _start(stand, "rewrite"), "CONFLICT", 409)
    ok(await stand.act(number, "holder", name="测试改", ethnic_group="11"))
    reply = ok(await _start(stand, "rewrite"), 201)
    assert visits[0]["changes"] == {"name": "测试改", "ethnic_group": "11"}
    ok(await stand.act(number, "holder", name="测试又改"))
    outcome = await stand.centre.run(reply)
    assert (outcome["status"], outcome["result"]["card_number"]) == ("done", number)
    assert (await stand.view(number))["rewrite_pending"]
    await stand.centre.run(ok(await _start(stand, "rewrite"), 201))
    assert visits[-1]["changes"] == {"name": "测试又改"}
    assert not (await stand.view(number))["rewrite_pending"]


@both_engines
async def test_a_new_pin_is_kept_nowhere(
    stand: BankStand, visits: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    await stand.card()
    reply = ok(await _start(stand, "pin_reset", pin=PIN), 201)
    assert visits[-1]["pin"] == PIN
    assert PIN not in str(reply)
    sealer = stand.services.sealer
    for session_id, order in stand.centre.store.sql(
        "SELECT id, sealed_order FROM card_sessions WHERE kind = 'pin_reset'"
    ):
        assert PIN not in str(sealer.unseal(bytes(order), f"card_sessions.order:{session_id}"))
    outcome = await stand.centre.run(reply)
    assert outcome["status"] == "done"
    assert PIN not in caplog.text
    left = stand.centre.store.sql(
        "SELECT count(*) FROM card_session_exchanges e JOIN card_sessions s ON s.id = e.session_id"
        " WHERE s.kind = 'pin_reset'"
    )
    assert left == [(1,)]


async def test_after_a_restart_the_pin_is_typed_again(stand: BankStand, visits: list[dict[str, Any]]) -> None:
    await stand.card()
    batch = ok(await _start(stand, "pin_reset", pin=PIN), 201)["batch"]
    stand.centre.restart()
    body = refused(await stand.centre.answer(batch["session_id"], 1, ["9000"]), "CONFLICT", 409)
    assert "begin anew" in body["detail"]
    outcome = await stand.centre.run(ok(await _start(stand, "pin_reset", pin=PIN), 201))
    assert outcome["status"] == "done"


@pytest.mark.parametrize(
    ("kind", "more"), [("pin_reset", {}), ("pin_unblock", {"pin": PIN}), ("rewrite", {"pin": PIN})]
)
async def test_a_pin_where_one_belongs(stand: BankStand, kind: str, more: dict[str, str]) -> None:
    await stand.card()
    body = refused(await _start(stand, kind, **more), "INPUT_INVALID", 400)
    assert body["fields"][0]["location"] == "body.pin"


@pytest.mark.parametrize("kind", ["pin_unblock", "rewrite"])
async def test_only_a_card_in_use_is_worked_on(stand: BankStand, kind: str) -> None:
    refused(await _start(stand, kind), "NOT_FOUND", 404)
    number = await stand.card()
    ok(await stand.act(number, "loss", kind="formal"))
    assert "挂失" in refused(await _start(stand, kind), "CARD_STATE", 409)["detail"]
    application = ok(await stand.act(number, "replacements", cause="lost", keeps_number=True), 201)
    stand.serial += 1
    await stand.issue(application["id"])
    body = refused(await _start(stand, kind), "CARD_STATE", 409)
    assert "已换新卡" in body["detail"]
    await stand.centre.register("elsewhere", ("terminal",), region="120000")
    there = stand.centre.as_("elsewhere")
    start = {"kind": kind, "atr": atr(2)}
    refused(await there.post("/v1/card-sessions", json=start), "NOT_FOUND", 404)


async def test_a_failed_visit_changes_nothing(stand: BankStand, visits: list[dict[str, Any]]) -> None:
    number = await stand.card()
    ok(await stand.act(number, "holder", name="测试改"))
    outcome = await stand.centre.run(ok(await _start(stand, "rewrite"), 201), "6985")
    assert outcome["status"] == "failed"
    assert (await stand.view(number))["rewrite_pending"]
