"""Instant issue: printing after writing, steps that were done stay done, what is stuck says so and can be ended."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from issuance.applications.payments import FeeSystem
from issuance.cards.service import CardService
from issuance.problems import ProblemError
from issuance.rules import RuleBook, RulePack
from issuance.tasks import run_once
from tests.issuance.conftest import Centre, both_engines, ok, refused, reset

PRINTED = [
    *(("apply", "done"), ("check", "done"), ("reserve", "done"), ("card_data", "done"), ("personalize", "started")),
    *(("personalize", "done"), ("read_back", "done"), ("print", "started"), ("print", "done"), ("return_data", "done")),
    *(("enable", "done"), ("ecard", "done"), ("clean_up", "done")),
]


async def application(centre: Centre, serial: int = 1) -> str:
    return str(ok(await centre.apply(serial), 201)["id"])


async def begin(centre: Centre, application_id: str, atr: str, *, can_print: bool = True) -> httpx.Response:
    body = {"kind": "personalization", "atr": atr, "application_id": application_id, "can_print": can_print}
    return await centre.as_("terminal").post("/v1/card-sessions", json=body)


async def written(centre: Centre, application_id: str, atr: str) -> dict[str, Any]:
    """The print order of a card that is written."""
    reply = ok(await begin(centre, application_id, atr), 201)
    while reply["batch"]:
        batch = reply["batch"]
        answers = ["9000"] * len(batch["commands"])
        reply = ok(await centre.answer(batch["session_id"], batch["sequence"], answers))
    order: dict[str, Any] = reply["print_order"]
    return order


async def report(centre: Centre, order: dict[str, Any], status: str = "printed", **change: Any) -> httpx.Response:
    body = {name: order[name] for name in ("session_id", "sequence", "job_id")} | {"status": status} | change
    return await centre.as_("terminal").post(f"/v1/card-sessions/{order['session_id']}/print-reports", json=body)


async def next_action(
    centre: Centre, application_id: str, action: str | None = None, *, by: str = "operator", key: str = "next-action-1"
) -> httpx.Response:
    body = {} if action is None else {"action": action}
    path = f"/v1/applications/{application_id}/next-action"
    return await centre.as_(by).post(path, json=body, headers={"Idempotency-Key": key})


async def stuck(centre: Centre, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ok(await centre.as_("operator").get("/v1/applications/stuck", params=query))["items"]
    return found


async def view(centre: Centre, application_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ok(await centre.as_("operator").get(f"/v1/applications/{application_id}"))
    return found


def steps(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["step"], step["status"]) for step in found["steps"]]


async def stock(centre: Centre) -> tuple[dict[str, int], dict[str, int]]:
    found = ok(await centre.as_("operator").get("/v1/stock"))
    balance = ok(await centre.as_("operator").get("/v1/stock/balance", params={"day": "2026-01-05"}))
    assert balance["is_zero"], balance
    return tuple(  # type: ignore[return-value]
        {state: count for state, count in found[part][0].items() if type(count) is int and count}
        for part in ("blanks", "card_numbers")
    )


@both_engines
async def test_a_card_is_written_printed_and_enabled(centre: Centre, orders: list[dict[str, Any]]) -> None:
    (blank,) = await centre.stock()
    application_id = await application(centre)
    order = await written(centre, application_id, blank)
    face = order["face"]
    assert (face["name"], face["issuer"], face["card_number"]) == ("测试一", "北京市", orders[0]["card_number"])
    assert (await view(centre, application_id))["state"] == "verified"
    outcome = ok(await report(centre, order))["outcome"]
    assert (outcome["status"], outcome["result"]["outcome"]) == ("done", "issued")
    assert steps(await view(centre, application_id)) == PRINTED
    assert await stock(centre) == ({"used": 1}, {"used": 1})
    again = ok(await begin(centre, application_id, blank), 201)["outcome"]
    assert again["result"] == outcome["result"]


async def test_a_terminal_without_printer_skips_the_step(centre: Centre, orders: list[dict[str, Any]]) -> None:
    await centre.stock()
    result = await centre.issue()
    assert result["card_number"]
    (application_id,) = centre.store.sql("SELECT id FROM applications")[0]
    assert ("print", "skipped") in steps(await view(centre, application_id))


async def test_what_a_card_was_ordered_is_forgotten_when_it_is_issued(
    centre: Centre, orders: list[dict[str, Any]]
) -> None:
    await centre.stock()
    await centre.issue()
    assert centre.store.sql("SELECT sealed_order FROM card_sessions") == [(b"",)]
    assert len(centre.store.sql("SELECT session_id FROM card_session_exchanges")) == 1


@both_engines
async def test_a_report_is_taken_once_and_a_new_terminal_goes_on_with_the_same_job(
    centre: Centre, orders: list[dict[str, Any]]
) -> None:
    (blank,) = await centre.stock()
    application_id = await application(centre)
    lost = await written(centre, application_id, blank)
    centre.restart()
    order = ok(await begin(centre, application_id, blank), 201)["print_order"]
    assert order["job_id"] == lost["job_id"]
    refused(await report(centre, lost), "CONFLICT", 409)
    first = await report(centre, order, "already_printed")
    second = await report(centre, order, "already_printed")
    assert ok(first) == ok(second)
    refused(await report(centre, order, "failed"), "CONFLICT", 409)
    assert steps(await view(centre, application_id)).count(("enable", "done")) == 1


async def test_no_batch_and_no_wrong_job_while_the_printer_is_awaited(
    centre: Centre, orders: list[dict[str, Any]]
) -> None:
    (blank,) = await centre.stock()
    order = await written(centre, await application(centre), blank)
    refused(await centre.answer(order["session_id"], order["sequence"], []), "CONFLICT", 409)
    refused(await report(centre, order, job_id="0" * 32), "CONFLICT", 409)
    ok(await report(centre, order))


async def test_a_report_needs_something_to_print(centre: Centre, orders: list[dict[str, Any]]) -> None:
    blank, _ = await centre.stock(blanks=2)
    batch = ok(await begin(centre, await application(centre), blank), 201)["batch"]
    refused(await report(centre, batch | {"job_id": "0" * 32}), "APPLICATION_STATE", 409)


@both_engines
async def test_a_failed_print_is_stuck_with_its_words_and_goes_on(centre: Centre, orders: list[dict[str, Any]]) -> None:
    (blank,) = await centre.stock()
    application_id = await application(centre)
    order = await written(centre, application_id, blank)
    outcome = ok(await report(centre, order, "failed", failure="PRINT_FAILED"))["outcome"]
    assert (outcome["status"], outcome["failure"]) == ("failed", "PRINT_FAILED")
    (case,) = await stuck(centre)
    assert (case["application_id"], case["step"], case["owner"]) == (application_id, "print", "terminal")
    assert (case["reason"], case["text_zh"]) == ("PRINT_FAILED", "卡面没有打好")
    assert case["actions"][0]["action"] == "reprint"
    refused(await next_action(centre, application_id, "reinsert"), "APPLICATION_STATE", 409)
    ok(await next_action(centre, application_id))
    assert await stuck(centre) == []
    again = ok(await begin(centre, application_id, blank), 201)["print_order"]
    assert again["job_id"] != order["job_id"]
    ok(await report(centre, again))
    assert (await view(centre, application_id))["state"] == "enabled"


@pytest.mark.parametrize(("action", "status"), [("confirm_print", "done"), ("skip_print", "skipped")])
async def test_a_clerk_who_saw_the_card_ends_the_case(
    centre: Centre, orders: list[dict[str, Any]], action: str, status: str
) -> None:
    (blank,) = await centre.stock()
    application_id = await application(centre)
    order = await written(centre, application_id, blank)
    ok(await report(centre, order, "failed", failure="PRINTER_JAM"))
    done = ok(await next_action(centre, application_id, action))
    assert (done["state"], ("print", status) in steps(done)) == ("enabled", True)
    outcome = ok(await begin(centre, application_id, blank), 201)["outcome"]
    assert (outcome["status"], outcome["result"]["ecard_no"]) == ("done", done["ecard_no"])


@both_engines
async def test_a_card_that_cannot_be_enabled_keeps_what_was_done(
    centre: Centre, orders: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (blank,) = await centre.stock()
    application_id = await application(centre)
    order = await written(centre, application_id, blank)
    good = CardService.enable

    async def bad(self: CardService, *arguments: Any) -> Any:
        await good(self, *arguments)
        raise ProblemError("CARD_STATE", "the old card is locked")

    monkeypatch.setattr(CardService, "enable", bad)
    outcome = ok(await report(centre, order))["outcome"]
    assert (outcome["status"], outcome["failure"]) == ("failed", "CARD_STATE")
    found = await view(centre, application_id)
    assert found["state"] == "verified"
    assert steps(found)[-2:] == [("print", "done"), ("enable", "stuck")]
    assert await stock(centre) == ({"reserved": 1}, {"reserved": 1})
    ok(await next_action(centre, application_id, key="still-refused"))
    assert (await stuck(centre))[0]["reason"] == "CARD_STATE"
    monkeypatch.setattr(CardService, "enable", good)
    assert ok(await next_action(centre, application_id))["state"] == "enabled"
    assert (await stuck(centre), await stock(centre)) == ([], ({"used": 1}, {"used": 1}))


@both_engines
async def test_a_mark_is_cancelled_only_while_nothing_was_written(centre: Centre, orders: list[dict[str, Any]]) -> None:
    first, second = await centre.stock(blanks=2, numbers=2)
    untouched, touched = await application(centre, 1), await application(centre, 2)
    batch = ok(await begin(centre, untouched, first), 201)["batch"]
    other = ok(await begin(centre, touched, second), 201)["batch"]
    ok(await centre.answer(other["session_id"], 1, ["9000"]))
    after = ok(await next_action(centre, untouched, "cancel_mark"))
    assert (after["state"], after["card_number"]) == ("checked", None)
    assert await stock(centre) == ({"in_stock": 1, "reserved": 1}, {"free": 1, "reserved": 1})
    refused(await centre.answer(batch["session_id"], 1, ["9000"]), "CONFLICT", 409)
    refused(await next_action(centre, touched, "cancel_mark"), "APPLICATION_STATE", 409)
    outcome = await centre.run(ok(await begin(centre, untouched, first, can_print=False), 201))
    assert outcome["status"] == "done"


async def test_silence_is_a_case_when_its_deadline_is_over(centre: Centre, orders: list[dict[str, Any]]) -> None:
    blanks = await centre.stock(blanks=3, numbers=3)
    ids = [await application(centre, serial) for serial in (1, 2, 3)]
    for application_id, blank in zip(ids, blanks, strict=True):
        ok(await begin(centre, application_id, blank), 201)
        centre.clock.advance(60)
    assert await stuck(centre) == []
    centre.clock.advance(24 * 3600)
    cases = await stuck(centre)
    assert [case["application_id"] for case in cases] == ids
    assert {(case["reason"], case["is_overdue"]) for case in cases} == {("TIMEOUT", True)}
    operator = centre.as_("operator")
    page = ok(await operator.get("/v1/applications/stuck", params={"limit": 2}))
    rest = ok(await operator.get("/v1/applications/stuck", params={"limit": 2, "cursor": page["next_cursor"]}))
    assert [case["application_id"] for case in page["items"] + rest["items"]] == ids
    assert rest["next_cursor"] is None
    assert await stuck(centre, owner="nobody") == await stuck(centre, region="120000") == []
    ok(await next_action(centre, ids[0], "reinsert"))
    assert [case["application_id"] for case in await stuck(centre)] == ids[1:]
    final = ok(await next_action(centre, ids[1], "write_off_final"))
    assert final["state"] == "written_off"
    assert await stock(centre) == ({"reserved": 2, "spoiled": 1}, {"reserved": 2, "void": 1})
    refused(await next_action(centre, ids[2], "write_off_final", by="terminal"), "CLIENT_FORBIDDEN", 403)
    refused(await next_action(centre, ids[1], key="on-a-final-one"), "APPLICATION_STATE", 409)


async def test_cases_of_elsewhere_are_hidden_and_refused(centre: Centre, orders: list[dict[str, Any]]) -> None:
    (blank,) = await centre.stock()
    application_id = await application(centre)
    ok(await begin(centre, application_id, blank), 201)
    centre.clock.advance(48 * 3600)
    await centre.register("elsewhere", ("operator",), "130000")
    assert ok(await centre.as_("elsewhere").get("/v1/applications/stuck"))["items"] == []
    refused(await next_action(centre, application_id, "reinsert", by="elsewhere"), "NOT_FOUND", 404)


# -- fees -------------------------------------------------------------------------------------------------------------


class FeeOffice:
    """A fee system whose next answers are set by the test: status codes, or results."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.path.rpartition("/")[2], json.loads(request.content)))
        answer = self.answers.pop(0) if self.answers else {"result": "done"}
        return httpx.Response(answer) if isinstance(answer, int) else httpx.Response(200, json=answer)


