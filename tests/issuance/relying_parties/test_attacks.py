"""What is refused, each with the error that the RFC names, and that what was stolen is worth nothing afterwards."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from issuance.audit.refusals import MinuteLimit
from issuance.login.grants import CHALLENGE
from issuance.login.limits import DenyList
from issuance.login.relying_parties import is_redirect_uri
from tests.issuance.conftest import both_engines, ok, refused
from tests.issuance.relying_parties.stand import AFTER, CALLBACK, ISSUER, Stand, failed, query_of
from tests.issuance.relying_parties.test_flows import ask, push

UNREGISTERED: tuple[str | None, ...] = (
    "https://hall.example/callback/",
    "https://hall.example/callback/../evil",
    "https://hall.example/call",
    "https://hall.example/callback?next=evil",
    "https://hall.example/callback#x",
    "https://hall.example:443/callback",
    "https://hall.example:8443/callback",
    "https://hall.example@evil.example/callback",
    "https://user@hall.example/callback",
    "https://hall.example.evil.example/callback",
    "https://evil.example/https://hall.example/callback",
    "https://HALL.example/callback",
    "https://hall.example/Callback",
    "https://hall.example/%63allback",
    "http://hall.example/callback",
    "//hall.example/callback",
    "https://hall.example\\@evil.example/callback",
    " https://hall.example/callback",
    "javascript:alert(1)",
    None,
)
REFUSED: tuple[tuple[dict[str, str | None], str], ...] = (
    ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    ({"code_challenge": None}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge_method": None}, "invalid_request"),
    ({"code_challenge_method": "s256"}, "invalid_request"),
    ({"code_challenge": "x" * 42}, "invalid_request"),
    ({"code_challenge": "x" * 43 + "\n"}, "invalid_request"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": '"\\ code id_token'}, "unsupported_response_type"),
    ({"response_mode": "fragment"}, "invalid_request"),
    ({"scope": None}, "invalid_scope"),
    ({"scope": "profile"}, "invalid_scope"),
    ({"prompt": "none"}, "login_required"),
    ({"request": "eyJhbGciOiJub25lIn0.e30."}, "request_not_supported"),
    ({"nonce": "n" * 513}, "invalid_request"),
    ({"state": "s\0"}, "invalid_request"),
)


async def test_nobody_is_sent_to_an_address_that_is_not_registered(stand: Stand) -> None:
    """On a page, whatever else is wrong with the request: no redirect, no code."""
    for uri in UNREGISTERED:
        for change in ({}, {"response_type": "token"}, {"scope": "nothing"}, {"code_challenge": None}):
            response = await stand.authorize(stand.asked(redirect_uri=uri, **change))
            assert response.status_code == 400, uri
            assert "location" not in response.headers
            assert "登录请求有误" in response.text
        failed(await push(stand, **stand.asked(redirect_uri=uri)), "invalid_request")


async def test_requests_that_are_refused(stand: Stand) -> None:
    for change, error in REFUSED:
        response = await stand.authorize(stand.asked(**change))
        assert response.status_code == 303, response.text
        assert response.headers["location"].startswith(f"{CALLBACK}?")
        back = query_of(response.headers["location"])
        assert (back["error"], back["iss"]) == (error, ISSUER), change
        assert back["state"] == change.get("state", "s-1")
        failed(await push(stand, **stand.asked(**change)), error)


async def test_a_parameter_that_comes_twice(stand: Stand) -> None:
    asked = await stand.browser().get(
        stand.discovery["authorization_endpoint"], params=[*stand.asked().items(), ("redirect_uri", CALLBACK)]
    )
    assert asked.status_code == 400
    assert "location" not in asked.headers
    body = "grant_type=refresh_token&grant_type=authorization_code"
    response = await stand.browser().post(
        "/oidc/token", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    failed(response, "invalid_request")
    failed(await stand.browser().post("/oidc/token", json={}), "invalid_request")
    failed(await stand.browser().post("/oidc/token", data={"grant_type": '"\\'}), "unsupported_grant_type")


async def test_too_many_and_denied(stand: Stand) -> None:
    stand.services.login_limits.of_network = MinuteLimit(1)
    assert (await stand.authorize(stand.asked())).headers["location"].startswith("/login/")
    limited = query_of((await stand.authorize(stand.asked())).headers["location"])
    assert limited == {"error": "temporarily_unavailable", "state": "s-1", "iss": ISSUER}
    stand.services.login_limits.denied = DenyList.of(["hall"])
    assert query_of((await stand.authorize(stand.asked())).headers["location"])["error"] == "access_denied"


async def test_pkce_at_the_token_endpoint(stand: Stand) -> None:
    for verifier, error in (("w" * 43, "invalid_grant"), ("short", "invalid_grant")):
        code, right = await stand.code()
        failed(await stand.exchange(code, verifier), error)
        failed(await stand.exchange(code, right), "invalid_grant")
    code, _ = await stand.code()
    body = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    failed(await stand.token(**body), "invalid_request")


async def test_a_challenge_is_no_verifier(stand: Stand) -> None:
    """Somebody who saw the request, and says the method was plain."""
    code, verifier = await stand.code()
    challenge = stand.asked(verifier)["code_challenge"]
    failed(await stand.exchange(code, challenge, code_challenge_method="plain"), "invalid_grant")


@both_engines
async def test_a_code_that_comes_again_ends_the_log_in(stand: Stand) -> None:
    code, verifier = await stand.code()
    token = ok(await stand.exchange(code, verifier))
    assert (await stand.user_info(token["access_token"])).status_code == 200
    failed(await stand.exchange(code, verifier), "invalid_grant")
    assert (await stand.user_info(token["access_token"])).status_code == 401
    failed(await stand.refresh(token["refresh_token"]), "invalid_grant")
    assert ok(await ask(stand, "introspect", token["access_token"])) == {"active": False}
    assert stand.centre.store.sql("SELECT count(*) FROM audit_entries WHERE act = 'login.shown-twice'") == [(1,)]


@both_engines
async def test_a_refresh_token_that_comes_again_ends_the_log_in(stand: Stand) -> None:
    """Two at once: one wins, and what it won ends with the other's try."""
    first = await stand.log_in()
    answers = await asyncio.gather(*(stand.refresh(first["refresh_token"]) for _ in range(2)))
    won = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    failed(next(answer for answer in answers if answer.status_code != 200), "invalid_grant")
    failed(await stand.refresh(won[0]["refresh_token"]), "invalid_grant")
    assert (await stand.user_info(won[0]["access_token"])).status_code == 401


