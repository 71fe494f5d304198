"""亲情账户: how many, who agrees, children and their guardians, and how it ends."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from cardlib.identity import citizen_number
from issuance.cards.repository import CardRepository
from issuance.clients.auth import Caller
from issuance.ecards.access import HolderCall
from issuance.ecards.family import member_of, portrait_context
from issuance.ecards.repository import EcardRepository, LinkRepository
from issuance.problems import ProblemError
from issuance.scope import EVERYWHERE
from issuance.unit import Unit
from simulators.portrait import Portrait
from tests.issuance.conftest import Centre, application, atr, both_engines, ok, refused
from tests.issuance.furnished import furnished
from tests.issuance.phone import Phone, claim

CHILD = {"social_security_number": citizen_number("99010020180601003"), "name": "测小", "birth_date": "20180601"}
PORTRAIT = base64.b64encode(Portrait().jpeg()).decode()


async def issued(centre: Centre, serial: int, **change: Any) -> str:
    await centre.stock(serial, serial)
    application_id = ok(await centre.apply(serial, **change), 201)["id"]
    outcome = await centre.run(ok(await centre.start(application_id, atr(serial)), 201))
    return str(outcome["result"]["card_number"])


@pytest.fixture
async def phones(centre: Centre) -> list[Phone]:
    """Three persons with cards and phones of one channel."""
    return await furnished(centre, "three persons", lambda: _phones(centre))


async def _phones(centre: Centre) -> list[Phone]:
    found = []
    for serial in (1, 2, 3):
        phone = Phone(centre)
        await phone.sign_up(serial, await issued(centre, serial))
        found.append(phone)
    return found


def _number(phone: Phone) -> str:
    ((number,),) = phone.centre.store.sql("SELECT card_number FROM ecards WHERE ecard_no = :no", no=phone.ecard_no)
    return str(number)


async def _ask(phone: Phone, member: Phone, serial: int, relation: str = "parent") -> httpx.Response:
    phone.centre.clock.advance(60)
    return await phone.act("family", "family", relation=relation, **claim(serial, _number(member)))


async def _member(phone: Phone, family_id: str) -> str:
    """Number of the electronic card whose code may be shown. Raises ProblemError."""
    services = phone.centre.app.state.services
    async with services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
        unit = Unit(session, services, Caller("wallet", frozenset()), services.clock())
        ecard = await EcardRepository(session).get(phone.ecard_no)
        link = await LinkRepository(session).get(phone.sign_no)
        assert ecard is not None
        assert link is not None
        card = await CardRepository(session).get(ecard.card_number)
        assert card is not None
        return (await member_of(HolderCall(unit, ecard, link, card), family_id))[0].ecard_no


async def test_an_adult_agrees_on_the_own_phone(phones: list[Phone]) -> None:
    one, two, three = phones
    asked = ok(await _ask(one, two, 2), 201)
    assert (asked["state"], asked["name"], asked["has_portrait"]) == ("asked", "测*二", False)
    with pytest.raises(ProblemError, match="NOT_FOUND"):
        await _member(one, asked["id"])
    (request,) = ok(await two.get("family-requests"))["items"]
    assert (request["asker"], request["relation"], request["state"]) == ("测*一", "parent", "asked")
    assert ok(await three.get("family-requests"))["items"] == []
    path = f"family-requests/{asked['id']}"
    for stranger in (one, three):
        refused(await stranger.act(f"{path}/confirm", "family"), "NOT_FOUND", 404)
    refused(await two.post(f"{path}/confirm", {"busi_seq": "x" * 32}), "BUSI_SEQ_INVALID", 403)
    assert ok(await two.act(f"{path}/confirm", "family"))["state"] == "active"
    refused(await two.act(f"{path}/confirm", "family"), "CONFLICT", 409)
    assert await _member(one, asked["id"]) == two.ecard_no
    with pytest.raises(ProblemError, match="NOT_FOUND"):
        await _member(three, asked["id"])
    ok(await two.act("loss", "loss", kind="formal"))
    with pytest.raises(ProblemError, match="ECARD_NOT_USABLE"):
        await _member(one, asked["id"])


@pytest.mark.parametrize("side", [0, 1])
async def test_either_side_ends_it(phones: list[Phone], side: int) -> None:
    asked = ok(await _ask(phones[0], phones[1], 2), 201)
    ok(await phones[1].act(f"family-requests/{asked['id']}/confirm", "family"))
    refused(await phones[2].post(f"family/{asked['id']}/end"), "NOT_FOUND", 404)
    assert ok(await phones[side].post(f"family/{asked['id']}/end"))["state"] == "ended"
    refused(await phones[side].post(f"family/{asked['id']}/end"), "NOT_FOUND", 404)
    assert ok(await phones[0].get("family"))["items"] == []
    with pytest.raises(ProblemError, match="NOT_FOUND"):
        await _member(phones[0], asked["id"])
    again = ok(await _ask(phones[0], phones[1], 2), 201)
    assert ok(await phones[1].post(f"family-requests/{again['id']}/refuse"))["state"] == "refused"
    assert ok(await phones[0].get("family"))["items"] == []


async def test_who_cannot_be_asked(phones: list[Phone]) -> None:
    one, two, _ = phones
    body = refused(await _ask(one, one, 1), "INPUT_INVALID", 400)
    assert body["fields"][0]["reason"] == "family_self"
    refused(await _ask(one, two, 3), "ECARD_MISMATCH", 403)
    ok(await _ask(one, two, 2), 201)
    refused(await _ask(one, two, 2), "CONFLICT", 409)
    ok(await one.act("loss", "loss", kind="formal"))
    refused(await _ask(one, phones[2], 3), "ECARD_NOT_USABLE", 409)


@both_engines
async def test_places(phones: list[Phone]) -> None:
    """One spouse, however fast two are asked."""
    one, two, three = phones
    one.centre.clock.advance(60)
    bodies = [
        {"relation": "spouse", "busi_seq": await one.busi_seq("family")} | claim(serial, _number(phone))
        for serial, phone in ((2, two), (3, three))
    ]
    answers = await asyncio.gather(*(one.post("family", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    refused(next(answer for answer in answers if answer.status_code == 409), "FAMILY_LIMIT", 409)
    shown = ok(await one.get("family"))
    places = {place["relation"]: (place["used"], place["of"]) for place in shown["slots"]}
    assert places == {"parent": (0, 4), "child": (0, 3), "spouse": (1, 1), "other": (0, 2)}
    assert shown["total"] == 10


# -- children ---------------------------------------------------------------------------------------------------------


def guardian(serial: int) -> dict[str, str]:
    person = application(serial)["person"]
    number, name = person["social_security_number"], person["name"]
    return {"name": name, "social_security_number": number, "relation": "other", "telephone": "13900000000"}


@pytest.fixture
async def child(phones: list[Phone]) -> dict[str, str]:
    """Whose recorded guardian is the first person."""
    number = await issued(phones[0].centre, 4, person=CHILD, guardian=guardian(1))
    return {"relation": "child", "card_number": number} | {n: CHILD[n] for n in ("name", "social_security_number")}


async def _add(phone: Phone, child: dict[str, str], **change: Any) -> httpx.Response:
    phone.centre.clock.advance(60)
    return await phone.act("family", "family", **child, **change)


async def test_the_guardian_adds_a_child(phones: list[Phone], child: dict[str, str]) -> None:
    one, two, _ = phones
    body = refused(await _add(one, child), "INPUT_INVALID", 400)
    assert (body["fields"][0]["location"], body["fields"][0]["reason"]) == ("body.portrait", "missing")
    refused(await _add(one, child, portrait=base64.b64encode(b"\xff\xd8nothing").decode()), "PHOTO_REJECTED", 400)
    refused(await _add(one, child, portrait="&&"), "PHOTO_REJECTED", 400)
    refused(await _add(two, child, portrait=PORTRAIT), "FAMILY_GUARDIAN", 403)
    added = ok(await _add(one, child, portrait=PORTRAIT), 201)
    assert (added["state"], added["has_portrait"], added["answered_at"]) == ("active", True, None)
    assert await _member(one, added["id"])
    ((sealed,),) = one.centre.store.sql("SELECT sealed_portrait FROM ecard_family")
    sealer = one.centre.app.state.services.sealer
    assert sealer.unseal(bytes(sealed), portrait_context(added["id"])) == PORTRAIT
    ok(await one.post(f"family/{added['id']}/end"))
    assert one.centre.store.sql("SELECT sealed_portrait FROM ecard_family") == [(None,)]


async def test_a_child_that_has_come_of_age_agrees(phones: list[Phone], child: dict[str, str]) -> None:
    one = phones[0]
    added = ok(await _add(one, child, portrait=PORTRAIT), 201)
    one.centre.clock.advance(60)
    grown = Phone(one.centre)
    person = {n: child[n] for n in ("name", "social_security_number", "card_number")}
    signed = ok(
        await grown.post("/v1/ecards", person | {"public_key": grown.public_key.hex(), "password": grown.password}), 201
    )
    grown.ecard_no, grown.sign_no = signed["ecard_no"], signed["sign_no"]
    early = await grown.act(f"family-requests/{added['id']}/confirm", "family")
    assert refused(early, "CONFLICT", 409), "a child's word is none"
    one.centre.clock.now = datetime(2034, 6, 1, 1, tzinfo=UTC)
    with pytest.raises(ProblemError, match="member_of_age"):
        await _member(one, added["id"])
    (request,) = ok(await grown.get("family-requests"))["items"]
    ok(await grown.act(f"family-requests/{request['id']}/confirm", "family"))
    assert await _member(one, added["id"]) == grown.ecard_no
    assert one.centre.store.sql("SELECT sealed_portrait FROM ecard_family") == [(None,)]


async def test_cancelling_a_card_ends_its_family(phones: list[Phone], child: dict[str, str]) -> None:
    one, two, _ = phones
    ok(await _add(one, child, portrait=PORTRAIT), 201)
    ok(await _ask(two, one, 1), 201)
    path, headers = f"/v1/cards/{_number(one)}/cancel", {"Idempotency-Key": "cancel-1"}
    ok(await one.centre.as_("operator").post(path, json={}, headers=headers))
    assert one.centre.store.sql("SELECT DISTINCT state, sealed_portrait FROM ecard_family") == [("ended", None)]
