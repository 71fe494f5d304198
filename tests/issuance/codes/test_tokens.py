"""Bearer tokens of verifiers: what they open, for how long, and what nobody gets by them."""

from __future__ import annotations

import httpx
import pytest

from issuance.clients import tokens
from tests.issuance.codes.conftest import use_redis
from tests.issuance.codes.stand import VALIDATE, show
from tests.issuance.conftest import Centre, ok, refused
from tests.issuance.phone import Phone
from tests.issuance.redis_server import RedisServer

GRANT = {"grant_type": "client_credentials"}
UNKNOWN = {"code": "OC1.unknown", "scene": "identity"}
LONG = "application/json; charset=utf-8"
"""The framework's way, see `test_direct.py`."""


async def _token(centre: Centre, by: str = "verifier") -> str:
    told = ok(await centre.as_(by).post("/v1/token", data=GRANT))
    token: str = told.pop("access_token")
    assert told == {"token_type": "Bearer", "expires_in": 300, "scope": "ecard-codes.validate"}
    return token


async def _scan(centre: Centre, token: str, body: dict[str, str] = UNKNOWN, **more: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} | {name.replace("_", "-"): value for name, value in more.items()}
    return await centre.anyone().post(VALIDATE, json=body, headers=headers)


@pytest.mark.parametrize("kind", ["application/json", LONG])
async def test_a_token_validates_as_its_client_does(centre: Centre, phone: Phone, kind: str) -> None:
    token = await _token(centre)
    body = {"code": (await show(phone))["code"], "scene": "identity"}
    told = ok(await _scan(centre, token, body, Idempotency_Key="request-1", X_Clerk="li", Content_Type=kind))
    again = await _scan(centre, token, body, Idempotency_Key="request-1", Content_Type=kind)
    assert (ok(again), again.headers["Idempotency-Replayed"]) == (told, "true")
    refused(await _scan(centre, token, body, Content_Type=kind), "CODE_USED", 409)
    entries = centre.store.sql(
        "SELECT actor, clerk, act, outcome FROM audit_entries WHERE actor = 'verifier' ORDER BY id"
    )
    assert entries == [
        ("verifier", "", "client.token", "ok"),
        ("verifier", "li", "code.validate", "ok"),
        ("verifier", "", f"POST {VALIDATE}", "CODE_USED"),
    ]


async def test_a_token_ends(centre: Centre) -> None:
    """Also while the process remembers it, and where nobody has used it."""
    used, unused = await _token(centre), await _token(centre)
    for age in (0, 298):
        centre.clock.advance(age)
        refused(await _scan(centre, used), "CODE_UNKNOWN", 404)
    centre.clock.advance(2)
    for token in (used, unused):
        answer = await _scan(centre, token)
        refused(answer, "CLIENT_UNKNOWN", 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_suspended_client_ends_within_seconds(centre: Centre) -> None:
    token = await _token(centre)
    refused(await _scan(centre, token), "CODE_UNKNOWN", 404)
    ok(await centre.as_("operator").post("/v1/clients/verifier/suspend"))
    centre.clock.advance(tokens.CACHED_S)
    refused(await _scan(centre, token), "CLIENT_UNKNOWN", 401)


async def test_a_token_opens_nothing_else(centre: Centre) -> None:
    headers = {"Authorization": f"Bearer {await _token(centre)}"}
    for method, path in (
        ("POST", "/v1/token"),
        ("POST", "/v1/codes/recognise"),
        ("POST", "/v1/consent-requests"),
        ("POST", "/ecard/v1/qrcode/valid"),
        ("GET", "/v1/stock"),
        ("GET", "/metrics"),
    ):
        refused(await centre.anyone().request(method, path, json={}, headers=headers), "CLIENT_UNKNOWN", 401)


async def test_only_a_verifier_gets_one_and_only_by_its_signature(centre: Centre) -> None:
    for role in ("operator", "terminal", "wallet"):
        refused(await centre.as_(role).post("/v1/token", data=GRANT), "CLIENT_FORBIDDEN", 403)
    refused(await centre.anyone().post("/v1/token", data=GRANT), "CLIENT_UNKNOWN", 401)
    for body in ("", "grant_type=password", "grant_type=client_credentials&grant_type=client_credentials", "{}"):
        refused(await centre.as_("verifier").post("/v1/token", content=body), "INPUT_INVALID", 400)


async def test_what_is_no_token_is_refused(centre: Centre) -> None:
    """Made up, cut, longer, in address or body, of another scheme; and the trail takes ten of them a minute."""
    token = await _token(centre)
    for wrong in ("A" * 43, token[:-1], f"{token}A", token.swapcase(), "A" * 5000, f"{token}.{token}.{token}"):
        refused(await _scan(centre, wrong), "CLIENT_UNKNOWN", 401)
    for address in (f"?access_token={token}", f"?Authorization=Bearer%20{token}"):
        refused(await centre.anyone().post(VALIDATE + address, json=UNKNOWN), "CLIENT_UNKNOWN", 401)
    refused(await centre.anyone().post(VALIDATE, json=UNKNOWN | {"access_token": token}), "CLIENT_UNKNOWN", 401)
    basic = {"Authorization": f"Basic {token}"}
    refused(await centre.anyone().post(VALIDATE, json=UNKNOWN, headers=basic), "CLIENT_UNKNOWN", 401)
    for number in range(12):
        refused(await _scan(centre, f"{number:043d}"), "CLIENT_UNKNOWN", 401)
    told = centre.store.sql("SELECT actor, act FROM audit_entries WHERE outcome = 'CLIENT_UNKNOWN'")
    assert told == [("", f"POST {VALIDATE}")] * 10


async def test_scenes_are_the_clients(centre: Centre, phone: Phone) -> None:
    centre.store.sql("UPDATE clients SET scenes = '[\"payment\"]' WHERE id = 'verifier'")
    token = await _token(centre)
    refused(
        await _scan(centre, token, {"code": (await show(phone))["code"], "scene": "identity"}), "CLIENT_FORBIDDEN", 403
    )


async def test_tokens_of_a_minute_and_of_the_cache_are_limited(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_CACHED", 3)
    for _ in range(tokens.MAX_A_MINUTE):
        refused(await _scan(centre, await _token(centre)), "CODE_UNKNOWN", 404)
    refused(await centre.as_("verifier").post("/v1/token", data=GRANT), "REQUEST_LIMIT", 429)
    assert len(centre.app.state.services.access_tokens._known) == 3


async def test_replicas_share_tokens_and_an_emptied_store_knows_none(centre: Centre, with_redis: RedisServer) -> None:
    """Neither token nor client can be read in it, and no entry put in another's place is taken."""
    token, other = await _token(centre), await _token(centre)
    use_redis(centre, with_redis)
    refused(await _scan(centre, token), "CODE_UNKNOWN", 404)
    held = with_redis.held()
    assert b"access-token" in held
    assert not any(text in held for text in (token.encode(), other.encode(), b"verifier"))
    dump = with_redis.dump()
    one, two = (name for name in dump if b"access-token" in name)
    with_redis.restore(dump | {one: dump[two], two: dump[one]})
    use_redis(centre, with_redis)
    assert (await _scan(centre, token)).status_code == 500
    with_redis.empty()
    refused(await _scan(centre, token), "CLIENT_UNKNOWN", 401)
