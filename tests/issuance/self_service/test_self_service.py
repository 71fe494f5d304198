"""Kiosks: what a person sees and does there follows from the evidence the kiosk saw, and from nothing else."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cardlib.hsm_wire import CardStep
from cardlib.identity import citizen_number
from cardlib.wire import VISIT_HEADER, Message
from issuance.applications.repository import ApplicationRepository
from issuance.cards.models import CardEventRow
from issuance.console.words import words
from issuance.newborns.schemas import NewbornRequest, Registration
from issuance.person_file.service import words_of
from issuance.persons.schemas import Agent
from issuance.production.schemas import Collection
from issuance.self_service.evidence import Kind, KioskAct, act_rules, missing, with_card
from issuance.self_service.records import LOOKS
from issuance.self_service.schemas import HolderQuestion
from issuance.sessions import runner
from issuance.sessions.visits import VISITS
from simulators.portrait import Portrait
from tests.issuance.conftest import REGION, Centre, application, atr, both_engines, fake_script, ok, refused, reset
from tests.issuance.furnished import furnished
from tests.issuance.log_ins.stand import LogIns
from tests.issuance.phone import signed_phone
from tests.issuance.test_fleet import beat

PARTY = {
    "id": "kiosk",
    "name": "示例自助服务机",
    "grant_types": ["urn:onecard:params:grant-type:channel"],
    "auth_method": "none",
}
ID_CARD = {"kind": "id_card"}


class Kiosk:
    """A kiosk of Beijing; the first person has a card whose electronic card is on a phone, the second nothing."""

    def __init__(self, centre: Centre, name: str = "kiosk-1") -> None:
        self.centre = centre
        self.name = name
        self.log_ins = LogIns(centre)

    async def ready(self) -> LogIns:
        await self.centre.register(self.name, ("terminal",), REGION)
        await self.centre.stock(blanks=4, numbers=4)
        self.log_ins.phone = await signed_phone(self.centre)
        ok(await self.centre.as_("operator").post("/v1/relying-parties", json=PARTY), 201)
        ok(await self.centre.as_(self.name).post("/v1/terminals/heartbeats", json=beat(self.centre)))
        return self.log_ins

    @property
    def number(self) -> str:
        return self.log_ins.phone.card_number

    async def ask(self, path: str, body: dict[str, Any], key: str = "") -> httpx.Response:
        headers = {"Idempotency-Key": key or secrets.token_hex(8)}
        return await self.centre.as_(self.name).post(f"/v1/self-service{path}", json=body, headers=headers)

    async def holders(self, *evidence: dict[str, Any], serial: int = 1, **change: Any) -> httpx.Response:
        person = application(serial)["person"]
        body = {name: person[name] for name in ("name", "social_security_number")}
        return await self.ask("/holders", body | {"evidence": list(evidence)} | change)

    def card(self, kind: str = "card") -> dict[str, Any]:
        return {"kind": kind, "card_number": self.number}

    async def seen(self, *evidence: dict[str, Any], serial: int = 1) -> dict[str, Any]:
        view: dict[str, Any] = ok(await self.holders(*evidence, serial=serial))
        return view

    async def photo(self, view: dict[str, Any]) -> httpx.Response:
        headers = {"Idempotency-Key": "photo-key", "Content-Type": "image/jpeg", VISIT_HEADER: view["visit"]}
        query = {"region": REGION, "taken_on": "2026-01-04"}
        client = self.centre.as_(self.name)
        return await client.post("/v1/photos", content=Portrait().jpeg(), params=query, headers=headers)

    async def apply(self, view: dict[str, Any], serial: int = 2, **change: Any) -> httpx.Response:
        body = application(serial, **{"channel": "kiosk"} | change)
        headers = {"Idempotency-Key": secrets.token_hex(8), VISIT_HEADER: view["visit"]}
        return await self.centre.as_(self.name).post("/v1/applications", json=body, headers=headers)

    async def act(self, view: dict[str, Any], act: str, key: str = "") -> httpx.Response:
        return await self.ask("/acts", {"visit": view["visit"], "card": view["cards"][0]["card"], "act": act}, key)


@pytest.fixture
async def kiosk(centre: Centre) -> Kiosk:
    made = Kiosk(centre)
    made.log_ins = await furnished(centre, "kiosk", made.ready)
    return made


def acts(view: dict[str, Any]) -> dict[str, Any]:
    return {one["act"]: one for one in view["cards"][0]["acts"]}


# -- the table --------------------------------------------------------------------------------------------------------


def test_more_evidence_never_opens_less() -> None:
    kinds = [frozenset(some) for count in range(5) for some in combinations(Kind, count)]
    for act in KioskAct:
        assert missing(act, ()), f"{act} is open to nobody in particular"
        for shown in kinds:
            needed = missing(act, shown)
            assert not missing(act, {*shown, *needed})
            assert all(missing(act, shown | more) == [] for more in kinds if not needed)


def test_what_opens_what() -> None:
    """The table of the design, so that a slip in the TOML file is seen."""
    two = {KioskAct.PIN_RESET, KioskAct.PIN_UNBLOCK, KioskAct.CODE}
    by_card = {act for act in KioskAct if not missing(act, {Kind.CARD})}
    by_phone = {act for act in KioskAct if not missing(act, {Kind.ECARD})}
    by_id_card = {act for act in KioskAct if not missing(act, {Kind.ID_CARD})}
    assert by_card == {KioskAct.ENABLE, KioskAct.REWRITE}
    assert by_phone == {KioskAct.LOOK, KioskAct.LOSE_TEMPORARILY, KioskAct.LOSE, KioskAct.RELEASE}
    assert by_id_card == set(KioskAct) - two - {KioskAct.REWRITE}
    assert all(missing(act, {Kind.ID_CARD, Kind.CARD_PIN}) == [] for act in KioskAct)
    assert set(act_rules()) == set(KioskAct)
    assert with_card([Kind.CARD_PIN]) == {Kind.CARD_PIN, Kind.CARD}


def test_the_documented_table_is_the_one_that_holds() -> None:
    page = Path("docs/issuance.md").read_text(encoding="utf-8")
    for act, rule in act_rules().items():
        ways = ", or ".join(" and ".join(f"`{kind}`" for kind in way) for way in rule.evidence)
        assert f"| `{act}` | {ways} | {rule.text_en} |" in page


_EVIDENCE = st.fixed_dictionaries(
    {"kind": st.sampled_from([*Kind, "other"])}, optional={"card_number": st.text(max_size=12) | st.none()}
)
_QUESTION = st.fixed_dictionaries(
    {
        "name": st.text(max_size=60),
        "social_security_number": st.text(alphabet="0123456789X", max_size=19),
        "evidence": st.lists(_EVIDENCE, max_size=4),
    },
    optional={"region": st.text(alphabet="0123456789", max_size=7), "more": st.none()},
)


@settings(max_examples=100)
@given(_QUESTION)
def test_questions_are_of_their_shape_or_refused(body: dict[str, Any]) -> None:
    try:
        question = HolderQuestion.model_validate(body)
    except ValidationError:
        return
    assert 1 <= len(question.evidence) <= 3
    assert Kind.ECARD not in {one.kind for one in question.evidence}, "only the phone says so"
    assert all((one.card_number is None) == (one.kind is Kind.ID_CARD) for one in question.evidence)


# -- who it is --------------------------------------------------------------------------------------------------------


async def test_somebody_new_may_apply(kiosk: Kiosk) -> None:
    view = await kiosk.seen(ID_CARD, serial=2)
    assert (view["is_known"], view["holder"], view["cards"], view["application"]) == (False, None, [], None)
    assert view["apply"]["possible"]
    assert not view["guardian_needed"]
    child = ok(await kiosk.holders(ID_CARD, social_security_number=citizen_number("99010020150601001")))
    assert (child["guardian_needed"], child["apply"]["possible"]) == (True, False)
    refused(await kiosk.holders(ID_CARD, social_security_number="9" * 18), "INPUT_INVALID", 400)


async def test_a_card_alone_shows_itself_and_nothing_else(kiosk: Kiosk) -> None:
    view = await kiosk.seen(kiosk.card())
    assert view["holder"] == {
        "name": "测*一",
        "social_security_number": "*" * 14 + view["holder"]["social_security_number"][-4:],
    }
    assert [card["is_presented"] for card in view["cards"]] == [True]
    assert (view["application"], view["photo_id"], view["apply"]["possible"]) == (None, None, False)
    opened = {name for name, act in acts(view).items() if act["possible"]}
    assert opened == set()
    assert acts(view)["lose"]["needs"] == ["id_card"]
    assert acts(view)["pin_reset"]["needs"] == ["id_card"]
    refused(await kiosk.ask("/records", {"visit": view["visit"], "kind": "uses"}), "EVIDENCE_MISSING", 403)
    refused(await kiosk.act(view, "lose"), "EVIDENCE_MISSING", 403)
    assert kiosk.number not in str(view)


@both_engines
async def test_what_does_not_belong_together_is_one_answer(kiosk: Kiosk) -> None:
    answers = [
        await kiosk.holders(ID_CARD, name="测试别人"),
        await kiosk.holders(kiosk.card(), serial=2),
        await kiosk.holders({"kind": "card", "card_number": "A00000099"}),
        await kiosk.holders(ID_CARD, kiosk.card(), serial=2),
    ]
    for answer in answers[:2] + answers[3:]:
        assert refused(answer, "HOLDER_MISMATCH", 403)["detail"] == ""
    assert answers[2].status_code in (400, 403)
    counter = Kiosk(kiosk.centre, "terminal")
    counter.log_ins = kiosk.log_ins
    view = await kiosk.seen(ID_CARD)
    refused(await counter.act(view, "lose"), "EVIDENCE_MISSING", 403)
    kiosk.centre.clock.advance(15 * 60)
    refused(await kiosk.act(view, "lose"), "EVIDENCE_MISSING", 403)
    refused(await kiosk.act(view | {"visit": "AAAA"}, "lose"), "EVIDENCE_MISSING", 403)


async def test_a_person_of_another_region_is_no_more_than_that(kiosk: Kiosk) -> None:
    await kiosk.centre.register("hebei", ("terminal",), "130000")
    elsewhere = Kiosk(kiosk.centre, "hebei")
    elsewhere.log_ins = kiosk.log_ins
    view = await elsewhere.seen(ID_CARD)
    assert (view["cards"], view["apply"]["possible"]) == ([], False)
    assert "外地" in view["apply"]["text_zh"]
    refused(await elsewhere.holders(elsewhere.card()), "HOLDER_MISMATCH", 403)


async def test_asking_about_many_is_slowed_down(kiosk: Kiosk) -> None:
    answers = [await kiosk.holders(ID_CARD, serial=serial) for serial in range(2, 33)]
    assert {answer.status_code for answer in answers[:30]} == {200}
    refused(answers[30], "REQUEST_LIMIT", 429)
    kiosk.centre.clock.advance(61)
    again = [await kiosk.holders(ID_CARD, serial=2) for _ in range(11)]
    assert [answer.status_code for answer in again] == [200] * 10 + [429]


# -- acts -------------------------------------------------------------------------------------------------------------


async def test_loss_and_back_by_identity_card(kiosk: Kiosk) -> None:
    view = await kiosk.seen(ID_CARD)
    assert [name for name, act in acts(view).items() if act["possible"]] == [
        "lose_temporarily",
        "lose",
        "replace_damaged",
    ]
    lost = ok(await kiosk.act(view, "lose_temporarily", "same-key-1"))
    assert (lost["result"], lost["card"]["state"]) == ("done", "4")
    assert lost["card"]["temporary_until"] is not None
    assert ok(await kiosk.act(view, "lose_temporarily", "same-key-1")) == lost
    assert ok(await kiosk.act(view, "lose_temporarily"))["result"] == "already"
    back = ok(await kiosk.act(view, "release"))
    assert (back["result"], back["card"]["state"]) == ("done", "1")
    trail = ok(await kiosk.centre.as_("operator").get("/v1/audit", params={"subject": f"card:{kiosk.number}"}))
    (entry,) = [entry for entry in trail if entry["act"] == "card.lose_temporarily"]
    assert (entry["actor"], entry["outcome"]) == ("kiosk-1", "ok")
    assert {str(entry["detail"]["evidence"]) for entry in trail if entry["act"] == "self_service.act"} == {
        "['id_card']"
    }


async def test_a_kiosk_does_nothing_without_evidence(kiosk: Kiosk) -> None:
    client = kiosk.centre.as_("kiosk-1")
    for path, body in (("loss", {"kind": "formal"}), ("cancel", {}), ("replacements", {"cause": "damaged"})):
        answer = await client.post(
            f"/v1/cards/{kiosk.number}/{path}", json=body, headers={"Idempotency-Key": "without-any"}
        )
        refused(answer, "CLIENT_FORBIDDEN", 403)
    refused(await client.get(f"/v1/cards/{kiosk.number}"), "CLIENT_FORBIDDEN", 403)
    refused(await client.get("/v1/cards"), "CLIENT_FORBIDDEN", 403)
    staffed: list[tuple[str, type[Message]]] = [
        (f"production/cards/{kiosk.number}/collect", Collection),
        ("newborns", NewbornRequest),
        (f"newborns/{'0' * 32}/registration", Registration),
        ("hsm/pin-commands", CardStep),
    ]
    for path, message in staffed:
        body = message.model_json_schema()["examples"][0]
        answer = await client.post(f"/v1/{path}", json=body, headers={"Idempotency-Key": "nobody-there"})
        refused(answer, "CLIENT_FORBIDDEN", 403)
    refused(await client.get(f"/v1/newborns/{'0' * 32}"), "CLIENT_FORBIDDEN", 403)
    ok(await client.post("/v1/terminals/heartbeats", json=beat(kiosk.centre, profile="counter")))
    refused(await client.get("/v1/cards"), "CLIENT_FORBIDDEN", 403)


async def test_a_replacement_goes_on_as_an_open_application(kiosk: Kiosk) -> None:
    view = await kiosk.seen(ID_CARD)
    order = {"visit": view["visit"], "card": view["cards"][0]["card"], "act": "replace_lost"}
    photo = ok(await kiosk.photo(view), 201)["id"]
    refused(await kiosk.ask("/successions", order | {"photo_id": photo}), "CARD_STATE", 409)
    ok(await kiosk.act(view, "lose"))
    order["photo_id"] = photo
    made = ok(await kiosk.ask("/successions", order), 201)
    assert (made["kind"], made["channel"]) == ("replacement", "kiosk")
    after = await kiosk.seen(ID_CARD)
    waiting = after["application"]
    assert (waiting["id"], waiting["state"], waiting["can_continue"], waiting["is_mine"]) == (
        *(made["id"], "checked", True, True),
    )
    for act in ("lift", "replace_lost", "renew"):
        assert acts(after)[act] | {"text_en": ""} == acts(after)[act] | {
            "possible": False,
            "text_zh": "有一份申请正在办理，先办完",
            "text_en": "",
        }
    body = {"kind": "personalization", "atr": atr(2), "application_id": made["id"]}
    begun = ok(await kiosk.centre.as_("kiosk-1").post("/v1/card-sessions", json=body), 201)
    await kiosk.centre.run(begun, terminal="kiosk-1")
    cards = (await kiosk.seen(ID_CARD))["cards"]
    assert sorted(card["state"] for card in cards) == ["1", "9"]
    assert made["id"] in {card["application_id"] for card in cards}


@pytest.mark.parametrize("kind", ["pin_reset", "pin_unblock"])
async def test_pins_need_the_person_and_the_card(kiosk: Kiosk, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runner.SCRIPTS, kind, fake_script)
    client = kiosk.centre.as_("kiosk-1")
    body = {"kind": kind, "atr": atr(1)} | ({"pin": "246810"} if kind == "pin_reset" else {})

    async def begun(visit: str | None) -> httpx.Response:
        return await client.post("/v1/card-sessions", json=body | ({} if visit is None else {"visit": visit}))

    refused(await begun(None), "EVIDENCE_MISSING", 403)
    refused(await begun((await kiosk.seen(kiosk.card()))["visit"]), "EVIDENCE_MISSING", 403)
    refused(await begun((await kiosk.seen(ID_CARD, serial=2))["visit"]), "HOLDER_MISMATCH", 403)
    ok(await begun((await kiosk.seen(ID_CARD))["visit"]), 201)


async def test_a_code_needs_both_and_a_phone(kiosk: Kiosk) -> None:
    view = await kiosk.seen(ID_CARD, kiosk.card())
    choice = {"visit": view["visit"], "card": view["cards"][0]["card"]}
    shown = ok(await kiosk.ask("/codes", choice), 201)
    verifier = kiosk.centre.as_("verifier")
    spent = ok(await verifier.post("/v1/ecard-codes/validate", json={"code": shown["code"], "scene": "identity"}))
    assert spent["name"] == "测*一"
    alone = await kiosk.seen(ID_CARD)
    refused(await kiosk.ask("/codes", choice | {"visit": alone["visit"]}), "EVIDENCE_MISSING", 403)
    used = ok(await kiosk.ask("/records", {"visit": view["visit"], "kind": "uses"}))
    assert used["items"][0]["text_zh"] == "扫了身份二维码"
    phone = kiosk.log_ins.phone
    ok(await phone.act(f"links/{phone.sign_no}/unlink", "unlink"))
    assert not acts(await kiosk.seen(ID_CARD, kiosk.card()))["code"]["possible"]
    refused(await kiosk.ask("/codes", choice), "ECARD_UNLINKED", 403)


async def test_photo_on_file(kiosk: Kiosk) -> None:
    view = await kiosk.seen(ID_CARD, serial=2)
    photo = ok(await kiosk.photo(view), 201)
    ok(await kiosk.apply(view, photo_id=photo["id"]), 201)
    assert (await kiosk.seen(ID_CARD, serial=2))["photo_id"] == photo["id"]
    kiosk.centre.clock.advance(timedelta(days=400).total_seconds())
    assert (await kiosk.seen(ID_CARD, serial=2))["photo_id"] is None


async def test_an_application_is_its_visitor_s(kiosk: Kiosk) -> None:
    """Nobody's photo is taken, and the register asked about nobody, without the identity card of that person."""
    centre = kiosk.centre
    client, key = centre.as_("kiosk-1"), {"Idempotency-Key": "without-any"}
    seen, other = await kiosk.seen(ID_CARD, serial=2), await kiosk.seen(ID_CARD, serial=3)
    by_card = await kiosk.seen(kiosk.card())
    elsewhere = Kiosk(centre, "kiosk-2")
    await centre.register("kiosk-2", ("terminal",), REGION)
    ok(await centre.as_("kiosk-2").post("/v1/terminals/heartbeats", json=beat(centre)))
    refused(await client.post("/v1/applications", json=application(2), headers=key), "EVIDENCE_MISSING", 403)
    for answer in (
        await kiosk.apply({"visit": "AAAA"}),
        await kiosk.apply(by_card, serial=1),
        await kiosk.photo(by_card),
        await elsewhere.apply(seen),
        await elsewhere.photo(seen),
    ):
        refused(answer, "EVIDENCE_MISSING", 403)
    refused(await kiosk.apply(other), "HOLDER_MISMATCH", 403)
    refused(await kiosk.apply(seen, channel="counter"), "CLIENT_FORBIDDEN", 403)
    refused(await kiosk.apply(seen, agent=Agent.model_json_schema()["examples"][0]), "CLIENT_FORBIDDEN", 403)
    photo = ok(await kiosk.photo(seen), 201)["id"]
    confirmation = {"json": {"is_face_good": True}, "headers": key}
    refused(await client.post(f"/v1/photos/{photo}/confirm", **confirmation), "EVIDENCE_MISSING", 403)
    there = await elsewhere.seen(ID_CARD, serial=2)
    foreign = confirmation | {"headers": key | {VISIT_HEADER: there["visit"]}}
    refused(await centre.as_("kiosk-2").post(f"/v1/photos/{photo}/confirm", **foreign), "NOT_FOUND", 404)
    centre.clock.advance(15 * 60)
    refused(await kiosk.apply(seen), "EVIDENCE_MISSING", 403)
    ok(await kiosk.apply(await kiosk.seen(ID_CARD, serial=2), photo_id=photo), 201)


