"""Applications: one per person, checked, idempotent, written off without losing anything."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cardlib.identity import card_number, citizen_number
from tests.issuance.conftest import GUARDIAN, Centre, application, both_engines, ok, refused, reset


async def test_apply_and_view(centre: Centre) -> None:
    created = ok(await centre.apply(), 201)
    assert created["state"] == "checked"
    assert [(step["step"], step["status"]) for step in created["steps"]] == [("apply", "done"), ("check", "done")]
    assert created["card_class"] == "3"
    assert created["person"]["name"] == "测*一"
    assert created["person"]["social_security_number"].startswith("**************")
    assert ok(await centre.as_("terminal").get(f"/v1/applications/{created['id']}")) == created


@both_engines
async def test_same_key_same_answer_other_body_conflict(centre: Centre) -> None:
    first = ok(await centre.apply(1, key="key-0000001"), 201)
    assert ok(await centre.apply(1, key="key-0000001"), 201) == first
    refused(await centre.apply(2, key="key-0000001"), "IDEMPOTENCY_CONFLICT", 409)
    centre.clock.advance(25 * 3600)
    refused(await centre.apply(1, key="key-0000001"), "CONFLICT", 409)  # kept for a day, the person for ever


async def test_key_belongs_to_its_client(centre: Centre) -> None:
    await centre.register("operator-2", ("operator",))
    ok(await centre.apply(1, key="key-0000001"), 201)
    other = await centre.as_("operator-2").post(
        "/v1/applications", json=application(2), headers={"Idempotency-Key": "key-0000001"}
    )
    ok(other, 201)


async def test_key_is_needed(centre: Centre) -> None:
    refused(await centre.as_("operator").post("/v1/applications", json=application()), "INPUT_INVALID", 422)


async def test_refusal_does_not_spend_the_key(centre: Centre) -> None:
    refused(await centre.apply(1, key="key-0000001", region="440000"), "REGION_UNKNOWN", 400)
    ok(await centre.apply(1, key="key-0000001"), 201)


async def test_one_open_application_per_person(centre: Centre) -> None:
    created = ok(await centre.apply(1), 201)
    body = refused(await centre.apply(1, key="another-key"), "CONFLICT", 409)
    assert created["id"] in body["detail"]


@both_engines
async def test_parallel_applications_of_a_person(centre: Centre) -> None:
    answers = await asyncio.gather(*(centre.apply(1, key=f"parallel-{n}") for n in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


@both_engines
async def test_parallel_requests_with_one_key(centre: Centre) -> None:
    answers = await asyncio.gather(*(centre.apply(1, key="parallel-same") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1


@both_engines
async def test_no_second_card_while_one_lives(centre: Centre) -> None:
    await centre.stock()
    await centre.issue(1)
    refused(await centre.apply(1, key="second-card"), "ALREADY_ISSUED", 409)


@pytest.mark.parametrize(
    ("person", "word"),
    [
        ({"social_security_number": "990100199001010019"}, "check digit"),
        ({"social_security_number": citizen_number("99010019901301001")}, "birth date"),
        ({"birth_date": "19900102"}, "birth_date"),
        ({"birth_date": "19900230"}, "birth_date"),
        ({"sex": "2"}, "sex"),
        ({"name": "   "}, "name"),
        ({"name": "測" * 26}, "name"),
        ({"name": "测\x00甲"}, "name"),
        ({"ethnic_group": "88"}, "ethnic_group"),
    ],
)
async def test_checks_name_the_field_and_not_the_value(centre: Centre, person: dict[str, Any], word: str) -> None:
    body = refused(await centre.apply(1, person=person), "INPUT_INVALID", 400)
    assert word in body["detail"]
    assert next(iter(person.values())) not in body["detail"]


async def test_future_birth(centre: Centre) -> None:
    born = {"social_security_number": citizen_number("99010020270101001"), "birth_date": "20270101"}
    assert "future" in refused(await centre.apply(1, person=born), "INPUT_INVALID", 400)["detail"]


async def test_assigned_number_tells_no_birth(centre: Centre) -> None:
    ok(await centre.apply(1, person={"social_security_number": "USA100000012345678", "sex": "2"}), 201)


@pytest.mark.parametrize(("born", "expected"), [("20220601", "1"), ("20150601", "2"), ("20091231", "3")])
async def test_card_class_follows_the_age(centre: Centre, born: str, expected: str) -> None:
    person = {"social_security_number": citizen_number(f"990100{born}001"), "birth_date": born}
    guardian = {} if expected == "3" else {"guardian": GUARDIAN}
    assert ok(await centre.apply(1, person=person, **guardian), 201)["card_class"] == expected


@pytest.mark.parametrize(
    "items",
    [
        {"SSSEEF05": {"07": "A00000011"}},
        {"DF01EF05": {"FE": "1"}},
        {"DF09EF05": {"20": "1"}},
        {"DF01EF05": {"20": "not a code"}},
        {"DF01EF05": {"20": {"20": "1"}}},
        {"DF01EF05": {"20": None, "0E": ["x"]}},
        {"DF06EF05": {"C0": "1"}},  # an optional application: the card has none
        {"DF01EF08": {"2B": "7"}},  # not a file of records
        {"DF03EF19": {"79": [{}] * 5}},
    ],
)
async def test_items_must_fit_the_card(centre: Centre, items: dict[str, Any]) -> None:
    refused(await centre.apply(1, items=items), "INPUT_INVALID", 400)


async def test_an_item_may_be_repeated(centre: Centre, orders: list[dict[str, Any]]) -> None:
    (card,) = await centre.stock()
    items = {"DF03EF19": {"79": [{"scheme": "110"}, {"scheme": "310"}]}}
    application_id = ok(await centre.apply(1, items=items), 201)["id"]
    ok(await centre.start(application_id, card), 201)
    assert orders[0]["items"] == items


async def test_shape_errors_echo_no_name_the_caller_made_up(centre: Centre) -> None:
    items = {"张三 990100199001010012": {}, "DF01EF05": {"李四": "1"}}
    body = refused(await centre.apply(1, items=items, 王五=1), "INPUT_INVALID", 422)
    assert sorted(field["location"] for field in body["fields"]) == ["body", "body.items", "body.items"]
    headers = {"Content-Type": "application/json"}
    odd = await centre.as_("operator").post("/v1/blanks", content=b'{"\\ud800":1}', headers=headers)
    refused(odd, "INPUT_INVALID", 422)


async def test_shape_errors_echo_no_value(centre: Centre) -> None:
    body = refused(await centre.apply(1, person={"birthplace": "SECRET"}), "INPUT_INVALID", 422)
    (field,) = body["fields"]
    assert (field["location"], field["reason"]) == ("body.person.birthplace", "string_pattern_mismatch")
    assert "SECRET" not in str(body)
    refused(await centre.apply(1, surprise=1), "INPUT_INVALID", 422)


@both_engines
async def test_write_off_frees_the_application(centre: Centre, orders: list[dict[str, Any]]) -> None:
    first, second = await centre.stock(blanks=2, numbers=2)
    application_id = ok(await centre.apply(1), 201)["id"]
    batch = ok(await centre.start(application_id, first), 201)["batch"]
    after = ok(await centre.write_off(application_id, reset(1)))
    assert (after["state"], after["card_number"], after["reset_information"]) == ("checked", None, None)
    assert after["steps"][-1]["step"] == "write_off"
    refused(await centre.answer(batch["session_id"], 1, ["9000"]), "CONFLICT", 409)
    outcome = await centre.run(ok(await centre.start(application_id, second), 201))
    assert outcome["result"]["card_number"] == orders[-1]["card_number"] == card_number("A0000002")
    stock = ok(await centre.as_("operator").get("/v1/stock"))
    assert stock["blanks"] == [
        {"region": "110000", "generation": "3.0", "in_stock": 0, "reserved": 0, "used": 1, "spoiled": 1}
    ]
    assert stock["card_numbers"] == [
        {"region": "110000", "free": 0, "reserved": 0, "used": 1, "locked": 0, "void": 1, "is_low": True}
    ]
    refused(await centre.write_off(application_id, reset(2), key="issued-already"), "APPLICATION_STATE", 409)


@both_engines
async def test_repeated_write_off_spares_the_next_card(centre: Centre) -> None:
    first, second = await centre.stock(blanks=2, numbers=2)
    application_id = ok(await centre.apply(1), 201)["id"]
    ok(await centre.start(application_id, first), 201)
    answer = await centre.write_off(application_id, reset(1))
    assert "idempotency-replayed" not in answer.headers
    again = ok(await centre.start(application_id, second), 201)
    repeated = await centre.write_off(application_id, reset(1))
    assert ok(repeated) == ok(answer)
    assert repeated.headers["idempotency-replayed"] == "true"
    refused(await centre.write_off(application_id, reset(1), key="another-try"), "CARD_MISMATCH", 409)
    refused(await centre.write_off(application_id, reset(2)[:-1], key="another-try"), "INPUT_INVALID", 422)
    stock = ok(await centre.as_("operator").get("/v1/stock"))["blanks"][0]
    assert (stock["spoiled"], stock["reserved"]) == (1, 1)
    assert (await centre.run(again))["status"] == "done"


async def test_write_off_forgets_the_script_once_it_is_stored(centre: Centre) -> None:
    (card,) = await centre.stock()
    application_id = ok(await centre.apply(1), 201)["id"]
    session_id = ok(await centre.start(application_id, card), 201)["batch"]["session_id"]
    ok(await centre.write_off(application_id, reset(1)))
    assert centre.app.state.services.runners.take(session_id, 1) is None


async def test_final_write_off_ends_the_application(centre: Centre) -> None:
    (card,) = await centre.stock()
    application_id = ok(await centre.apply(1), 201)["id"]
    ok(await centre.start(application_id, card), 201)
    ended = ok(await centre.write_off(application_id, reset(1), by="operator", is_final=True))
    assert ended["state"] == "written_off"
    refused(await centre.start(application_id, card), "APPLICATION_STATE", 409)
    ok(await centre.apply(1, key="new-start"), 201)


async def test_reject_only_before_a_card_is_bound(centre: Centre) -> None:
    (card,) = await centre.stock()
    application_id = ok(await centre.apply(1), 201)["id"]
    ok(await centre.start(application_id, card), 201)
    path = f"/v1/applications/{application_id}/reject"
    refused(await centre.as_("operator").post(path, json={"reason": "no"}), "APPLICATION_STATE", 409)
    other = ok(await centre.apply(2), 201)["id"]
    ended = ok(await centre.as_("operator").post(f"/v1/applications/{other}/reject", json={"reason": "photo"}))
    assert ended["state"] == "rejected"
    refused(await centre.as_("terminal").post(path, json={"reason": "no"}), "CLIENT_FORBIDDEN", 403)


async def test_unknown_application(centre: Centre) -> None:
    refused(await centre.as_("operator").get(f"/v1/applications/{'0' * 32}"), "NOT_FOUND", 404)
