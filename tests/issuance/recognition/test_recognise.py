"""Codes of other platforms at a verifier's: translated by the platform in the settings, and by nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.client_auth import ClientKey
from issuance.clock import system_clock
from issuance.recognition.families import families
from issuance.recognition.platforms import HttpCodePlatform, PlatformAddressError, code_platforms
from issuance.settings import Settings
from simulators.code_platforms import FAMILIES, FAULTS, SimCodePlatforms
from tests.issuance.conftest import START, Centre, both_engines, ok, refused
from tests.issuance.phone import Phone, signed_phone

KEY = ClientKey.generate("code-platforms")


class Recording(httpx.ASGITransport):
    """Notes every host that is spoken to."""

    def __init__(self, simulator: SimCodePlatforms) -> None:
        super().__init__(simulator.app)
        self.hosts: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.hosts.add(request.url.host)
        return await super().handle_async_request(request)


class Desk:
    """A centre that asks simulated platforms on the test's clock."""

    def __init__(self, centre: Centre) -> None:
        self.centre = centre
        clock = centre.clock
        self.simulator = SimCodePlatforms(KEY.public_jwk(), KEY.audience, clock=lambda: clock().timestamp())
        self.transport = Recording(self.simulator)
        self.connect(KEY)

    def connect(self, key: ClientKey) -> None:
        platforms = {
            name: HttpCodePlatform(
                f"http://127.0.0.1/{name}", key, self.centre.clock, timeout_s=1, transport=self.transport
            )
            for name in FAMILIES
        }
        self.centre.app.state.services = replace(self.centre.app.state.services, code_platforms=platforms)

    async def recognise(self, code: str, scene: str = "identity", by: str = "verifier") -> dict[str, Any]:
        body = {"code": code, "scene": scene}
        found: dict[str, Any] = ok(await self.centre.as_(by).post("/v1/codes/recognise", json=body))
        return found

    async def result(self, code: str) -> str:
        return str((await self.recognise(code))["result"])


@pytest.fixture
async def desk(centre: Centre) -> Desk:
    await centre.stock()
    return Desk(centre)


@pytest.fixture
async def phone(desk: Desk) -> Phone:
    return await signed_phone(desk.centre)


@both_engines
async def test_a_foreign_code_stands_for_one_of_our_cards(desk: Desk, phone: Phone) -> None:
    for family in FAMILIES:
        code = desk.simulator.show(family, phone.ecard_no)
        found = await desk.recognise(code)
        assert (found["kind"], found["family"], found["result"]) == ("foreign", family, "holder")
        shown = {"ecard_no": phone.ecard_no, "name": "测*一", "region": "110000", "card_state": "1"}
        assert found["holder"] == shown
        assert await desk.result(code) == "used"
        assert code not in json.dumps(await _trail(desk.centre))
        assert desk.simulator.questions[-1].get("business_type", "") == families()[family].business_type
    trail = [entry for entry in await _trail(desk.centre) if entry["subject"] == f"ecard:{phone.ecard_no}"]
    assert [entry["detail"]["family"] for entry in reversed(trail)] == list(FAMILIES)
    uses = ok(await phone.get("uses"))["items"]
    assert [(use["act"], use["client"]) for use in uses] == [("recognise", "verifier")] * len(FAMILIES)


async def _trail(centre: Centre) -> list[dict[str, Any]]:
    entries = ok(await centre.as_("operator").get("/v1/audit", params={"limit": 100}))
    return [entry for entry in entries if entry["act"] == "code.recognise"]


async def test_a_scene_shows_what_it_shows(desk: Desk, phone: Phone) -> None:
    for scene, shown in (("payment", {"region", "card_state"}), ("login", {"name"})):
        found = await desk.recognise(desk.simulator.show("city", phone.ecard_no), scene)
        assert {name for name, value in found["holder"].items() if value} == shown | {"ecard_no"}
    ours = ok(await phone.post("codes", {"scene": "identity"}), 201)["code"]
    found = await desk.recognise(ours)
    assert (found["kind"], found["result"], found["holder"]) == ("own", "not_asked", None)
    body = {"code": ours, "scene": "identity"}
    ok(await desk.centre.as_("verifier").post("/v1/ecard-codes/validate", json=body))


async def test_a_code_is_good_once_whatever_its_platform_says(desk: Desk, phone: Phone) -> None:
    code = desk.simulator.show("government", phone.ecard_no)
    assert await desk.result(code) == "holder"
    desk.simulator.codes[code].is_used = False
    again = await desk.recognise(code)
    assert (again["result"], again["holder"]) == ("used", None)