async def test_a_chain_of_refresh_tokens(stand: Stand) -> None:
    first = await stand.log_in()
    second = ok(await stand.refresh(first["refresh_token"]))
    third = ok(await stand.refresh(second["refresh_token"]))
    failed(await stand.refresh(second["refresh_token"]), "invalid_grant")
    failed(await stand.refresh(third["refresh_token"]), "invalid_grant")


async def test_refresh_widens_nothing(stand: Stand) -> None:
    token = await stand.log_in(scope="openid")
    failed(await stand.refresh(token["refresh_token"], scope="openid profile"), "invalid_scope")
    stand.centre.clock.advance(30 * 24 * 3600)
    failed(await stand.refresh(token["refresh_token"]), "invalid_grant")


async def test_codes_and_tokens_are_the_clients_own(stand: Stand) -> None:
    await stand.register("thief", redirect_uris=[CALLBACK])
    code, verifier = await stand.code()
    failed(await stand.exchange(code, verifier, "thief"), "invalid_grant")
    token = ok(await stand.exchange(code, verifier))
    failed(await stand.refresh(token["refresh_token"], "thief"), "invalid_grant")
    ok(await stand.refresh(token["refresh_token"]))


async def test_code_of_another_address_or_too_late(stand: Stand) -> None:
    await stand.register("two", redirect_uris=[CALLBACK, "https://hall.example/other"])
    code, verifier = await stand.code("two")
    failed(await stand.exchange(code, verifier, "two", redirect_uri="https://hall.example/other"), "invalid_grant")
    code, verifier = await stand.code()
    stand.centre.clock.advance(61)
    failed(await stand.exchange(code, verifier), "invalid_grant")


async def test_client_authentication(stand: Stand) -> None:
    await stand.register("posts", redirect_uris=[CALLBACK], auth_method="client_secret_post")
    await stand.register("public", redirect_uris=[CALLBACK], auth_method="none")
    browser, secret = stand.browser(), stand.secrets["hall"] or ""
    body = {"grant_type": "refresh_token", "refresh_token": "x"}

    async def tried(given: dict[str, str], auth: tuple[str, str] | None = None) -> httpx.Response:
        return await browser.post("/oidc/token", data=body | given, auth=auth)

    failed(await tried({"client_id": "hall", "client_secret": secret}, ("hall", secret)), "invalid_request")
    failed(await tried({"client_id": "posts"}, ("hall", secret)), "invalid_request")
    failed(await tried({}, ("hall", "wrong")), "invalid_client", 401)
    failed(await tried({"client_id": "hall", "client_secret": secret}), "invalid_client", 401)
    failed(await tried({"client_id": "hall"}), "invalid_client", 401)
    failed(await tried({}), "invalid_client", 401)
    failed(await tried({"client_id": "public", "client_secret": ""}, ("public", "")), "invalid_client", 401)
    failed(await tried({"client_id": "posts"}), "invalid_client", 401)
    failed(await tried({"client_id": "public"}), "invalid_grant")
    failed(await tried({}, ("hall", secret)), "invalid_grant")
    assert "Basic" in (await tried({}, ("hall", "wrong"))).headers["www-authenticate"]
    failed(await browser.post("/oidc/introspect", data={"client_id": "public", "token": "x"}), "unauthorized_client")