@both_engines
async def test_an_application_taken_in_elsewhere_is_given_to_the_kiosk_of_its_person(kiosk: Kiosk) -> None:
    centre = kiosk.centre
    client, key = centre.as_("kiosk-1"), {"Idempotency-Key": "without-any"}
    made = ok(await centre.as_("terminal").post("/v1/applications", json=application(2), headers=key), 201)["id"]
    path, start = f"/v1/applications/{made}", {"kind": "personalization", "atr": atr(2), "application_id": made}
    spoilt = {"reset_information": reset(2), "reason": "x"}

    async def tried() -> list[httpx.Response]:
        looked, begun = await client.get(path), await client.post("/v1/card-sessions", json=start)
        return [looked, begun, await client.post(f"{path}/write-off", json=spoilt, headers=key)]

    for answer in await tried():
        refused(answer, "NOT_FOUND", 404)
    order = {"application_id": made}
    for view, failure in (
        (await kiosk.seen(ID_CARD), "NOT_FOUND"),
        (await kiosk.seen(ID_CARD, serial=3), "NOT_FOUND"),
        ({"visit": "AAAA"}, "EVIDENCE_MISSING"),
    ):
        answer = await kiosk.ask("/continuations", order | {"visit": view["visit"]})
        refused(answer, failure, 404 if failure == "NOT_FOUND" else 403)
    view = await kiosk.seen(ID_CARD, serial=2)
    assert (view["application"]["can_continue"], view["application"]["is_mine"]) == (True, False)
    ok(await kiosk.ask("/continuations", order | {"visit": view["visit"]}))
    assert (await kiosk.seen(ID_CARD, serial=2))["application"]["is_mine"]
    assert [answer.status_code for answer in await tried()] == [200, 201, 200]


