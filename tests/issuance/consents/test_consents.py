"""Consents from the request to the revocation, and everything that must not get data."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from issuance.consents.repository import ConsentRepository
from issuance.consents.text import is_plain, plain
from issuance.privacy.retention import forget
from issuance.unit import system_unit
from tests.issuance.conftest import Centre, application, both_engines, ok, refused
from tests.issuance.consents.stand import ITEMS, PURPOSE, Consents
from tests.issuance.phone import Phone, signed_phone

NAME = application(1)["person"]["name"]


@both_engines
async def test_asked_signed_used_seen_revoked(consents: Consents) -> None:
    consent_id = await consents.asked()
    (request,) = await consents.waiting()
    assert (request["recipient"], request["recipient_id"], request["purpose"]) == ("verifier", "verifier", PURPOSE)
    for line in (PURPOSE, "姓名 / Name (name)", consents.phone.ecard_no, consent_id, "2026-02-04 09:00:00"):
        assert line in request["text"]
    refused(await consents.data(consent_id), "CONSENT_REQUIRED", 403)
    given = ok(await consents.approve(consent_id))
    assert (given["state"], given["uses"]) == ("live", 0)
    answer = ok(await consents.data(consent_id, ITEMS))
    assert answer["values"] == {"name": NAME, "telephone": None}
    (use,) = ok(await consents.phone.get(f"consents/{consent_id}/uses"))["items"]
    assert [item["name"] for item in use["items"]] == ITEMS
    (shown,) = ok(await consents.phone.get("consents"))["items"]
    assert (shown["state"], shown["uses"]) == ("live", 1)
    assert ok(await consents.phone.post(f"consents/{consent_id}/revoke"))["state"] == "revoked"
    refused(await consents.data(consent_id), "CONSENT_REVOKED", 403)
    refused(await consents.phone.post(f"consents/{consent_id}/revoke"), "CONSENT_REVOKED", 403)
    verifier = consents.centre.as_("verifier")
    assert ok(await verifier.get(f"/v1/consent-requests/{consent_id}"))["state"] == "revoked"
    assert await consents.trail(consent_id) == [
        ("consent.request", "ok"),
        ("POST /v1/consents/{consent_id}/data", "CONSENT_REQUIRED"),
        ("consent.approve", "ok"),
        ("consent.use", "ok"),
        ("consent.revoke", "ok"),
        ("POST /v1/consents/{consent_id}/data", "CONSENT_REVOKED"),
        ("POST /v1/ecards/{ecard_no}/consents/{consent_id}/revoke", "CONSENT_REVOKED"),
    ]


async def test_every_item_of_the_catalogue_can_be_given(consents: Consents) -> None:
    items = [
        *("name_masked", "name", "social_security_number", "birth_date", "sex", "telephone", "photo"),
        *("account_number", "account_state", "region", "card_state", "card_expiry"),
    ]
    consent_id = await consents.granted(items=items)
    values = ok(await consents.data(consent_id, items))["values"]
    person = application(1)["person"]
    assert list(values) == items
    assert values["social_security_number"] == person["social_security_number"]
    assert (values["name_masked"], values["sex"], values["birth_date"]) == ("测*一", "1", person["birth_date"])
    assert (values["region"], values["card_state"], values["card_expiry"]) == ("110000", "1", "2036-01-05")
    assert (values["photo"], values["account_number"], values["telephone"]) == (None, None, None)


async def test_attack_table(consents: Consents) -> None:
    """Each with its own failure, and an entry in the trail."""
    consent_id = await consents.granted()
    attacks = [
        (await consents.data(consent_id, by="clinic"), "NOT_FOUND", 404),
        (await consents.data("0" * 32), "NOT_FOUND", 404),
        (await consents.data(consent_id, ["name", "social_security_number"]), "CONSENT_ITEMS", 403),
        (await consents.data(consent_id, purpose="贷款审批"), "CONSENT_PURPOSE", 403),
    ]
    consents.centre.clock.advance(30 * 86_400 - 120)
    ok(await consents.data(consent_id))
    consents.centre.clock.advance(120)
    attacks.append((await consents.data(consent_id), "CONSENT_EXPIRED", 403))
    for response, failure, status in attacks:
        refused(response, failure, status)
    outcomes = [outcome for _, outcome in await consents.trail(consent_id) if outcome != "ok"]
    assert outcomes == ["NOT_FOUND", "CONSENT_ITEMS", "CONSENT_PURPOSE", "CONSENT_EXPIRED"]
    (shown,) = ok(await consents.phone.get("consents"))["items"]
    assert (shown["state"], shown["uses"]) == ("expired", 1)


async def test_nobody_else_answers_for_the_holder(consents: Consents) -> None:
    """Another holder; another text; another phone; the signature of another request; a number spent already."""
    other = await signed_phone(consents.centre, 2)
    consent_id = await consents.asked()
    text, busi_seq = await consents.text(consent_id), await consents.phone.busi_seq("consent")
    approve = consents.approve
    assert await consents.waiting(other) == []
    refused(await approve(consent_id, phone=other, text=text), "NOT_FOUND", 404)
    for act in ("consents/{}/revoke", "consent-requests/{}/refuse"):
        refused(await other.post(act.format(consent_id)), "NOT_FOUND", 404)
    for part in ("uses", "proof"):
        refused(await other.get(f"consents/{consent_id}/{part}"), "NOT_FOUND", 404)
    bad = {"busi_seq": busi_seq}
    refused(await approve(consent_id, text=text.replace("(name)", "(name) "), **bad), "SIGNATURE_INVALID", 400)
    refused(await approve(consent_id, text=text.replace("02-04", "12-04"), **bad), "SIGNATURE_INVALID", 400)
    refused(await approve(consent_id, signature=other.sign(text.encode()).hex(), **bad), "SIGNATURE_INVALID", 400)
    refused(await approve(consent_id, signature="00" * 64, **bad), "SIGNATURE_INVALID", 400)
    wrong = await consents.phone.busi_seq("loss")
    refused(await approve(consent_id, text=text, busi_seq=wrong), "BUSI_SEQ_INVALID", 403)
    ok(await approve(consent_id, text=text, **bad))
    second = await consents.asked()
    signature = consents.phone.sign(text.encode()).hex()
    refused(await approve(second, signature=signature), "SIGNATURE_INVALID", 400)
    refused(await approve(second, text=await consents.text(second), **bad), "BUSI_SEQ_INVALID", 403)
    refused(await approve(consent_id, text=text), "CONSENT_CLOSED", 409)
    ok(await consents.phone.post(f"consent-requests/{second}/refuse"))
    refused(await approve(second, text=text), "CONSENT_CLOSED", 409)
    refused(await consents.data(second), "CONSENT_REQUIRED", 403)


@both_engines
async def test_approved_twice_at_once_is_approved_once(consents: Consents) -> None:
    consent_id = await consents.asked()
    text = await consents.text(consent_id)
    tokens = [await consents.phone.busi_seq("consent") for _ in range(2)]
    answers = await asyncio.gather(*(consents.approve(consent_id, text=text, busi_seq=token) for token in tokens))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    acts = [act for act, outcome in await consents.trail(consent_id) if outcome == "ok"]
    assert acts == ["consent.request", "consent.approve"]
    outcomes = await asyncio.gather(
        consents.data(consent_id), consents.phone.post(f"consents/{consent_id}/revoke"), consents.data(consent_id)
    )
    assert outcomes[1].status_code == 200
    refused(await consents.data(consent_id), "CONSENT_REVOKED", 403)
    acts = [act for act, outcome in await consents.trail(consent_id) if outcome == "ok"]
    assert acts.index("consent.revoke") == len(acts) - 1, "nothing is given after the revocation"


async def test_the_same_request_again_is_one_request(consents: Consents) -> None:
    code = await consents.code()
    first = ok(await consents.ask(code=code, key="the-same-key"), 201)
    consents.centre.clock.advance(61)
    again = await consents.ask(code=code, key="the-same-key")
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (first, "true")
    refused(await consents.ask(code=code, key="another-key"), "CODE_USED", 409)
    refused(await consents.ask("clinic", code=code, key="the-same-key"), "CODE_USED_ELSEWHERE", 409)
    text = await consents.text(first["id"])
    given = ok(await consents.approve(first["id"], text=text, key="approve-once"))
    body = {"busi_seq": "x"}
    refused(await consents.approve(first["id"], text=text, key="approve-once", **body), "IDEMPOTENCY_CONFLICT", 409)
    assert given["state"] == "live"


async def test_who_has_a_consent_asks_for_one_more_at_a_time(consents: Consents) -> None:
    """Without the holder being there: nobody fills the places that are for others."""
    await consents.granted("clinic")
    known = {"ecard_no": consents.phone.ecard_no}
    ok(await consents.ask("clinic", **known), 201)
    refused(await consents.ask("clinic", **known), "CONSENT_LIMITED", 429)
    ok(await consents.ask("clinic"), 201)
    ok(await consents.ask(), 201)


@pytest.mark.parametrize("blank", ["\u3164", "\u2800", "\u115f", "\uffa0", "\u034f"])
def test_characters_that_show_nothing_are_not_plain(blank: str) -> None:
    assert not is_plain(blank)
    assert not is_plain(f"预约{blank}挂号")
    assert plain(f"示例{blank}医院") == "示例 医院"


async def test_a_request_waits_ten_minutes_and_few_wait_at_once(consents: Consents) -> None:
    ids = [await consents.asked("clinic") for _ in range(5)]
    refused(await consents.ask(), "CONSENT_LIMITED", 429)
    ok(await consents.phone.post(f"consent-requests/{ids[0]}/refuse"))
    ids.append(await consents.asked())
    text = await consents.text(ids[-1])
    consents.centre.clock.advance(600)
    assert await consents.waiting() == []
    refused(await consents.approve(ids[-1], text=text), "CONSENT_CLOSED", 409)
    verifier = consents.centre.as_("verifier")
    assert ok(await verifier.get(f"/v1/consent-requests/{ids[-1]}"))["state"] == "unanswered"
    refused(await verifier.get(f"/v1/consent-requests/{ids[0]}"), "NOT_FOUND", 404)
    ok(await consents.ask(), 201)


async def test_by_number_only_a_holder_who_has_consented(consents: Consents) -> None:
    ecard_no = consents.phone.ecard_no
    refused(await consents.ask(ecard_no=ecard_no), "NOT_FOUND", 404)
    refused(await consents.ask(ecard_no="0" * 32), "NOT_FOUND", 404)
    consent_id = await consents.granted()
    ok(await consents.ask(ecard_no=ecard_no, items=["photo"]), 201)
    refused(await consents.ask("clinic", ecard_no=ecard_no), "NOT_FOUND", 404)
    ok(await consents.phone.post(f"consents/{consent_id}/revoke"))
    refused(await consents.ask(ecard_no=ecard_no), "NOT_FOUND", 404)
    login = ok(await consents.phone.post("codes", {"scene": "login"}), 201)["code"]
    refused(await consents.ask(code=login), "CODE_SCENE", 409)


IMPOSSIBLE: list[dict[str, Any]] = [
    {"days": 0},
    {"days": 366},
    {"items": []},
    {"items": ["everything"]},
    {"purpose": ""},
    {"purpose": " "},
    {"purpose": "看病\n期限 / Period: 永久"},
    {"purpose": "看\u202e病"},
    {"purpose": "看\u200b病"},
    {"purpose": "x" * 65},
    {"explanation": "a\u2028b"},
    {"explanation": "x" * 501},
    {"recipient": "银行"},
    {"ecard_no": "0" * 32, "code": "OC1.x"},
    {"ecard_no": "xyz"},
]


async def test_what_cannot_be_asked(centre: Centre) -> None:
    headers = {"Idempotency-Key": "what-cannot-be"}
    for change in IMPOSSIBLE:
        body = {"code": "OC1.x", "purpose": PURPOSE, "items": ITEMS, "days": 30} | change
        answer = await centre.as_("verifier").post("/v1/consent-requests", json=body, headers=headers)
        refused(answer, "INPUT_INVALID", 422)


async def test_a_card_that_cannot_be_used_tells_nothing(consents: Consents) -> None:
    consent_id = await consents.granted()
    body = {"kind": "formal", "busi_seq": await consents.phone.busi_seq("loss")}
    ok(await consents.phone.post("loss", body))
    refused(await consents.data(consent_id), "ECARD_NOT_USABLE", 409)


async def test_a_row_that_was_changed_is_no_consent(consents: Consents) -> None:
    for change in (
        'items = \'["name", "telephone", "photo"]\'',
        "ends_at = '2030-01-01 00:00:00.000000'",
        "client_id = 'clinic'",
        "signature = NULL",
        "text_digest = x'00'",
        "state = 'live', signature = NULL",
    ):
        consent_id = await (consents.asked() if "state" in change else consents.granted())
        consents.centre.store.sql(f"UPDATE consents SET {change} WHERE id = :id", id=consent_id)
        by = "clinic" if "clinic" in change else "verifier"
        refused(await consents.data(consent_id, by=by), "CONSENT_REQUIRED", 403)


async def test_a_consent_waits_for_no_region(centre: Centre) -> None:
    """A hospital elsewhere, and a channel that serves the holder's region."""
    await centre.register("hospital", ("verifier",), "130000")
    await centre.register("beijing-app", ("wallet",), "110000")
    consents = await Consents(centre).ready()
    phone = Phone(centre, "beijing-app")
    (row,) = centre.store.sql("SELECT card_number FROM ecards")
    await phone.sign_up(1, row[0])
    consent_id = await consents.asked("hospital")
    ok(await consents.approve(consent_id, phone=phone, text=await consents.text(consent_id)))
    assert ok(await consents.data(consent_id, by="hospital"))["values"] == {"name": NAME}


