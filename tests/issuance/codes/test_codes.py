"""Codes: sixty seconds, once, one scene, known only to whoever shows them."""

from __future__ import annotations

import asyncio
import base64
import io
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from issuance.clients.schemas import ItemName, SceneName
from issuance.codes.schemas import Scene
from issuance.consents.catalogue import ITEMS_OF_SCENE, SHOWN_IN_SCENE
from onecard_ui.code_picture import codes_in
from tests.issuance.codes.stand import scan, show
from tests.issuance.conftest import Centre, both_engines, ok, refused
from tests.issuance.phone import Phone
from tests.issuance.redis_server import RedisServer


async def test_picture_holds_the_code(phone: Phone) -> None:
    issued = await show(phone)
    picture = Image.open(io.BytesIO(base64.b64decode(issued["png_base64"])))
    assert [result.text for result in codes_in(picture)] == [issued["code"]]
    assert ET.fromstring(issued["svg"]).tag.endswith("svg")
    assert issued["code"].startswith("OC1.")
    assert (issued["ttl_s"], issued["expires_at"]) == (60, "2026-01-05T01:01:00Z")


ALWAYS = {"scene", "ecard_no", "used_at"}


@pytest.mark.parametrize(
    ("scene", "fields"),
    [
        ("identity", {"name", "region", "card_state"}),
        ("payment", {"region", "card_state", "limit_fen"}),
        ("login", {"name"}),
    ],
)
async def test_answer_holds_what_the_scene_needs(centre: Centre, phone: Phone, scene: str, fields: set[str]) -> None:
    answer = ok(await scan(centre, (await show(phone, scene))["code"], scene))
    assert set(answer) == ALWAYS | fields
    assert answer["ecard_no"] == phone.ecard_no
    assert answer.get("name", "测*一") == "测*一"
    assert answer.get("limit_fen", 100_000) == 100_000


async def test_a_caller_is_told_what_it_is_registered_for(centre: Centre, phone: Phone) -> None:
    await centre.register("hospital", ("verifier",))
    centre.store.sql("UPDATE clients SET items = '[\"name\", \"social_security_number\"]' WHERE id = 'hospital'")
    answer = ok(await scan(centre, (await show(phone))["code"], by="hospital"))
    assert answer["name"] == "测试一"
    assert answer["social_security_number"].startswith("990100")
    paid = ok(await scan(centre, (await show(phone, "payment"))["code"], "payment", by="hospital", amount_fen=1))
    assert "name" not in paid, "the scene has no name, whoever asks"


def test_what_clients_register_is_what_there_is() -> None:
    more = {item for scene in Scene for item in ITEMS_OF_SCENE[scene] - SHOWN_IN_SCENE[scene]}
    assert set(ItemName.__args__) == more  # type: ignore[attr-defined]
    assert set(SceneName.__args__) == set(Scene)  # type: ignore[attr-defined]


async def test_once_only(centre: Centre, phone: Phone) -> None:
    code = (await show(phone))["code"]
    ok(await scan(centre, code))
    refused(await scan(centre, code), "CODE_USED", 409)
    centre.clock.advance(120)
    refused(await scan(centre, code), "CODE_USED", 409)