async def test_a_kiosk_writes_off_what_it_has_inside(kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch) -> None:
    """And begins on an application as it is once it is locked: a row that was read before would not be read again."""
    centre, key = kiosk.centre, {"Idempotency-Key": "without-any"}
    client, counter = centre.as_("kiosk-1"), centre.as_("terminal")
    made = ok(await counter.post("/v1/applications", json=application(2), headers=key), 201)["id"]
    start = {"kind": "personalization", "atr": atr(2), "application_id": made}
    ok(await counter.post("/v1/card-sessions", json=start), 201)
    visit = (await kiosk.seen(ID_CARD, serial=2))["visit"]
    ok(await kiosk.ask("/continuations", {"visit": visit, "application_id": made}))
    path, dead = f"/v1/applications/{made}/write-off", {"reset_information": reset(2), "reason": "x"}
    refused(await client.post(path, json=dead, headers=key), "NOT_FOUND", 404)
    locks, get = [], ApplicationRepository.get

    async def noted(self: ApplicationRepository, name: str, *, is_locking: bool = True) -> Any:
        locks.append(is_locking)
        return await get(self, name, is_locking=is_locking)

    monkeypatch.setattr(ApplicationRepository, "get", noted)
    ok(await client.post("/v1/card-sessions", json=start), 201)
    assert locks[0]
    ok(await client.post(path, json=dead, headers=key))


