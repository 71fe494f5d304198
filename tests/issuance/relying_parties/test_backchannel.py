"""At a counter (CIBA, poll mode): the relying party names the holder, the phone approves, the counter gets tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from authlib.integrations.base_client import OAuthError
from sqlalchemy import event

from issuance.audit.refusals import MinuteLimit
from issuance.login.client_assertions import ASSERTION_TYPE
from issuance.login.limits import DenyList
from issuance.login.relying_parties import BACKCHANNEL_GRANT
from tests.issuance.conftest import application, both_engines, ok, refused
from tests.issuance.log_ins.stand import LogIns
from tests.issuance.phone import signed_phone
from tests.issuance.relying_parties.stand import Stand, failed
from tests.issuance.relying_parties.test_client_keys import JWKS, claims_for, signed

MESSAGE = "3 号窗口 医保缴费"
NOBODY = "990101199001019998"


@pytest.fixture
async def counter(stand: Stand) -> Stand:
    for client_id in ("counter", "other"):
        grants = [BACKCHANNEL_GRANT, "refresh_token"]
        await stand.register(client_id, grant_types=grants, scopes=["openid", "profile"], name="示例办事大厅")
    return stand


async def bc_authorize(stand: Stand, client_id: str = "counter", **change: str | None) -> httpx.Response:
    body = {"scope": "openid profile", "login_hint": stand.phone.card_number, "binding_message": MESSAGE} | change
    given = {name: value for name, value in body.items() if value is not None}
    auth = (client_id, stand.secrets[client_id] or "")
    return await stand.browser().post("/oidc/bc-authorize", data=given, auth=auth)


async def begin(stand: Stand, **change: str | None) -> dict[str, Any]:
    begun: dict[str, Any] = ok(await bc_authorize(stand, **change))
    return begun


async def poll(stand: Stand, begun: dict[str, Any], client_id: str = "counter") -> httpx.Response:
    return await stand.token(client_id, grant_type=BACKCHANNEL_GRANT, auth_req_id=begun["auth_req_id"])


async def taken(stand: Stand) -> dict[str, Any]:
    """The newest that waits, taken by the holder's phone."""
    waiting = ok(await stand.phone.get("log-ins"))["items"]
    asked: dict[str, Any] = ok(await stand.phone.post(f"log-ins/{waiting[0]['id']}/claim"), 201)
    return asked


async def approve(stand: Stand, asked: dict[str, Any], number: int) -> httpx.Response:
    log_ins = LogIns(stand.centre)
    log_ins.phone = stand.phone
    return await log_ins.approve(asked, number)


@both_engines
async def test_a_counter_logs_somebody_in(counter: Stand) -> None:
    begun = await begin(counter)
    assert {name: begun[name] for name in ("expires_in", "interval")} == {"expires_in": 300, "interval": 5}
    failed(await poll(counter, begun), "authorization_pending")
    (waiting,) = ok(await counter.phone.get("log-ins"))["items"]
    assert (waiting["name"], waiting["message"], waiting["client_id"]) == ("示例办事大厅", MESSAGE, "counter")
    asked = await taken(counter)
    assert (asked["at_counter"], asked["host"], asked["network"]) == (True, "", "")
    assert f"\n窗口说明 / Counter: {MESSAGE}\n" in asked["text"]
    assert begun["onecard_number"] in asked["choices"]
    assert ok(await counter.phone.get("log-ins"))["items"] == [], "what a phone has taken waits no more"
    ok(await approve(counter, asked, begun["onecard_number"]))
    counter.centre.clock.advance(5)
    endpoint, known = counter.discovery["token_endpoint"], {"auth_req_id": begun["auth_req_id"]}
    async with counter.client("counter") as client:
        token = await client.fetch_token(endpoint, grant_type=BACKCHANNEL_GRANT, **known)
        claims = await counter.claims(token["id_token"])
        assert (claims["aud"], claims["acr"], claims["amr"]) == ("counter", "urn:onecard:acr:scan", ["hwk", "pin"])
        assert ok(await counter.user_info(token["access_token"]))["name"] == "测试一"
        with pytest.raises(OAuthError, match="invalid_grant"):
            await client.fetch_token(endpoint, grant_type=BACKCHANNEL_GRANT, **known)
    assert (await counter.user_info(token["access_token"])).status_code == 401, "used twice ends the log-in"
    (use,) = ok(await counter.phone.get("uses"))["items"]
    assert (use["client"], use["act"], use["is_this_phone"]) == ("counter", "log-in", True)
    assert [item["zh"] for item in use["items"]] == ["姓名"]


