"""Collection: who applies for whom, where, through which channel; the population register; newborns."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from cardlib.identity import citizen_number
from issuance.identity.adapters import UNAVAILABLE, IdentityAnswer, IdentityOutcome
from issuance.identity.service import recheck_waiting
from issuance.persons.schemas import PersonData
from tests.issuance.conftest import GUARDIAN, Centre, application, both_engines, ok, refused

CHILD = {
    "social_security_number": citizen_number("99010020150601001"),
    "birth_date": "20150601",
    "name": "测试小",
}
MOTHER = {"name": "测试母", "social_security_number": citizen_number("99010019870202002"), "telephone": "13900000000"}
BABY_NUMBER = citizen_number("99010020251220002")
BABY = {"sex": "2", "birth_date": "20251220", "birthplace": "990100", "ethnic_group": "01"}
NEWBORN = {
    "region": "110000",
    "certificate_number": "Z990000001",
    "hospital": "示例妇幼保健院",
    "child": BABY,
    "mother": MOTHER,
    "applicant": "mother",
}
NAMED = {"name": "测试宝", "social_security_number": BABY_NUMBER}


class Register:
    """Answers as told, and remembers who was asked about."""

    def __init__(self, outcome: str = "matches") -> None:
        self.outcome = outcome
        self.asked: list[PersonData] = []

    async def ask(self, person: PersonData) -> IdentityAnswer:
        self.asked.append(person)
        return IdentityAnswer(
            outcome=IdentityOutcome(self.outcome), reference="" if self.outcome == "unavailable" else "R1"
        )

    async def close(self) -> None:
        return None


@pytest.fixture
def register(centre: Centre) -> Register:
    made = Register()
    centre.app.state.services = replace(centre.app.state.services, identity=made)
    return made


def reasons(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(field["location"], field["reason"]) for field in body["fields"]]


async def post(
    centre: Centre, path: str, body: dict[str, Any], *, by: str = "operator", key: str = "key-00000001"
) -> httpx.Response:
    return await centre.as_(by).post(path, json=body, headers={"Idempotency-Key": key})


# -- the request ------------------------------------------------------------------------------------------------------


@both_engines
async def test_a_child_with_guardian_by_post(centre: Centre) -> None:
    body = {
        "person": CHILD,
        "guardian": GUARDIAN,
        "delivery": {"way": "post", "recipient": "测试父", "telephone": "010-12345678", "address": "示例市示例路1号"},
        "with_ecard": False,
    }
    created = ok(await centre.apply(1, **body), 201)
    assert (created["kind"], created["channel"], created["delivery"]) == ("new", "counter", "post")
    assert created["with_ecard"] is False
    assert created["guardian"] == {"name": "测*父", "social_security_number": "**************0016"}
    stored = centre.store.stored()
    for secret in ("示例路", "测试父", GUARDIAN["social_security_number"]):
        assert secret.encode() not in stored


async def test_every_wrong_field_is_told_at_once(centre: Centre) -> None:
    body = refused(
        await centre.apply(
            1,
            region="130000",
            channel="kiosk",
            person=CHILD | {"sex": "2", "telephone": "12345"},
            agent={"name": "1", "social_security_number": "1" * 18, "telephone": "00000"},
            delivery={"way": "post"},
            items={"DF01EF05": {"FE": "1"}, "DF09EF05": {}},
        ),
        "INPUT_INVALID",
        400,
    )
    assert reasons(body) == [
        ("body.person.sex", "sex_differs"),
        ("body.person.telephone", "telephone"),
        ("body.guardian", "guardian_missing"),
        ("body.agent.name", "name_character"),
        ("body.agent.telephone", "telephone"),
        ("body.agent.social_security_number", "number_check_digit"),
        ("body.delivery.way", "delivery_post"),
        ("body.delivery.recipient", "delivery_address"),
        ("body.delivery.telephone", "delivery_address"),
        ("body.delivery.address", "delivery_address"),
        ("body.items.DF01EF05.FE", "item_value"),
        ("body.items.DF09EF05", "item_file"),
        ("body.photo_id", "photo_missing"),
    ]


async def test_the_electronic_card_is_left_out_when_not_wanted(centre: Centre) -> None:
    cards = await centre.stock(blanks=2, numbers=2)
    for serial, wanted in ((1, True), (2, False)):
        created = ok(await centre.apply(serial, with_ecard=wanted), 201)
        outcome = await centre.run(ok(await centre.start(created["id"], cards[serial - 1]), 201))
        assert bool(outcome["result"]["ecard_no"]) == wanted
    assert centre.store.sql("SELECT count(*) FROM ecards") == [(1,)]


@pytest.mark.parametrize(
    ("channel", "born", "is_needed"),
    [
        ("online", "20190105", True),
        ("online", "20190106", False),
        ("counter", "19900101", False),
    ],
)
async def test_photos_by_age_and_channel(centre: Centre, channel: str, born: str, is_needed: bool) -> None:
    person = {"social_security_number": citizen_number(f"990100{born}001"), "birth_date": born}
    answer = await centre.apply(1, channel=channel, person=person, guardian=GUARDIAN)
    if is_needed:
        assert reasons(refused(answer, "INPUT_INVALID", 400)) == [("body.photo_id", "photo_missing")]
    else:
        ok(answer, 201)


async def test_validity_by_class(centre: Centre) -> None:
    (card,) = await centre.stock()
    born = {"social_security_number": citizen_number("99010020220601001"), "birth_date": "20220601"}
    created = ok(await centre.apply(1, person=born, guardian=GUARDIAN), 201)
    ok(await centre.start(created["id"], card), 201)
    view = ok(await centre.as_("terminal").get(f"/v1/applications/{created['id']}"))
    assert (view["card_class"], view["expiry_date"]) == ("1", "2031-01-05")


# -- across provinces -------------------------------------------------------------------------------------------------


@both_engines
async def test_another_province_accepts_and_both_keep_books(centre: Centre) -> None:
    for name, region in (("hebei", "130000"), ("beijing", "110000"), ("tianjin", "120000")):
        await centre.register(name, ("operator",), region)
    request = application(1, accepted_region="130000")
    refused(await post(centre, "/v1/applications", request, by="tianjin"), "CLIENT_FORBIDDEN", 403)
    refused(await post(centre, "/v1/applications", application(1), by="hebei"), "CLIENT_FORBIDDEN", 403)
    created = ok(await post(centre, "/v1/applications", request, by="hebei"), 201)
    assert (created["region"], created["accepted_region"]) == ("110000", "130000")
    path = f"/v1/applications/{created['id']}"
    for name in ("hebei", "beijing"):
        assert ok(await centre.as_(name).get(path))["id"] == created["id"]
        acts = {entry["act"] for entry in ok(await centre.as_(name).get("/v1/audit"))}
        assert {"application.submit", "application.read"} <= acts
    refused(await centre.as_("tianjin").get(path), "NOT_FOUND", 404)
    refused(await centre.as_("hebei").post(f"{path}/reject", json={"reason": "no"}), "CLIENT_FORBIDDEN", 403)
    ok(await centre.as_("beijing").post(f"{path}/reject", json={"reason": "no"}))


async def test_the_issuing_region_decides(centre: Centre, tmp_path: Any) -> None:
    await centre.register("beijing", ("operator",), "110000")
    post_to_hebei = application(
        1,
        region="130000",
        accepted_region="110000",
        delivery={"way": "post", "recipient": "测", "telephone": "13900000000", "address": "示"},
    )
    body = refused(await post(centre, "/v1/applications", post_to_hebei, by="beijing"), "INPUT_INVALID", 400)
    assert reasons(body) == [("body.delivery.way", "delivery_post")]


# -- the population register ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("mismatch", "IDENTITY_MISMATCH"), ("unknown", "IDENTITY_UNKNOWN"), ("deceased", "IDENTITY_DECEASED")],
)
async def test_nothing_is_stored_for_somebody_else(centre: Centre, register: Register, outcome: str, code: str) -> None:
    register.outcome = outcome
    refused(await centre.apply(1), code, 409)
    assert centre.store.sql("SELECT count(*) FROM persons") == [(0,)]
    entry, *_ = ok(await centre.as_("operator").get("/v1/audit"))
    assert (entry["act"], entry["outcome"]) == ("POST /v1/applications", code)


async def test_nobody_is_asked_about_a_wrong_request(centre: Centre, register: Register) -> None:
    refused(await centre.apply(1, person={"sex": "2"}), "INPUT_INVALID", 400)
    await centre.register("hebei", ("operator",), "130000")
    refused(await post(centre, "/v1/applications", application(1), by="hebei"), "CLIENT_FORBIDDEN", 403)
    refused(await post(centre, "/v1/applications", application(1), by="wallet"), "CLIENT_FORBIDDEN", 403)
    assert register.asked == []


@both_engines
async def test_an_application_waits_with_reason_owner_and_deadline(centre: Centre, register: Register) -> None:
    (card,) = await centre.stock()
    register.outcome = "unavailable"
    created = ok(await centre.apply(1), 201)
    step = created["steps"][-1]
    assert (created["state"], step["step"], step["status"]) == ("submitted", "identity", "stuck")
    assert (step["reason"], step["owner"], step["deadline"]) == (
        "IDENTITY_UNAVAILABLE",
        "operator",
        "2026-01-06T01:00:00Z",
    )
    refused(await centre.start(created["id"], card), "APPLICATION_STATE", 409)
    path = f"/v1/applications/{created['id']}/identity-check"
    assert ok(await post(centre, path, {}))["state"] == "submitted"
    register.outcome = "matches"
    checked = ok(await post(centre, path, {}, by="terminal", key="key-00000002"))
    assert [(s["step"], s["status"]) for s in checked["steps"][2:]] == [("identity", "done"), ("check", "done")]
    assert checked["steps"][-1]["detail"] == "identity R1"
    asked = len(register.asked)
    assert ok(await post(centre, path, {}, key="key-00000003"))["state"] == "checked"
    assert len(register.asked) == asked
    ok(await centre.start(created["id"], card), 201)


async def test_a_late_no_ends_the_application(centre: Centre, register: Register) -> None:
    register.outcome = "unavailable"
    created = ok(await centre.apply(1), 201)
    register.outcome = "deceased"
    ended = ok(await post(centre, f"/v1/applications/{created['id']}/identity-check", {}))
    assert (ended["state"], ended["steps"][-1]["reason"]) == ("rejected", "IDENTITY_DECEASED")


@both_engines
async def test_the_background_asks_again_and_leaves_a_silent_register_alone(centre: Centre, register: Register) -> None:
    register.outcome = "unavailable"
    ids = [ok(await centre.apply(serial), 201)["id"] for serial in (1, 2, 3)]
    services = centre.app.state.services
    register.asked.clear()
    assert await recheck_waiting(services) == 0
    assert register.asked == [], "asked a moment ago"
    centre.clock.advance(61)
    assert await recheck_waiting(services) == 0
    assert len(register.asked) == 1, "silent once is enough"
    register.outcome = "matches"
    centre.clock.advance(61)
    assert await recheck_waiting(services) == 3
    for application_id in ids:
        view = ok(await centre.as_("operator").get(f"/v1/applications/{application_id}"))
        assert (view["state"], view["steps"][-1]["status"]) == ("checked", "done")


@both_engines
async def test_two_checks_at_once_count_once(centre: Centre, register: Register) -> None:
    register.outcome = "unavailable"
    path = f"/v1/applications/{ok(await centre.apply(1), 201)['id']}/identity-check"
    register.outcome = "matches"
    answers = await asyncio.gather(*(post(centre, path, {}, key=f"key-0000010{n}") for n in range(4)))
    assert {ok(answer)["state"] for answer in answers} == {"checked"}
    assert len(ok(answers[0])["steps"]) == 4


async def test_people_of_no_register_are_never_guessed(centre: Centre) -> None:
    real = {"social_security_number": citizen_number("11010119900101001")}
    assert ok(await centre.apply(1, person=real), 201)["state"] == "submitted"
    assert UNAVAILABLE.outcome is IdentityOutcome.UNAVAILABLE


# -- newborns ---------------------------------------------------------------------------------------------------------


@both_engines
async def test_a_newborn_waits_for_its_name(centre: Centre, register: Register) -> None:
    born = ok(await post(centre, "/v1/newborns", NEWBORN), 201)
    assert (born["state"], born["missing"]) == ("waiting", ["name", "social_security_number"])
    assert (born["owner"], born["deadline"], born["is_overdue"]) == ("operator", "2026-02-18T16:00:00Z", False)
    assert register.asked == []
    refused(await post(centre, "/v1/newborns", NEWBORN, key="key-00000002"), "CONFLICT", 409)
    path = f"/v1/newborns/{born['id']}"
    centre.clock.advance(60 * 24 * 3600)
    assert ok(await centre.as_("operator").get(path))["is_overdue"] is True
    done = ok(await post(centre, f"{path}/registration", NAMED, key="key-00000003"))
    assert (done["state"], done["missing"], done["name"]) == ("applied", [], "测*宝")
    card = ok(await centre.as_("operator").get(f"/v1/applications/{done['application_id']}"))
    assert (card["kind"], card["card_class"], card["state"]) == ("newborn", "1", "checked")
    assert card["receipt_number"] == born["receipt_number"], "what the parent holds stays good"
    assert card["guardian"]["name"] == "测*母"
    assert [person.social_security_number for person in register.asked] == [BABY_NUMBER]
    assert ok(await post(centre, f"{path}/registration", NAMED, key="key-00000003")) == done
    refused(await post(centre, f"{path}/registration", NAMED, key="key-00000004"), "APPLICATION_STATE", 409)
    stored = centre.store.stored()
    for secret in ("测试母", "Z990000001", BABY_NUMBER, "妇幼"):
        assert secret.encode() not in stored


async def test_a_newborn_with_name_and_number_is_applied_for_at_once(centre: Centre) -> None:
    born = ok(await post(centre, "/v1/newborns", NEWBORN | {"child": BABY | NAMED}), 201)
    assert (born["state"], born["application_id"] is None) == ("applied", False)


async def test_a_newborn_is_checked_before_it_waits(centre: Centre) -> None:
    body = refused(
        await post(
            centre,
            "/v1/newborns",
            NEWBORN
            | {
                "child": BABY | {"birth_date": "20250101", "ethnic_group": "88"},
                "mother": MOTHER | {"telephone": "12345"},
                "applicant": "father",
            },
        ),
        "INPUT_INVALID",
        400,
    )
    assert reasons(body) == [
        ("body.child.birth_date", "birth_window"),
        ("body.mother.telephone", "telephone"),
        ("body.father", "newborn_parent"),
        ("body.child.ethnic_group", "card_code"),
    ]


async def test_a_number_of_another_child_is_refused(centre: Centre, register: Register) -> None:
    born = ok(await post(centre, "/v1/newborns", NEWBORN), 201)
    other = NAMED | {"social_security_number": citizen_number("99010020251221002")}
    body = refused(await post(centre, f"/v1/newborns/{born['id']}/registration", other), "INPUT_INVALID", 400)
    assert reasons(body) == [("body.social_security_number", "newborn_differs")]
    assert register.asked == []


async def test_a_refused_child_keeps_waiting(centre: Centre, register: Register) -> None:
    born = ok(await post(centre, "/v1/newborns", NEWBORN), 201)
    register.outcome = "unknown"
    path = f"/v1/newborns/{born['id']}"
    refused(await post(centre, f"{path}/registration", NAMED), "IDENTITY_UNKNOWN", 409)
    assert ok(await centre.as_("operator").get(path))["state"] == "waiting"


async def test_a_hospital_of_another_province_hands_in(centre: Centre) -> None:
    for name, region in (("hebei", "130000"), ("beijing", "110000"), ("tianjin", "120000")):
        await centre.register(name, ("operator",), region)
    request = NEWBORN | {"accepted_region": "130000"}
    refused(await post(centre, "/v1/newborns", request, by="tianjin"), "CLIENT_FORBIDDEN", 403)
    born = ok(await post(centre, "/v1/newborns", request, by="hebei"), 201)
    path = f"/v1/newborns/{born['id']}"
    refused(await centre.as_("tianjin").get(path), "NOT_FOUND", 404)
    done = ok(await post(centre, f"{path}/registration", NAMED, by="beijing"))
    assert ok(await centre.as_("hebei").get(f"/v1/applications/{done['application_id']}"))["region"] == "110000"