async def test_a_kiosk_asks_for_nothing_else_that_staff_answer_for(kiosk: Kiosk) -> None:
    client, key = kiosk.centre.as_("kiosk-1"), {"Idempotency-Key": "nobody-there"}
    path = f"/v1/applications/{'0' * 32}"
    for answer in (
        await client.get("/v1/applications/stuck"),
        await client.post(f"{path}/photo", json={"photo_id": "0" * 32}, headers=key),
        await client.post(f"{path}/identity-check"),
        await client.post(f"{path}/next-action", json={}, headers=key),
        await client.get(f"/v1/photos/{'0' * 32}"),
        await client.get(f"/v1/photos/{'0' * 32}/image"),
        await client.post("/v1/card-sessions", json={"kind": "initialization", "atr": atr(3), "region": REGION}),
    ):
        refused(answer, "CLIENT_FORBIDDEN", 403)


# -- records ----------------------------------------------------------------------------------------------------------


async def test_who_looked_in_plain_words(kiosk: Kiosk) -> None:
    ok(await kiosk.centre.as_("operator").get(f"/v1/cards/{kiosk.number}"))
    for day in range(8):
        for _ in range(2 if day else 1):
            view = await kiosk.seen(ID_CARD)
        kiosk.centre.clock.advance(86_400)
    view = await kiosk.seen(ID_CARD)
    first = ok(await kiosk.ask("/records", {"visit": view["visit"], "kind": "looks"}))
    assert (len(first["items"]), first["next"]) == (10, None)
    assert [item["count"] for item in first["items"]] == [1, *[2] * 7, 1, 1]
    assert {item["text_zh"] for item in first["items"]} == {"自助查询", "查看卡片"}
    assert {item["where"] for item in first["items"]} == {"kiosk-1", "operator"}
    ok(await kiosk.centre.as_("operator").get(f"/v1/cards/{kiosk.number}"))
    more = ok(await kiosk.ask("/records", {"visit": view["visit"], "kind": "looks"}))
    rest = ok(await kiosk.ask("/records", {"visit": view["visit"], "kind": "looks", "after": more["next"]}))
    assert (more["next"], len(rest["items"]), rest["next"]) == (10, 1, None)
    events = ok(await kiosk.ask("/records", {"visit": view["visit"], "kind": "events"}))
    assert "发卡" in [item["text_zh"] for item in events["items"]]


