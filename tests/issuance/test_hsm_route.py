"""The security-module route of the centre: real Step strings of a card in, pKeys out, settlements accounted for."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from cardlib.driver_hsm import HsmSteps
from hsm.api import KeyService
from simulators.card import Algorithm
from tests.cardlib.driver_stand import ADDRESSES, INFO, card, steps
from tests.cardlib.driver_stand import keys as driver_keys
from tests.issuance.conftest import Centre, both_engines, ok, refused

RESET = "00FE00000086FE990100000001"
CARD = {
    "identification_code": INFO.split("|")[0],
    "card_number": INFO.split("|")[1],
    "reset_information": RESET,
}
PAY = "0.1|0.2|20250316101500|"


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> KeyService:
    """The issuer's own keys, which the cards of the tests carry, under the terminals' address plan."""
    monkeypatch.setenv("ONECARD_ISSUANCE_HSM_ADDRESSES", json.dumps(ADDRESSES))
    return driver_keys()


async def ask(centre: Centre, what: str, step: str, *, by: str = "terminal", **change: Any) -> httpx.Response:
    body = {"step": step} if what == "basic-information" else {"card": CARD | change, "step": step}
    return await centre.as_(by).post(f"/v1/hsm/{what}", json=body)


async def settle(centre: Centre) -> tuple[dict[str, Any], str, HsmSteps]:
    """The order and the text of Step2 of one settlement."""
    _, flow = steps(card(Algorithm.SM4, pin=""))
    order = ok(await ask(centre, "debits", flow.do_debit_step1(INFO, PAY)[1]), 201)
    code, text = flow.do_debit_step2(order["pkey"])
    assert code == 0, text
    return order, text, flow


async def end(centre: Centre, number: int, outcome: str = "done", *codes: str, by: str = "terminal") -> httpx.Response:
    body = {"outcome": outcome} | dict(zip(("mac2", "tac"), codes, strict=False))
    return await centre.as_(by).post(f"/v1/hsm/debits/{number}/outcome", json=body)


@pytest.mark.parametrize("algorithm", [Algorithm.TRIPLE_DES, Algorithm.SM4])
async def test_every_step_is_answered_and_audited(centre: Centre, algorithm: Algorithm) -> None:
    _, flow = steps(card(algorithm), "975318642046")
    pkey = ok(await ask(centre, "basic-information", flow.read_card_bas_step1()[1]))["pkey"]
    assert flow.read_card_bas_step2(pkey)[0] == 0
    pkey = ok(await ask(centre, "authentications", flow.read_card_step1(INFO, "SSSEEF08|$")[1]))["pkey"]
    assert flow.read_card_step2(pkey)[0] == 0
    pkey = ok(await ask(centre, "authentications", flow.reload_pin_step1(INFO)[1]))["pkey"]
    pkey = ok(await ask(centre, "pin-commands", flow.reload_pin_step2(pkey)[1]))["pkey"]
    assert flow.reload_pin_step3(pkey) == (0, "")
    entries = ok(await centre.as_("operator").get("/v1/audit", params={"subject": f"chip:{RESET}"}))
    assert [entry["act"] for entry in entries] == [
        "hsm.pin_command",
        "hsm.authentication",
        "hsm.authentication",
        "hsm.basic",
    ]
    assert entries[0]["detail"] == {"key": "STK"}
    assert b"975318642046" not in centre.store.stored()


@both_engines
async def test_a_settlement_is_ordered_once_and_ended_by_its_proof(centre: Centre) -> None:
    order, text, _ = await settle(centre)
    assert order["number"] > 0x80000000
    assert order["pkey"].startswith(f"{order['number']:08X}|20250316101500|")
    items = text.split("|")
    open_orders = ok(await centre.as_("terminal").get("/v1/hsm/debits", params={"state": "open"}))
    assert [(o["number"], o["pooling"], o["card"]) for o in open_orders] == [(order["number"], 20, CARD)]
    refused(await end(centre, order["number"], "done", "00000000", items[-2]), "SECURE_MESSAGING_FAILED", 502)
    refused(await end(centre, order["number"], "done", items[0], "00000000"), "SECURE_MESSAGING_FAILED", 502)
    for _ in range(2):
        done = ok(await end(centre, order["number"], "done", items[0], items[-2]))
        assert (done["state"], done["tac"]) == ("done", items[-2])
    refused(await end(centre, order["number"], "void"), "CONFLICT", 409)
    assert ok(await centre.as_("operator").get("/v1/hsm/debits", params={"state": "open"})) == []


@both_engines
async def test_the_same_request_is_the_same_order(centre: Centre) -> None:
    _, flow = steps(card(Algorithm.SM4, pin=""))
    step = flow.do_debit_step1(INFO, PAY)[1]
    orders = [ok(answer, 201) for answer in await asyncio.gather(*(ask(centre, "debits", step) for _ in range(4)))]
    assert all(order == orders[0] for order in orders)
    other = ok(await ask(centre, "debits", flow.do_debit_step1(INFO, PAY)[1]), 201)
    assert other["number"] != orders[0]["number"]
    ok(await end(centre, orders[0]["number"], "void"))
    refused(await ask(centre, "debits", step), "CONFLICT", 409)


async def test_a_proof_outranks_what_was_said_before(centre: Centre) -> None:
    order, text, _ = await settle(centre)
    items = text.split("|")
    ok(await end(centre, order["number"], "void"))
    refused(await end(centre, order["number"], "logged"), "CONFLICT", 409)
    assert ok(await end(centre, order["number"], "done", items[0], items[-2]))["state"] == "done"


async def test_orders_belong_to_their_terminal(centre: Centre) -> None:
    await centre.register("other", ("terminal",))
    order, text, _ = await settle(centre)
    items = text.split("|")
    refused(await end(centre, order["number"], "done", items[0], items[-2], by="other"), "NOT_FOUND", 404)
    assert ok(await centre.as_("other").get("/v1/hsm/debits")) == []
    assert len(ok(await centre.as_("operator").get("/v1/hsm/debits"))) == 1


async def test_only_terminals_ask_and_only_in_their_region_for_what_changes_a_card(centre: Centre) -> None:
    await centre.register("hebei", ("terminal",), "130000")
    _, flow = steps(card(Algorithm.SM4))
    step = flow.read_card_step1(INFO, "SSSEEF06|08|$")[1]
    for role in ("operator", "wallet", "verifier"):
        refused(await ask(centre, "authentications", step, by=role), "CLIENT_FORBIDDEN", 403)
    ok(await ask(centre, "authentications", step, by="hebei"))
    for line in (flow.write_card_step1(INFO, "DF01EF06|28|$")[1], flow.unblock_pin_step1(INFO)[1]):
        refused(await ask(centre, "authentications", line, by="hebei"), "CLIENT_FORBIDDEN", 403)
        ok(await ask(centre, "authentications", line))


async def test_what_is_no_step_is_refused(centre: Centre) -> None:
    factors = f"{'A1' * 8}|{'B2' * 8}|"
    for line in ("x", f"03|BK|{factors}", f"03|DSK|{factors}", f"03|LKDF04|{factors}", f"02|RK_SSSE|{factors}"):
        refused(await ask(centre, "authentications", line), "INPUT_INVALID", 400)
    refused(await ask(centre, "pin-commands", f"03|STK|{'A1' * 8}|8416000004||"), "INPUT_INVALID", 400)
    refused(await ask(centre, "authentications", f"03|RK9|{factors}"), "KEY_NOT_FOUND", 503)
    refused(await ask(centre, "authentications", "甲"), "INPUT_INVALID", 422)
    refused(await end(centre, 0x80000000 + 77, "void"), "NOT_FOUND", 404)
    refused(await end(centre, 0x80000000 + 1, "done"), "INPUT_INVALID", 422)


async def test_a_card_of_the_books_must_be_itself_and_in_use(centre: Centre, orders: list[dict[str, Any]]) -> None:
    await centre.stock()
    result = await centre.issue()
    store = centre.store
    ((chip, code),) = store.sql("SELECT reset_information, identification_code FROM cards")
    mine = {"reset_information": chip, "identification_code": code, "card_number": result["card_number"]}
    step = f"03|{ADDRESSES['RK_SSSE']}|{'A1' * 8}|{'B2' * 8}|"
    ok(await ask(centre, "authentications", step, **mine))
    other = mine | {"identification_code": CARD["identification_code"]}
    refused(await ask(centre, "authentications", step, **other), "CARD_MISMATCH", 409)
    store.sql("UPDATE cards SET state = '2'")
    refused(await ask(centre, "authentications", step, **mine), "CARD_STATE", 409)


async def test_use_is_limited_and_told(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = centre.app.state.services.hsm_uses
    monkeypatch.setattr(limit, "_limit", 2)
    step = f"03|{ADDRESSES['RK_SSSE']}|{'A1' * 8}|{'B2' * 8}|"
    for _ in range(2):
        ok(await ask(centre, "authentications", step))
    refused(await ask(centre, "authentications", step), "REQUEST_LIMIT", 429)
    await centre.register("other", ("terminal",))
    ok(await ask(centre, "authentications", step, by="other"))
    centre.clock.advance(61)
    ok(await ask(centre, "authentications", step))