async def test_words_are_forgotten_three_years_after_the_end(consents: Consents) -> None:
    consent_id = await consents.granted()
    services = consents.centre.app.state.services
    day = 86_400
    consents.centre.clock.advance((30 + 1095) * day)
    assert (await forget(services))["ended_consent"] == 0
    consents.centre.clock.advance(day)
    assert (await forget(services))["ended_consent"] == 1
    assert ok(await consents.phone.get("consents"))["items"] == []
    refused(await consents.data(consent_id), "CONSENT_EXPIRED", 403)
    refused(await consents.phone.get(f"consents/{consent_id}/proof"), "CONSENT_EXPIRED", 403)
    assert ("consent.forget", "ok") in await consents.trail(consent_id)
    (row,) = consents.centre.store.sql("SELECT sealed_terms, signature FROM consents")
    assert row[0] is None
    assert row[1] is not None


async def test_an_erased_person_leaves_no_words(consents: Consents) -> None:
    await consents.granted()
    (person_id,) = consents.centre.store.sql("SELECT person_id FROM ecards")[0]
    async with system_unit(consents.centre.app.state.services) as unit:
        await ConsentRepository(unit.session).empty(person_id)
    assert consents.centre.store.sql("SELECT sealed_terms FROM consents") == [(None,)]


async def test_nothing_personal_lies_open(consents: Consents) -> None:
    consent_id = await consents.granted(explanation="心内科复诊")
    ok(await consents.data(consent_id))
    stored = consents.centre.store.stored()
    for secret in (NAME, "心内科复诊", PURPOSE):
        assert secret.encode() not in stored