def test_whatever_happens_to_a_card_has_words() -> None:
    """Whoever writes a new act into the history of cards gives it words in `person_file/service.py`."""
    written = {("chip", kind) for kind in VISITS} | {("social", kind) for kind in ("replacement", "renewal")}
    written |= {("ecard", act) for act in ("suspend", "restore", "cancel")}
    for file in Path("issuance").rglob("*.py"):
        source = file.read_text(encoding="utf-8")
        written |= set(re.findall(r'\.record\(\s*\w+, "(\w+)", "(\w+)"', source))
        written |= {("financial", act) for act in re.findall(r'_set\(card, account, "(\w+)"', source)}
    assert len(written) > 14
    raw = [one for one in sorted(written) if words_of(CardEventRow(side=one[0], act=one[1])) == (one[1], one[1])]
    assert raw == []


def test_looks_have_words() -> None:
    assert [act for act in LOOKS if act not in words("zh")["acts"] or act not in words("en")["acts"]] == []


# -- by the phone -----------------------------------------------------------------------------------------------------


async def _approved(kiosk: Kiosk) -> tuple[dict[str, Any], dict[str, Any]]:
    begun = ok(await kiosk.ask("/log-ins", {}), 201)
    assert ok(await kiosk.ask("/log-ins/look", {"log_in": begun["log_in"]})) == {"stage": "open", "holder": None}
    asked = ok(await kiosk.log_ins.scan(begun["text"].partition("#")[2]), 201)
    assert ok(await kiosk.ask("/log-ins/look", {"log_in": begun["log_in"]}))["stage"] == "claimed"
    ok(await kiosk.log_ins.approve(asked, begun["number"]))
    return begun, asked