async def test_what_the_platform_says_is_said(desk: Desk, phone: Phone) -> None:
    assert await desk.result("ZWFW110000" + "a" * 32) == "unknown"
    assert await desk.result(desk.simulator.show("medical", "0" * 32)) == "elsewhere"
    late = desk.simulator.show("government", phone.ecard_no)
    city = desk.simulator.show("city", phone.ecard_no)
    desk.centre.clock.advance(60)
    asked = len(desk.simulator.questions)
    assert await desk.result(late) == "expired"
    assert await desk.result(city) == "expired"
    assert await desk.result(desk.simulator.show("city", phone.ecard_no, kind="thing")) == "not_a_person"
    assert len(desk.simulator.questions) == asked + 1, "what a city code tells itself is asked of nobody"


async def test_the_holder_of_a_lost_card_is_not_shown(desk: Desk, phone: Phone) -> None:
    card = (await _card_of(desk.centre, phone))["card_number"]
    headers = {"Idempotency-Key": "lost-card"}
    shown = ok(await desk.centre.as_("operator").get(f"/v1/cards/{card}"))
    body = {"kind": "formal", "version": shown["version"]}
    ok(await desk.centre.as_("operator").post(f"/v1/cards/{card}/loss", json=body, headers=headers))
    body = {"code": desk.simulator.show("city", phone.ecard_no)}
    refused(await desk.centre.as_("verifier").post("/v1/codes/recognise", json=body), "ECARD_NOT_USABLE", 409)


async def _card_of(centre: Centre, phone: Phone) -> dict[str, Any]:
    (row,) = centre.store.sql("SELECT card_number FROM ecards WHERE ecard_no = :no", no=phone.ecard_no)
    return {"card_number": row[0]}


async def test_what_is_no_answer_is_unavailable(desk: Desk) -> None:
    for fault in FAULTS:
        code = desk.simulator.show("city", "0" * 32)
        desk.simulator.faults[fault] = 1
        assert await desk.result(code) == "unavailable", fault
    assert desk.transport.hosts == {"127.0.0.1"}, "a redirect is not followed, a guide not opened"


async def test_a_platform_believes_no_other_centre(desk: Desk) -> None:
    desk.connect(ClientKey.generate("code-platforms"))
    assert await desk.result(desk.simulator.show("city", "0" * 32)) == "unavailable"
    assert desk.simulator.questions == []


async def test_whose_it_probably_is_or_plainly_unknown(desk: Desk) -> None:
    for code, family in (
        ("https://127.0.0.1/metadata", "address"),
        ("281234567890123456", "payment_alipay"),
        ("no such code at all", None),
        ("OC1.short", None),
    ):
        found = await desk.recognise(code)
        assert (found["family"], found["kind"]) == (family, "foreign" if family else "unknown")
        assert (found["holder"], desk.transport.hosts) == (None, set())
        assert found["advice_zh"]


async def test_only_verifiers_ask_and_only_for_their_scenes(desk: Desk) -> None:
    for body in ({"code": ""}, {"code": "x" * 1025}, {"code": "x", "scene": "all"}, {"code": "x", "url": "y"}):
        refused(await desk.centre.as_("verifier").post("/v1/codes/recognise", json=body), "INPUT_INVALID", 422)
    refused(await desk.centre.as_("wallet").post("/v1/codes/recognise", json={"code": "x"}), "CLIENT_FORBIDDEN", 403)


async def test_without_a_platform_nobody_is_asked(centre: Centre) -> None:
    simulator = SimCodePlatforms(KEY.public_jwk(), KEY.audience, clock=START.timestamp)
    body = {"code": simulator.show("city", "0" * 32)}
    found = ok(await centre.as_("verifier").post("/v1/codes/recognise", json=body))
    assert (found["family"], found["result"]) == ("city", "not_asked")


def test_settings_that_cannot_work_are_told_at_once(tmp_path: Path) -> None:
    KEY.save(tmp_path / "key")
    good = Settings(code_platforms={"city": "https://x.example"}, code_platforms_key_path=tmp_path / "key")
    assert set(code_platforms(good, system_clock)) == {"city"}
    for platforms in ({"city": "http://x.example"}, {"address": "https://x.example"}, {"nobody": "https://x.example"}):
        with pytest.raises(PlatformAddressError):
            code_platforms(good.model_copy(update={"code_platforms": platforms}), system_clock)
    with pytest.raises(PlatformAddressError):
        code_platforms(good.model_copy(update={"code_platforms_key_path": None}), system_clock)


@settings(max_examples=60)
@given(st.one_of(st.binary(max_size=200), st.builds(json.dumps, st.dictionaries(st.text(max_size=12), st.text()))))
async def test_any_reply_is_a_translation_or_none(reply: bytes | str) -> None:
    content = reply if isinstance(reply, bytes) else reply.encode()
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, content=content))
    platform = HttpCodePlatform("http://127.0.0.1", KEY, system_clock, timeout_s=1, transport=transport)
    assert (await platform.ask(families()["city"], "x", "identity")).outcome == "unavailable"
    await platform.close()
