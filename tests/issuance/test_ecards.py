"""Codes: sixty seconds, once, one scene, known only to whoever shows them."""

from __future__ import annotations

import asyncio
import base64
import io
import xml.etree.ElementTree as ET
from typing import Any

import httpx
import pytest
import zxingcpp
from PIL import Image

from tests.issuance.conftest import Centre, both_engines, ok, refused


@pytest.fixture
async def ecard_no(centre: Centre) -> str:
    await centre.stock()
    number: str = (await centre.issue(1))["ecard_no"]
    return number


async def _code(centre: Centre, ecard_no: str, scene: str = "identity") -> dict[str, Any]:
    code: dict[str, Any] = ok(
        await centre.as_("wallet").post(f"/v1/ecards/{ecard_no}/codes", json={"scene": scene}), 201
    )
    return code


async def _validate(centre: Centre, code: str, scene: str = "identity", key: str = "") -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    body = {"code": code, "scene": scene}
    return await centre.as_("verifier").post("/v1/ecard-codes/validate", json=body, headers=headers)


async def test_picture_holds_the_code(centre: Centre, ecard_no: str) -> None:
    issued = await _code(centre, ecard_no)
    picture = Image.open(io.BytesIO(base64.b64decode(issued["png_base64"])))
    assert [result.text for result in zxingcpp.read_barcodes(picture)] == [issued["code"]]
    assert ET.fromstring(issued["svg"]).tag.endswith("svg")
    assert issued["code"].startswith("OC1.")
    assert (issued["ttl_s"], issued["expires_at"]) == (60, "2026-01-05T01:01:00Z")


@pytest.mark.parametrize(
    ("scene", "fields"),
    [
        ("identity", {"scene", "ecard_no", "used_at", "name", "region", "card_state"}),
        ("payment", {"scene", "ecard_no", "used_at", "region", "card_state"}),
        ("login", {"scene", "ecard_no", "used_at", "name"}),
    ],
)
async def test_answer_holds_what_the_scene_needs(centre: Centre, ecard_no: str, scene: str, fields: set[str]) -> None:
    code = (await _code(centre, ecard_no, scene))["code"]
    answer = ok(await _validate(centre, code, scene))
    assert set(answer) == fields
    assert answer["ecard_no"] == ecard_no
    assert answer.get("name", "测*一") == "测*一"


async def test_once_only(centre: Centre, ecard_no: str) -> None:
    code = (await _code(centre, ecard_no))["code"]
    ok(await _validate(centre, code))
    refused(await _validate(centre, code), "CODE_USED", 409)
    centre.clock.advance(120)
    refused(await _validate(centre, code), "CODE_USED", 409)


@both_engines
async def test_twenty_at_once_accept_one(centre: Centre, ecard_no: str) -> None:
    code = (await _code(centre, ecard_no))["code"]
    answers = await asyncio.gather(*(_validate(centre, code) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"CODE_USED"}


@pytest.mark.parametrize(("seconds", "accepted"), [(59.9, True), (60, False)])
async def test_sixty_seconds(centre: Centre, ecard_no: str, seconds: float, accepted: bool) -> None:
    code = (await _code(centre, ecard_no))["code"]
    centre.clock.advance(seconds)
    if accepted:
        ok(await _validate(centre, code))
    else:
        refused(await _validate(centre, code), "CODE_EXPIRED", 410)


@both_engines
async def test_newer_code_cancels_the_older_of_its_scene(centre: Centre, ecard_no: str) -> None:
    old, pay, new = [(await _code(centre, ecard_no, scene))["code"] for scene in ("identity", "payment", "identity")]
    refused(await _validate(centre, old), "CODE_EXPIRED", 410)
    ok(await _validate(centre, pay, "payment"))
    ok(await _validate(centre, new))


async def test_wrong_scene_does_not_spend(centre: Centre, ecard_no: str) -> None:
    code = (await _code(centre, ecard_no, "payment"))["code"]
    refused(await _validate(centre, code, "identity"), "CODE_SCENE", 409)
    ok(await _validate(centre, code, "payment"))


@pytest.mark.parametrize(
    "change", [lambda c: c[:-1], lambda c: c + "A", lambda c: c.lower(), lambda _: "OC1.", lambda _: "二维码"]
)
async def test_unknown_codes(centre: Centre, ecard_no: str, change: Any) -> None:
    code = (await _code(centre, ecard_no))["code"]
    refused(await _validate(centre, change(code)), "CODE_UNKNOWN", 404)
    ok(await _validate(centre, code))


@both_engines
async def test_same_key_same_answer(centre: Centre, ecard_no: str) -> None:
    code = (await _code(centre, ecard_no))["code"]
    first = ok(await _validate(centre, code, key="validation-1"))
    centre.clock.advance(30)
    assert ok(await _validate(centre, code, key="validation-1")) == first
    refused(await _validate(centre, code, key="validation-2"), "CODE_USED", 409)
    refused(await _validate(centre, "OC1.other", key="validation-1"), "IDEMPOTENCY_CONFLICT", 409)


async def test_answer_lives_no_longer_than_the_code(centre: Centre, ecard_no: str) -> None:
    code = (await _code(centre, ecard_no))["code"]
    centre.clock.advance(40)
    first = await _validate(centre, code, key="validation-1")
    assert "idempotency-replayed" not in first.headers
    centre.clock.advance(19)
    again = await _validate(centre, code, key="validation-1")
    assert (ok(again), again.headers["idempotency-replayed"]) == (ok(first), "true")
    centre.clock.advance(1)
    refused(await _validate(centre, code, key="validation-1"), "CODE_USED", 409)


async def test_answer_is_not_repeated_for_a_card_lost_meanwhile(centre: Centre, ecard_no: str) -> None:
    code = (await _code(centre, ecard_no))["code"]
    ok(await _validate(centre, code, key="validation-1"))
    centre.store.sql("UPDATE cards SET state = '2'")
    refused(await _validate(centre, code, key="validation-1"), "CARD_STATE", 409)


@both_engines
async def test_lost_card_shows_no_code(centre: Centre, ecard_no: str) -> None:
    code = (await _code(centre, ecard_no))["code"]
    centre.store.sql("UPDATE cards SET state = '2'")
    refused(await _validate(centre, code), "CARD_STATE", 409)
    refused(
        await centre.as_("wallet").post(f"/v1/ecards/{ecard_no}/codes", json={"scene": "identity"}), "CARD_STATE", 409
    )
    assert ok(await centre.as_("wallet").get(f"/v1/ecards/{ecard_no}"))["card_state"] == "2"


async def test_unknown_ecard(centre: Centre) -> None:
    body = {"scene": "identity"}
    refused(await centre.as_("wallet").post(f"/v1/ecards/{'0' * 32}/codes", json=body), "NOT_FOUND", 404)


@both_engines
async def test_database_cannot_show_a_code(centre: Centre, ecard_no: str) -> None:
    code = (await _code(centre, ecard_no))["code"]
    assert code.encode() not in centre.store.stored()


async def test_use_and_refusal_are_audited(centre: Centre, ecard_no: str) -> None:
    code = (await _code(centre, ecard_no))["code"]
    await _validate(centre, code)
    await _validate(centre, code)
    trail = ok(await centre.as_("operator").get("/v1/audit", params={"subject": f"ecard:{ecard_no}"}))
    acts = [(entry["act"], entry["actor"], entry["outcome"]) for entry in trail]
    assert acts[:3] == [
        ("POST /v1/ecard-codes/validate", "verifier", "CODE_USED"),
        ("code.validate", "verifier", "ok"),
        ("code.issue", "wallet", "ok"),
    ]