@both_engines
async def test_known_by_the_phone(kiosk: Kiosk) -> None:
    assert ok(await kiosk.centre.as_("kiosk-1").get("/v1/self-service"))["log_in"]
    begun, asked = await _approved(kiosk)
    assert (asked["name"], asked["items"]) == ("示例自助服务机", [])
    stolen = Kiosk(kiosk.centre, "terminal")
    refused(await stolen.ask("/log-ins/look", {"log_in": begun["log_in"]}), "NOT_FOUND", 404)
    look = ok(await kiosk.ask("/log-ins/look", {"log_in": begun["log_in"]}))
    view = look["holder"]
    assert (look["stage"], view["evidence"], view["holder"]["name"]) == ("approved", ["ecard"], "测*一")
    assert [card["is_presented"] for card in view["cards"]] == [False]
    assert ok(await kiosk.ask("/log-ins/look", {"log_in": begun["log_in"]})) == {"stage": "over", "holder": None}
    assert ok(await kiosk.act(view, "lose"))["card"]["state"] == "2"
    refused(await kiosk.act(view, "lift"), "EVIDENCE_MISSING", 403)


async def test_a_phone_s_release_is_an_online_one(kiosk: Kiosk) -> None:
    """The region's rule for releases over the electronic card holds at a kiosk, too."""
    view = await _approved_view(kiosk)
    ok(await kiosk.act(view, "lose_temporarily"))
    rules = kiosk.log_ins.services.rules.pack(REGION).on(kiosk.centre.clock().date())
    answer = await kiosk.act(view, "release")
    if rules.online_release_allowed:
        assert ok(answer)["card"]["state"] == "1"
    else:
        refused(answer, "CARD_STATE", 409)