@pytest.fixture
def fees(centre: Centre) -> FeeOffice:
    """A fee of 20 yuan for first cards, and a fee system that is told of it."""
    office = FeeOffice()
    services = centre.app.state.services
    pack = services.rules.pack("110000")
    versions = tuple(
        rules.model_copy(update={"fees_fen": rules.fees_fen.model_copy(update={"new": 2000})})
        for rules in pack.versions
    )
    system = FeeSystem("http://fees.example", transport=httpx.MockTransport(office))
    centre.app.state.services = replace(
        services,
        rules=RuleBook({"110000": RulePack(pack.issuer, versions)}),
        receivers=dict(services.receivers) | {"payment": system},
    )
    return office


async def deliver(centre: Centre) -> None:
    centre.clock.advance(3600)
    await run_once(centre.app.state.services)


@both_engines
async def test_a_fee_is_registered_before_the_card_is_begun_and_goes_back(
    centre: Centre, orders: list[dict[str, Any]], fees: FeeOffice
) -> None:
    (blank,) = await centre.stock()
    application_id = await application(centre)
    refused(await begin(centre, application_id, blank), "PAYMENT_PENDING", 409)
    fees.answers = [503, {"result": "already"}]
    await deliver(centre)
    refused(await begin(centre, application_id, blank), "PAYMENT_PENDING", 409)
    await deliver(centre)
    assert steps(await view(centre, application_id))[-2:] == [("payment", "started"), ("payment", "done")]
    ok(await begin(centre, application_id, blank), 201)
    ok(await next_action(centre, application_id, "write_off_final"))
    fees.answers = [503]
    await deliver(centre)
    centre.clock.advance(24 * 3600)
    (case,) = await stuck(centre)
    assert (case["step"], case["state"], case["reason"]) == ("cancel_payment", "written_off", "TIMEOUT")
    await deliver(centre)
    assert await stuck(centre) == []
    assert steps(await view(centre, application_id))[-1] == ("cancel_payment", "undone")
    bodies = dict(fees.asked)
    assert [act for act, _ in fees.asked] == ["register", "register", "cancel", "cancel"]
    assert bodies["cancel"] == {"key": f"{application_id}:cancel", "application_id": application_id, "amount_fen": 2000}