async def test_a_public_client_is_bound_by_its_verifier(stand: Stand) -> None:
    await stand.register("public", redirect_uris=[CALLBACK], auth_method="none")
    code, verifier = await stand.code("public")
    body = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "client_id": "public"}
    answer = await stand.browser().post("/oidc/token", data=body | {"code_verifier": verifier})
    assert "refresh_token" in ok(answer)


async def test_a_pushed_request_is_what_counts(stand: Stand) -> None:
    await stand.register("other", redirect_uris=["https://other.example/cb"], needs_pushed_requests=True)
    pushed = ok(await push(stand, **stand.asked(scope="openid", state="mine")), 201)["request_uri"]
    swapped = stand.asked(scope="openid profile", state="theirs", redirect_uri="https://other.example/cb")
    for client_id in ("other", "nobody"):
        response = await stand.authorize(swapped | {"client_id": client_id, "request_uri": pushed})
        assert (response.status_code, "location" in response.headers) == (400, False)
    back = await stand.approved(await stand.authorize(swapped | {"request_uri": pushed}))
    assert back.startswith(f"{CALLBACK}?")
    assert query_of(back)["state"] == "mine"
    failed(await push(stand, **stand.asked(), request_uri=pushed), "invalid_request")
    failed(await push(stand, **stand.asked(client_id="other")), "invalid_request")
    direct = await stand.authorize(stand.asked(client_id="other", redirect_uri="https://other.example/cb"))
    assert query_of(direct.headers["location"])["error"] == "invalid_request"
    late = ok(await push(stand, **stand.asked()), 201)["request_uri"]
    stand.centre.clock.advance(61)
    assert (await stand.authorize({"client_id": "hall", "request_uri": late})).status_code == 400