async def _approved_view(kiosk: Kiosk) -> dict[str, Any]:
    begun, _ = await _approved(kiosk)
    view: dict[str, Any] = ok(await kiosk.ask("/log-ins/look", {"log_in": begun["log_in"]}))["holder"]
    return view


async def test_refused_on_the_phone_and_over(kiosk: Kiosk) -> None:
    begun = ok(await kiosk.ask("/log-ins", {}), 201)
    asked = ok(await kiosk.log_ins.scan(begun["text"].partition("#")[2]), 201)
    ok(await kiosk.log_ins.phone.post(f"log-ins/{asked['id']}/refuse"))
    assert ok(await kiosk.ask("/log-ins/look", {"log_in": begun["log_in"]}))["stage"] == "refused"
    begun = ok(await kiosk.ask("/log-ins", {}), 201)
    kiosk.centre.clock.advance(60)
    assert ok(await kiosk.ask("/log-ins/look", {"log_in": begun["log_in"]}))["stage"] == "over"
    ok(await kiosk.centre.as_("operator").post("/v1/relying-parties/kiosk/suspend", json={}))
    refused(await kiosk.ask("/log-ins", {}), "LOGIN_DENIED", 403)
    assert not ok(await kiosk.centre.as_("kiosk-1").get("/v1/self-service"))["log_in"]


def test_nothing_personal_is_asked_in_addresses(centre: Centre) -> None:
    paths: Sequence[str] = [path for path in centre.app.openapi()["paths"] if path.startswith("/v1/self-service")]
    assert len(paths) == 9
    assert [path for path in paths if "{" in path] == []