async def test_a_refused_fee_is_a_case_that_a_person_ends(
    centre: Centre, orders: list[dict[str, Any]], fees: FeeOffice
) -> None:
    (blank,) = await centre.stock()
    application_id = await application(centre)
    fees.answers = [{"result": "refused", "reason": "ACCOUNT_CLOSED"}, {"result": "refused", "reason": "AGAIN"}]
    await deliver(centre)
    refused(await begin(centre, application_id, blank), "PAYMENT_REFUSED", 409)
    (case,) = await stuck(centre)
    assert (case["step"], case["reason"]) == ("payment", "PAYMENT_REFUSED")
    ok(await next_action(centre, application_id, key="once-more"))
    await deliver(centre)
    assert (await stuck(centre))[0]["step"] == "payment"
    ok(await next_action(centre, application_id, "settle_by_hand"))
    assert await stuck(centre) == []
    ok(await begin(centre, application_id, blank), 201)


async def test_a_rejected_application_gets_its_fee_back(
    centre: Centre, orders: list[dict[str, Any]], fees: FeeOffice
) -> None:
    application_id = await application(centre)
    await deliver(centre)
    ok(await centre.as_("operator").post(f"/v1/applications/{application_id}/reject", json={"reason": "moved away"}))
    await deliver(centre)
    assert [act for act, _ in fees.asked] == ["register", "cancel"]
    refused(await next_action(centre, application_id, "settle_by_hand"), "APPLICATION_STATE", 409)


async def test_without_fee_system_the_till_is_enough(
    centre: Centre, orders: list[dict[str, Any]], fees: FeeOffice
) -> None:
    centre.app.state.services = replace(centre.app.state.services, receivers={})
    (blank,) = await centre.stock()
    application_id = await application(centre)
    ok(await begin(centre, application_id, blank), 201)
    ok(await centre.write_off(application_id, reset(1), is_final=True))
    assert steps(await view(centre, application_id))[-2:] == [("write_off", "undone"), ("cancel_payment", "undone")]
    assert fees.asked == []


async def test_a_severed_connection_stores_nothing(
    centre: Centre, orders: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await centre.stock()
    monkeypatch.setenv("ONECARD_CRASH_AT", "sever:check.done")
    refused(await centre.apply(), "DATABASE_UNAVAILABLE", 503)
    assert centre.store.sql("SELECT id FROM applications") == []
    ok(await centre.apply(), 201)