@both_engines
async def test_twenty_at_once_accept_one(centre: Centre, phone: Phone) -> None:
    code = (await show(phone))["code"]
    answers = await asyncio.gather(*(scan(centre, code) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"CODE_USED"}


async def test_one_request_sent_twice_at_once(centre: Centre, phone: Phone) -> None:
    """Both get the answer; one use is on record."""
    code = (await show(phone))["code"]
    first, second = await asyncio.gather(*(scan(centre, code, key="validation-1") for _ in range(2)))
    assert ok(first) == ok(second)
    assert centre.store.sql("SELECT count(*) FROM ecard_uses") == [(1,)]
    assert centre.store.sql("SELECT count(*) FROM audit_entries WHERE act = 'code.validate'") == [(1,)]


@both_engines
async def test_newer_code_ends_the_older_of_its_scene(centre: Centre, phone: Phone) -> None:
    old, pay, new = [(await show(phone, scene))["code"] for scene in ("identity", "payment", "identity")]
    refused(await scan(centre, old), "CODE_EXPIRED", 410)
    ok(await scan(centre, pay, "payment"))
    ok(await scan(centre, new))


@both_engines
async def test_same_request_same_answer_while_the_code_would_live(centre: Centre, phone: Phone) -> None:
    code = (await show(phone))["code"]
    centre.clock.advance(40)
    first = await scan(centre, code, key="validation-1")
    assert "idempotency-replayed" not in first.headers
    centre.clock.advance(19)
    again = await scan(centre, code, key="validation-1")
    assert (ok(again), again.headers["idempotency-replayed"]) == (ok(first), "true")
    assert ok(await scan(centre, code, request_id="validation-1")) == ok(first)
    centre.clock.advance(1)
    refused(await scan(centre, code, key="validation-1"), "CODE_USED", 409)


async def test_answer_is_not_repeated_for_a_card_lost_meanwhile(centre: Centre, phone: Phone) -> None:
    code = (await show(phone))["code"]
    ok(await scan(centre, code, key="validation-1"))
    centre.store.sql("UPDATE cards SET state = '2'")
    refused(await scan(centre, code, key="validation-1"), "ECARD_NOT_USABLE", 409)


async def test_lost_card_makes_no_code(centre: Centre, phone: Phone) -> None:
    centre.store.sql("UPDATE cards SET state = '2'")
    refused(await phone.post("codes", {"scene": "identity"}), "ECARD_NOT_USABLE", 409)


async def test_payment_needs_the_password_and_level_2(centre: Centre, phone: Phone) -> None:
    refused(await phone.post("codes", {"scene": "payment"}), "INPUT_INVALID", 400)
    proof = await phone.busi_seq("payment")
    ok(await phone.post("codes", {"scene": "payment", "busi_seq": proof}), 201)
    refused(await phone.post("codes", {"scene": "payment", "busi_seq": proof}), "BUSI_SEQ_INVALID", 403)
    other = await phone.busi_seq("loss")
    refused(await phone.post("codes", {"scene": "payment", "busi_seq": other}), "BUSI_SEQ_INVALID", 403)
    centre.store.sql("UPDATE card_accounts SET state = 'frozen'")
    proof = await phone.busi_seq("payment")
    refused(await phone.post("codes", {"scene": "payment", "busi_seq": proof}), "ECARD_LEVEL", 403)


async def test_the_holder_sees_the_uses(centre: Centre, phone: Phone) -> None:
    for n, scene in enumerate(("identity", "login", "payment")):
        centre.clock.advance(1)
        more = {"amount_fen": 1250} if scene == "payment" else {}
        ok(await scan(centre, (await show(phone, scene))["code"], scene, key=f"validation-{n}", **more))
    first = ok(await phone.get("uses?limit=2"))
    rest = ok(await phone.get(f"uses?limit=2&cursor={first['next_cursor']}"))
    assert rest["next_cursor"] is None
    uses = first["items"] + rest["items"]
    assert [(use["scene"], use["amount_fen"]) for use in uses] == [
        ("payment", 1250),
        ("login", None),
        ("identity", None),
    ]
    assert {(use["client"], use["act"], use["is_this_phone"]) for use in uses} == {("verifier", "validate", True)}


@both_engines
async def test_neither_database_nor_redis_can_show_a_code(
    centre: Centre, with_redis: RedisServer, phone: Phone
) -> None:
    code = (await show(phone))["code"]
    held = with_redis.held()
    assert b"code:" in held
    for secret in (code, phone.ecard_no, "测试"):
        assert secret.encode() not in held, secret
    ok(await scan(centre, code))
    assert code.encode() not in centre.store.stored()


async def test_counted(centre: Centre, phone: Phone) -> None:
    code = (await show(phone))["code"]
    ok(await scan(centre, code, key="validation-1"))
    ok(await scan(centre, code, key="validation-1"))
    refused(await scan(centre, code), "CODE_USED", 409)
    text = (await centre.as_("operator").get("/metrics")).text
    for outcome in ("issued", "accepted", "again", "CODE_USED"):
        assert f'onecard_issuance_codes_total{{outcome="{outcome}",scene="identity"}} 1.0' in text