async def test_a_person_is_named_by_number_too(counter: Stand) -> None:
    number = application(1)["person"]["social_security_number"]
    begun = await begin(counter, login_hint=f" {number.lower()}")
    asked = await taken(counter)
    ok(await approve(counter, asked, begun["onecard_number"]))
    ok(await poll(counter, begun))


async def test_a_refusal_and_a_wrong_number_reach_the_counter(counter: Stand) -> None:
    begun, asked = await begin(counter), await taken(counter)
    ok(await counter.phone.post(f"log-ins/{asked['id']}/refuse"))
    failed(await poll(counter, begun), "access_denied")
    begun, asked = await begin(counter), await taken(counter)
    wrong = next(choice for choice in asked["choices"] if choice != begun["onecard_number"])
    refused(await approve(counter, asked, wrong), "LOGIN_NUMBER_WRONG", 403)
    failed(await poll(counter, begun), "access_denied")


async def test_who_is_named_cannot_be_found_out(counter: Stand) -> None:
    """The same answer after the same statements for a holder, for a card without a phone and for nobody."""
    without_phone = (await counter.centre.issue(2))["card_number"]
    statements: list[str] = []
    engine = counter.services.database.engine.sync_engine

    def heard(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(engine, "before_cursor_execute", heard)
    told = []
    for hint in (counter.phone.card_number, without_phone, NOBODY, "x"):
        counter.services.login_limits.forget_stored()
        statements.clear()
        begun = await begin(counter, login_hint=hint)
        told.append((sorted(begun), begun["expires_in"], len(begun["auth_req_id"]), len(statements)))
        failed(await poll(counter, begun), "authorization_pending")
    assert told == [told[0]] * 4
    event.remove(engine, "before_cursor_execute", heard)
    begun = await begin(counter, login_hint=NOBODY)
    counter.centre.clock.advance(301)
    failed(await poll(counter, begun), "expired_token")


async def test_a_counter_that_asks_too_often_or_too_late(counter: Stand) -> None:
    begun = await begin(counter, requested_expiry="60")
    assert begun["expires_in"] == 60
    failed(await poll(counter, begun), "authorization_pending")
    counter.centre.clock.advance(4)
    failed(await poll(counter, begun), "slow_down")
    counter.centre.clock.advance(9)
    failed(await poll(counter, begun), "slow_down")
    asked = await taken(counter)
    counter.centre.clock.advance(60)
    failed(await poll(counter, begun), "expired_token")
    refused(await approve(counter, asked, begun["onecard_number"]), "LOGIN_CLOSED", 409)
    await begin(counter)
    (late,) = ok(await counter.phone.get("log-ins"))["items"]
    counter.centre.clock.advance(301)
    refused(await counter.phone.post(f"log-ins/{late['id']}/claim"), "LOGIN_CLOSED", 409)
    assert ok(await counter.phone.get("log-ins"))["items"] == []


async def test_requests_are_the_client_s_own(counter: Stand) -> None:
    begun, asked = await begin(counter), await taken(counter)
    ok(await approve(counter, asked, begun["onecard_number"]))
    failed(await poll(counter, begun, "other"), "invalid_grant")
    failed(await poll(counter, begun, "hall"), "unauthorized_client")
    failed(await poll(counter, {"auth_req_id": "x"}), "invalid_grant")
    failed(await poll(counter, {"auth_req_id": ""}), "invalid_request")
    answers = await asyncio.gather(*(poll(counter, begun) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    token = next(answer for answer in answers if answer.status_code == 200).json()["access_token"]
    assert (await counter.user_info(token)).status_code == 401


async def test_only_the_holder_who_is_named_can_take_it(counter: Stand) -> None:
    await begin(counter)
    (waiting,) = ok(await counter.phone.get("log-ins"))["items"]
    stranger = await signed_phone(counter.centre, 2)
    assert ok(await stranger.get("log-ins"))["items"] == []
    refused(await stranger.post(f"log-ins/{waiting['id']}/claim"), "NOT_FOUND", 404)
    scanned = LogIns(counter.centre)
    scanned.phone = counter.phone
    login = (await counter.authorize(counter.asked())).headers["location"].removeprefix("/login/")
    refused(await counter.phone.post(f"log-ins/{login}/claim"), "NOT_FOUND", 404)
    page = await counter.browser().get(f"/login/{waiting['id']}")
    assert page.status_code == 404, "no browser has it"


@both_engines
async def test_one_holder_cannot_be_flooded(counter: Stand) -> None:
    """By one relying party in a minute; nor by several at once: what is too much reaches no phone, and is not told
    apart."""
    await asyncio.gather(*(bc_authorize(counter, name) for name in ("counter", "other", "counter", "other", "counter")))
    failed(await bc_authorize(counter), "temporarily_unavailable", 503)
    for _ in range(3):
        failed(await bc_authorize(counter, login_hint=NOBODY, requested_expiry="x"), "invalid_request")
        await begin(counter, login_hint=NOBODY)
    failed(await bc_authorize(counter, login_hint=NOBODY), "temporarily_unavailable", 503)
    unheard = ok(await bc_authorize(counter, "other"))
    assert len(ok(await counter.phone.get("log-ins"))["items"]) == 3
    failed(await poll(counter, unheard, "other"), "authorization_pending")
    counter.services.login_limits.of_client = MinuteLimit(0)
    failed(await bc_authorize(counter, "other", login_hint="A00000017"), "temporarily_unavailable", 503)


@pytest.mark.parametrize(
    ("change", "error", "status"),
    [
        ({"scope": None}, "invalid_scope", 400),
        ({"scope": "profile"}, "invalid_scope", 400),
        ({"login_hint": None}, "invalid_request", 400),
        ({"login_hint": "9" * 33}, "invalid_request", 400),
        ({"id_token_hint": "x"}, "invalid_request", 400),
        ({"login_hint_token": "x", "login_hint": None}, "invalid_request", 400),
        ({"binding_message": "两行\n登录到"}, "invalid_binding_message", 400),
        ({"binding_message": "\u202e反"}, "invalid_binding_message", 400),
        ({"binding_message": "长" * 65}, "invalid_binding_message", 400),
        ({"requested_expiry": "-1"}, "invalid_request", 400),
        ({"acr_values": "urn:onecard:acr:card"}, "unmet_authentication_requirements", 400),
        ({"request": "x"}, "request_not_supported", 400),  # of a system without keys
    ],
)
async def test_what_is_refused(counter: Stand, change: dict[str, str | None], error: str, status: int) -> None:
    failed(await bc_authorize(counter, **change), error, status)


async def test_who_may_ask(counter: Stand) -> None:
    failed(await bc_authorize(counter, "hall"), "unauthorized_client")
    body = {"client_id": "counter", "scope": "openid", "login_hint": counter.phone.card_number}
    failed(await counter.browser().post("/oidc/bc-authorize", data=body), "invalid_client", 401)
    begun, asked = await begin(counter), await taken(counter)
    counter.services.login_limits.denied = DenyList.of(["counter"])
    failed(await bc_authorize(counter), "access_denied", 403)
    refused(await approve(counter, asked, begun["onecard_number"]), "LOGIN_DENIED", 403)
    counter.services.login_limits.denied = DenyList.of([])
    ok(await counter.centre.as_("operator").post("/v1/relying-parties/counter/suspend"))
    ok(await approve(counter, asked, begun["onecard_number"]))
    states = counter.centre.store.sql("SELECT state FROM login_backchannel_requests")
    assert states == [("denied",)]


async def test_a_signed_request_and_a_spent_assertion(stand: Stand) -> None:
    """CIBA, 7.1.1; an assertion is spent also where the holder is not asked."""
    grants = [BACKCHANNEL_GRANT]
    await stand.register(
        "keyed", grant_types=grants, auth_method="private_key_jwt", jwks=JWKS, needs_signed_requests=True
    )
    inside = claims_for(stand, sub=None) | {"client_id": "keyed", "scope": "openid", "login_hint": NOBODY}
    proof = {"client_assertion": signed(claims_for(stand)), "client_assertion_type": ASSERTION_TYPE}
    send = stand.browser().post
    failed(await send("/oidc/bc-authorize", data={"scope": "openid", "login_hint": NOBODY} | proof), "invalid_request")
    failed(await send("/oidc/bc-authorize", data={"request": signed(inside)} | proof), "invalid_client", 401)
    proof["client_assertion"] = signed(claims_for(stand))
    ok(await send("/oidc/bc-authorize", data={"request": signed(inside)} | proof))


async def test_a_counter_of_another_region_than_the_phone_s_channel(stand: Stand) -> None:
    await stand.register("far", grant_types=[BACKCHANNEL_GRANT], region="130000")
    stand.centre.store.sql("UPDATE clients SET region = '110000' WHERE id = 'wallet'")
    begun = ok(await bc_authorize(stand, "far"))
    ok(await approve(stand, await taken(stand), begun["onecard_number"]))
    ok(await poll(stand, begun, "far"))


async def test_nothing_of_it_is_stored_in_the_clear(counter: Stand) -> None:
    begun = await begin(counter)
    stored = counter.centre.store.stored()
    for secret in (begun["auth_req_id"], MESSAGE):
        assert secret.encode() not in stored
