"""Card sessions: stored before sent, repeatable, resumable, one at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, event

from cardlib.wire import SessionReply
from issuance.sessions import runner
from tests.issuance.conftest import Centre, atr, both_engines, ok, refused, reset

REAL_SCRIPTS = dict(runner.SCRIPTS)


async def _application(centre: Centre, serial: int = 1) -> str:
    application_id: str = ok(await centre.apply(serial), 201)["id"]
    return application_id


async def _state(centre: Centre, application_id: str) -> dict[str, Any]:
    state: dict[str, Any] = ok(await centre.as_("operator").get(f"/v1/applications/{application_id}"))
    return state


@both_engines
async def test_card_is_issued(centre: Centre, orders: list[dict[str, Any]]) -> None:
    (card,) = await centre.stock()
    application_id = await _application(centre)
    reply = ok(await centre.start(application_id, card), 201)
    assert SessionReply.model_validate(reply).batch is not None
    assert (reply["batch"]["sequence"], reply["batch"]["text_zh"]) == (1, "第1步")
    assert (await _state(centre, application_id))["state"] == "reserved"
    outcome = await centre.run(reply)
    assert outcome["status"] == "done"
    result = outcome["result"]
    assert result["card_number"] == "A00000011"
    assert result["name"] == "测*一"
    assert result["issue_date"] == "20260105"
    order = orders[0]
    assert (order["institution"], order["expiry_date"], order["card_class"]) == (
        "915600000211000011010002",
        "20360105",
        "3",
    )
    assert (order["name"], order["reset_information"]) == ("测试一", reset(1))
    state = await _state(centre, application_id)
    assert (state["state"], state["ecard_no"]) == ("enabled", result["ecard_no"])
    steps = [(step["step"], step["status"]) for step in state["steps"]]
    assert steps == [
        ("apply", "done"),
        ("check", "done"),
        ("reserve", "done"),
        ("card_data", "done"),
        ("personalize", "started"),
        ("personalize", "done"),
        ("read_back", "done"),
        ("print", "skipped"),
        ("return_data", "done"),
        ("enable", "done"),
        ("ecard", "done"),
        ("clean_up", "done"),
    ]
    view = ok(await centre.as_("operator").get("/v1/cards/A0000001-1"))
    assert (view["state"], view["state_name"], view["ecard_no"]) == ("1", "正常", result["ecard_no"])
    assert view["holder"]["name"] == "测*一"


async def test_issue_date_is_the_date_in_china(centre: Centre, orders: list[dict[str, Any]]) -> None:
    centre.clock.advance(15 * 3600 + 60)  # 16:01 UTC is after midnight in China
    (card,) = await centre.stock()
    ok(await centre.start(await _application(centre), card), 201)
    assert orders[0]["issue_date"] == "20260106"


@both_engines
async def test_repeated_answer_gets_the_stored_reply(centre: Centre) -> None:
    (card,) = await centre.stock()
    first = ok(await centre.start(await _application(centre), card), 201)["batch"]
    session_id = first["session_id"]
    second = ok(await centre.answer(session_id, 1, ["9000"]))
    assert ok(await centre.answer(session_id, 1, ["9000"])) == second
    refused(await centre.answer(session_id, 1, ["6F01"]), "CONFLICT", 409)
    refused(await centre.answer(session_id, 3, ["9000"]), "CONFLICT", 409)
    done = ok(await centre.answer(session_id, 2, ["9000"] * 3))
    assert done["outcome"]["status"] == "done"
    assert ok(await centre.answer(session_id, 2, ["9000"] * 3)) == done
    refused(await centre.answer(session_id, 1, ["9000"]), "CONFLICT", 409)


async def test_parallel_repeats_advance_once(centre: Centre, orders: list[dict[str, Any]]) -> None:
    (card,) = await centre.stock()
    session_id = ok(await centre.start(await _application(centre), card), 201)["batch"]["session_id"]
    replies = await asyncio.gather(*(centre.answer(session_id, 1, ["9000"]) for _ in range(6)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.text for reply in replies}) == 1
    assert len(orders) == 1


@both_engines
async def test_session_outlives_the_process(centre: Centre, orders: list[dict[str, Any]]) -> None:
    (card,) = await centre.stock()
    reply = ok(await centre.start(await _application(centre), card), 201)
    centre.restart()
    reply = ok(await centre.answer(reply["batch"]["session_id"], 1, ["9000"]))
    assert reply["batch"]["sequence"] == 2
    centre.restart()
    assert (await centre.run(reply))["status"] == "done"
    assert len(orders) == 3
    assert orders[0] == orders[1] == orders[2]


@both_engines
async def test_failed_commit_leaves_no_runner_ahead(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    (card,) = await centre.stock()
    reply = ok(await centre.start(await _application(centre), card), 201)
    session_id = reply["batch"]["session_id"]
    services = centre.app.state.services

    async def broken(*_: Any) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr("issuance.sessions.repository.SessionRepository.add_exchange", broken)
        refused(await centre.answer(session_id, 1, ["9000"]), "INTERNAL", 500)
    assert services.runners.take(session_id, 1) is None
    reply = ok(await centre.answer(session_id, 1, ["9000"]))
    assert (await centre.run(reply))["status"] == "done"


async def test_failure_leaves_a_stuck_step_and_the_same_blank_goes_on(
    centre: Centre, orders: list[dict[str, Any]]
) -> None:
    cards = await centre.stock(blanks=2, numbers=2)
    application_id = await _application(centre)
    outcome = await centre.run(ok(await centre.start(application_id, cards[0]), 201), "6985")
    assert (outcome["status"], outcome["failure"], outcome["detail"]) == ("failed", "COMMAND_REJECTED", "answered 6985")
    stuck = (await _state(centre, application_id))["steps"][-1]
    assert (stuck["step"], stuck["status"], stuck["reason"]) == ("personalize", "stuck", "COMMAND_REJECTED")
    assert (stuck["owner"], stuck["deadline"]) == ("terminal", "2026-01-06T01:00:00Z")
    refused(await centre.start(application_id, cards[1]), "CARD_MISMATCH", 409)
    centre.clock.advance(86400)
    outcome = await centre.run(ok(await centre.start(application_id, cards[0]), 201))
    assert outcome["status"] == "done"
    kept = ("card_number", "issue_date", "expiry_date", "reset_information")
    assert [orders[0][name] for name in kept] == [orders[1][name] for name in kept]
    assert orders[0]["seed"] != orders[1]["seed"]


async def test_broken_script_is_a_failure_without_words(centre: Centre) -> None:
    (card,) = await centre.stock()
    outcome = await centre.run(ok(await centre.start(await _application(centre), card), 201), "6F00")
    assert (outcome["failure"], outcome["detail"]) == ("INTERNAL", "RuntimeError")


async def test_fewer_answers_than_commands(centre: Centre) -> None:
    (card,) = await centre.stock()
    session_id = ok(await centre.start(await _application(centre), card), 201)["batch"]["session_id"]
    outcome = ok(await centre.answer(session_id, 1, []))["outcome"]
    assert outcome["failure"] == "CARD_REMOVED"


@both_engines
async def test_newer_session_supersedes(centre: Centre) -> None:
    (card,) = await centre.stock()
    application_id = await _application(centre)
    old = ok(await centre.start(application_id, card), 201)["batch"]["session_id"]
    new = ok(await centre.start(application_id, card), 201)
    refused(await centre.answer(old, 1, ["9000"]), "CONFLICT", 409)
    assert (await centre.run(new))["status"] == "done"


@both_engines
async def test_issued_application_tells_its_outcome_again(centre: Centre) -> None:
    cards = await centre.stock(blanks=2, numbers=2)
    application_id = await _application(centre)
    outcome = await centre.run(ok(await centre.start(application_id, cards[0]), 201))
    assert ok(await centre.start(application_id, cards[0]), 201)["outcome"] == outcome
    refused(await centre.start(application_id, cards[1]), "ALREADY_ISSUED", 409)


async def test_blank_of_another_application_region_or_generation(centre: Centre) -> None:
    cards = await centre.stock(blanks=1, numbers=2)
    first, second = await _application(centre, 1), await _application(centre, 2)
    refused(await centre.start(first, atr(99)), "BLANK_UNKNOWN", 409)
    ok(await centre.start(first, cards[0]), 201)
    refused(await centre.start(second, cards[0]), "CARD_MISMATCH", 409)
    body = {"delivery": "d2", "region": "120000", "reset_information": [reset(50)]}
    ok(await centre.as_("operator").post("/v1/blanks", json=body), 201)
    body = {"delivery": "d3", "region": "110000", "generation": "2.0", "reset_information": [reset(51)]}
    ok(await centre.as_("operator").post("/v1/blanks", json=body), 201)
    for serial in (50, 51):
        refused(await centre.start(second, atr(serial)), "CARD_MISMATCH", 409)
    assert (await _state(centre, second))["card_number"] is None


@both_engines
async def test_last_number_goes_to_one(centre: Centre) -> None:
    cards = await centre.stock(blanks=2, numbers=1)
    ids = [await _application(centre, 1), await _application(centre, 2)]
    answers = await asyncio.gather(*(centre.start(i, card) for i, card in zip(ids, cards, strict=True)))
    assert sorted(answer.status_code for answer in answers) == [201, 503]
    loser = next(answer for answer in answers if answer.status_code != 201)
    refused(loser, "NUMBER_POOL_EMPTY", 503)
    stock = ok(await centre.as_("operator").get("/v1/stock"))
    assert stock["blanks"][0]["in_stock"] == stock["blanks"][0]["reserved"] == 1


@both_engines
async def test_initialization_registers_the_blank(centre: Centre) -> None:
    body = {"kind": "initialization", "atr": atr(7), "generation": "2.0", "region": "130000"}
    for _ in range(2):  # a blank still in stock may be initialised again
        outcome = await centre.run(ok(await centre.as_("terminal").post("/v1/card-sessions", json=body), 201))
        assert outcome["result"]["generation"] == "2.0"
        stock = ok(await centre.as_("operator").get("/v1/stock"))
        assert [(row["region"], row["generation"], row["in_stock"]) for row in stock["blanks"]] == [
            ("130000", "2.0", 1)
        ]


async def test_issued_card_is_never_initialised(centre: Centre) -> None:
    await centre.stock()
    await centre.issue(1)
    body = {"kind": "initialization", "atr": atr(1), "region": "110000"}
    refused(await centre.as_("terminal").post("/v1/card-sessions", json=body), "ALREADY_ISSUED", 409)


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        ({"kind": "personalization", "atr": atr(1)}, "INPUT_INVALID", 400),
        ({"kind": "personalization", "atr": atr(1), "application_id": "0" * 32}, "NOT_FOUND", 404),
        ({"kind": "initialization", "atr": atr(1)}, "INPUT_INVALID", 400),
        ({"kind": "initialization", "atr": atr(1), "region": "440000"}, "REGION_UNKNOWN", 400),
        ({"kind": "initialization", "atr": "3B00", "region": "110000"}, "NOT_SOCIAL_SECURITY_CARD", 409),
        ({"kind": "initialization", "atr": "", "region": "110000"}, "NOT_SOCIAL_SECURITY_CARD", 409),
        ({"kind": "other", "atr": "3B00"}, "INPUT_INVALID", 422),
    ],
)
async def test_odd_starts(centre: Centre, body: dict[str, Any], code: str, status: int) -> None:
    refused(await centre.as_("terminal").post("/v1/card-sessions", json=body), code, status)


async def test_odd_answers(centre: Centre) -> None:
    (card,) = await centre.stock()
    await centre.register("terminal-2", ("terminal",))
    session_id = ok(await centre.start(await _application(centre), card), 201)["batch"]["session_id"]
    refused(await centre.answer(session_id, 1, ["9000"], terminal="terminal-2"), "CLIENT_FORBIDDEN", 403)
    refused(await centre.answer("0" * 32, 1, ["9000"]), "NOT_FOUND", 404)
    refused(await centre.answer(session_id, 1, ["9000"] * 2), "INPUT_INVALID", 400)
    refused(await centre.answer(session_id, 1, ["90"]), "INPUT_INVALID", 400)
    refused(await centre.answer(session_id, 1, ["9x00"]), "INPUT_INVALID", 422)
    wrong = {"session_id": "f" * 32, "sequence": 1, "responses": ["9000"]}
    refused(
        await centre.as_("terminal").post(f"/v1/card-sessions/{session_id}/responses", json=wrong), "INPUT_INVALID", 400
    )
    assert ok(await centre.answer(session_id, 1, ["9000"]))["batch"]["sequence"] == 2


async def test_commit_comes_before_the_answer(centre: Centre) -> None:
    """A card must never see commands that the centre then forgets."""
    (card,) = await centre.stock()
    application_id = await _application(centre)
    engine = centre.app.state.services.database.engine.sync_engine

    def fail(_connection: Connection) -> None:
        """The caller's assertion is spent by a statement that commits itself; this is the work."""
        raise ConnectionResetError

    event.listen(engine, "commit", fail)
    answer = await centre.start(application_id, card)
    event.remove(engine, "commit", fail)
    refused(answer, "INTERNAL", 500)
    assert (await _state(centre, application_id))["state"] == "checked"


@pytest.mark.parametrize("kind", ["initialization", "personalization"])
async def test_real_script_takes_the_order(centre: Centre, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The orders made here are the ones cardlib's scripts read; a chip that answers nonsense ends in a failure."""
    monkeypatch.setitem(runner.SCRIPTS, kind, REAL_SCRIPTS[kind])
    if kind == "personalization":
        (card,) = await centre.stock()
        reply = ok(await centre.start(await _application(centre), card), 201)
    else:
        body = {"kind": kind, "atr": atr(1), "region": "110000"}
        reply = ok(await centre.as_("terminal").post("/v1/card-sessions", json=body), 201)
    assert reply["batch"]["commands"]
    outcome = await centre.run(reply, "6D00")
    assert outcome["status"] == "failed"
    assert outcome["failure"] not in (None, "INTERNAL")