async def test_forged_and_confused_tokens(stand: Stand) -> None:
    token = await stand.log_in()
    access, identity = token["access_token"], token["id_token"]
    header, payload, signature = access.split(".")
    parts: dict[str, Any] = json.loads(base64.urlsafe_b64decode(header + "=="))
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    public = ok(await stand.browser().get("/oidc/jwks"))["keys"][0]

    def headed(**change: Any) -> str:
        raw = json.dumps(parts | change, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    mac = OctKey.import_key(json.dumps(public).encode())
    own = ECKey.generate_key("P-256", {"kid": parts["kid"]})
    forged = {
        "none": f"{headed(alg='none')}.{payload}.",
        "none with the signature": f"{headed(alg='none')}.{payload}.{signature}",
        "public key as a secret": jwt.encode(parts | {"alg": "HS256"}, claims, mac),
        "another key of this name": jwt.encode(parts, claims, own),
        "key in the token": jwt.encode(parts | {"jwk": own.as_dict(private=False)}, claims, own),
        "another algorithm": f"{headed(alg='RS256')}.{payload}.{signature}",
        "SM2 with this key": f"{headed(alg='SM2-SM3')}.{payload}.{signature}",
        "no such key": f"{headed(kid='x')}.{payload}.{signature}",
        "flipped": f"{header}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "no signature": f"{header}.{payload}.",
        "ID token": identity,
        "refresh token": token["refresh_token"],
        "nothing": "x",
    }
    for name, value in forged.items():
        response = await stand.user_info(value)
        assert response.status_code == 401, name
        assert 'error="invalid_token"' in response.headers["www-authenticate"]
        assert ok(await ask(stand, "introspect", value))["active"] is (name == "refresh token"), name
    assert (await stand.browser().get("/oidc/userinfo", params={"access_token": access})).status_code == 401
    stand.centre.clock.advance(601)
    assert (await stand.user_info(access)).status_code == 401


WRONG_LOGOUTS: tuple[dict[str, str | None], ...] = (
    {"post_logout_redirect_uri": "https://evil.example/"},
    {"post_logout_redirect_uri": f"{AFTER}evil"},
    {"post_logout_redirect_uri": CALLBACK},
    {"id_token_hint": None},
    {"id_token_hint": None, "client_id": "other"},
    {"client_id": "other"},
    {"id_token_hint": "e30.e30.x"},
)


async def test_logout_sends_nobody_elsewhere(stand: Stand) -> None:
    await stand.register("other", redirect_uris=[CALLBACK], logout_uris=["https://other.example/"])
    token = await stand.log_in()
    for change in WRONG_LOGOUTS:
        asked = {"id_token_hint": token["id_token"], "post_logout_redirect_uri": AFTER} | change
        given = {name: value for name, value in asked.items() if value is not None}
        response = await stand.browser().get("/oidc/logout", params=given)
        assert (response.status_code, "location" in response.headers) == (400, False), change


async def test_an_access_token_logs_nobody_out(stand: Stand) -> None:
    token = await stand.log_in()
    page = await stand.browser().get("/oidc/logout", params={"id_token_hint": token["access_token"]})
    assert page.status_code == 400
    ok(await stand.refresh(token["refresh_token"]))


async def test_secrets_are_kept_as_hashes(stand: Stand) -> None:
    token = await stand.log_in()
    code, _ = await stand.code()
    stored = stand.centre.store.stored()
    for secret in (stand.secrets["hall"] or "", token["refresh_token"], token["access_token"], code):
        assert secret.encode() not in stored


async def test_who_registers(stand: Stand) -> None:
    body: dict[str, Any] = {"id": "new", "name": "新", "redirect_uris": ["https://new.example/cb"]}
    for role in ("terminal", "wallet", "verifier"):
        refused(await stand.centre.as_(role).post("/v1/relying-parties", json=body), "CLIENT_FORBIDDEN", 403)
    operator = stand.centre.as_("operator")
    for uri in (
        "https://new.example/cb#x",
        "https://u@new.example/",
        "http://new.example/",
        "https://*.example/",
        "a:b",
    ):
        refused(await operator.post("/v1/relying-parties", json=body | {"redirect_uris": [uri]}), "INPUT_INVALID", 422)
    refused(await operator.post("/v1/relying-parties", json=body | {"scopes": ["profile"]}), "INPUT_INVALID", 422)
    refused(await operator.post("/v1/relying-parties", json=body | {"redirect_uris": []}), "INPUT_INVALID", 422)
    refused(await operator.post("/v1/relying-parties", json=body | {"id": "hall"}), "CONFLICT", 409)
    refused(await operator.post("/v1/relying-parties/nobody/suspend"), "NOT_FOUND", 404)
    ok(await operator.post("/v1/relying-parties", json=body), 201)
    listed = ok(await operator.get("/v1/relying-parties"))
    assert [view["id"] for view in listed] == ["hall", "new"]
    assert "secret" not in json.dumps(listed).replace("client_secret_basic", "")


async def test_a_regional_operator_has_the_parties_of_its_region(stand: Stand) -> None:
    await stand.centre.register("hebei", ("operator",), "130000")
    hebei = stand.centre.as_("hebei")
    await stand.register("beijing", redirect_uris=[CALLBACK], region="110000")
    body = {"id": "own", "name": "冀", "region": "130100", "redirect_uris": ["https://own.example/cb"]}
    ok(await hebei.post("/v1/relying-parties", json=body), 201)
    assert [view["id"] for view in ok(await hebei.get("/v1/relying-parties"))] == ["own"]
    for client_id in ("beijing", "hall"):
        refused(await hebei.post(f"/v1/relying-parties/{client_id}/suspend"), "NOT_FOUND", 404)
    for region in ("110000", None):
        answer = await hebei.post("/v1/relying-parties", json=body | {"id": "x", "region": region})
        refused(answer, "CLIENT_FORBIDDEN", 403)
    assert ok(await hebei.post("/v1/relying-parties/own/suspend"))["status"] == "suspended"


@pytest.mark.parametrize(
    "uri",
    ["https://a.example/cb?x=1", "http://127.0.0.1:9000/cb", "http://[::1]/cb", "cn.example.app:/cb", "https://a:1/"],
)
def test_addresses_that_can_be_registered(uri: str) -> None:
    assert is_redirect_uri(uri)


@given(st.text(max_size=60) | st.from_regex(r"https?://[a-z.@:\\/#*\[\]0-9%]{0,40}", fullmatch=True))
@settings(max_examples=100)
def test_addresses_cannot_be_read_in_two_ways(uri: str) -> None:
    if is_redirect_uri(uri):
        parsed = httpx.URL(uri)
        assert parsed.scheme in ("https", "http") or "." in parsed.scheme
        assert not parsed.userinfo
        assert not parsed.fragment
        assert uri.isprintable()


@given(st.binary(max_size=80))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_body_gets_an_oauth_answer(stand: Stand, body: bytes) -> None:
    header = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": "Basic " + body.hex()}
    for path in ("token", "par", "introspect", "revoke", "device/authorize"):
        response = await stand.browser().post(f"/oidc/{path}", content=body, headers=header)
        assert response.json()["error"] in ("invalid_request", "invalid_client", "unsupported_grant_type")


def test_challenges_have_one_form() -> None:
    assert CHALLENGE.fullmatch(secrets.token_urlsafe(32))
    assert not CHALLENGE.fullmatch(secrets.token_urlsafe(32) + "=")
