"""Unmodified clients log people in, keep them logged in, and let them out."""

from __future__ import annotations

import re
import secrets

import httpx
import pytest
from joserfc import jws
from joserfc.util import urlsafe_b64decode

from hsm.primitives import DEFAULT_USER_ID, default_engine
from issuance.login.seam import Refused
from issuance.login.signing import KEYS
from tests.issuance.conftest import both_engines, ok
from tests.issuance.log_ins.stand import LogIns
from tests.issuance.relying_parties.stand import AFTER, CALLBACK, ISSUER, Stand, failed, query_of


@both_engines
async def test_a_whole_log_in(stand: Stand) -> None:
    token = await stand.log_in("hall", "name")
    claims = await stand.claims(token["id_token"])
    assert (claims["aud"], claims["nonce"], claims["acr"]) == ("hall", "n-1", "urn:onecard:acr:scan")
    assert claims["amr"] == ["hwk", "pin"]
    assert claims["auth_time"] == int(stand.centre.clock().timestamp())
    access = await stand.claims(token["access_token"])
    assert (access["client_id"], access["scope"]) == ("hall", "openid profile")
    told = ok(await stand.user_info(token["access_token"]))
    assert told == {"sub": claims["sub"], "acr": claims["acr"], "name": "测试一"}
    renewed = ok(await stand.refresh(token["refresh_token"]))
    again = await stand.claims(renewed["id_token"])
    assert (again["sub"], again["auth_time"], "nonce" in again) == (claims["sub"], claims["auth_time"], False)
    assert renewed["refresh_token"] != token["refresh_token"]


async def test_by_page_and_phone(stand: Stand) -> None:
    """Nothing is put in behind the protocol: request, page, scan, number, signature, way back, tokens."""
    log_ins = LogIns(stand.centre)
    log_ins.phone = stand.phone
    async with stand.client() as client, stand.browser() as browser:
        verifier = secrets.token_urlsafe(48)
        url, state = client.create_authorization_url(
            stand.discovery["authorization_endpoint"], code_verifier=verifier, nonce="n-2"
        )
        page = (await browser.get(url)).headers["location"]
        number = re.search(r"核对数字 (\d\d)", (await browser.get(page)).text)
        assert number
        link = ok(await browser.get(f"{page}/link"))["url"]
        asked = ok(await log_ins.scan(link.partition("#")[2]), 201)
        ok(await log_ins.approve(asked, int(number[1])))
        back = (await browser.get(page)).headers["location"]
        token = await client.fetch_token(
            stand.discovery["token_endpoint"], authorization_response=back, code_verifier=verifier, state=state
        )
    claims = await stand.claims(token["id_token"])
    assert (claims["nonce"], claims["acr"], claims["amr"]) == ("n-2", "urn:onecard:acr:scan", ["hwk", "pin"])
    assert ok(await stand.user_info(token["access_token"]))["name"] == "测试一"


async def test_the_authorization_answer_names_its_issuer(stand: Stand) -> None:
    back = query_of(await stand.approved(await stand.authorize(stand.asked())))
    assert (back["state"], back["iss"]) == ("s-1", ISSUER)
    assert stand.discovery["authorization_response_iss_parameter_supported"]
    refused = query_of(await stand.approved(await stand.authorize(stand.asked()), Refused()))
    assert refused == {"error": "access_denied", "state": "s-1", "iss": ISSUER}


@pytest.mark.parametrize("algorithm", ["RS256", "SM2-SM3"])
async def test_other_algorithms(stand: Stand, algorithm: str) -> None:
    await stand.register("other", redirect_uris=[CALLBACK], signing_algorithm=algorithm)
    token = (await stand.log_in("other"))["id_token"]
    if algorithm == "RS256":
        assert (await stand.claims(token, "RS256"))["aud"] == "other"
        return
    published = ok(await stand.browser().get(stand.discovery["sm2_jwks_uri"]))["keys"]
    key = next(key for key in published if key["kid"] == jws.extract_compact(token.encode()).headers()["kid"])
    assert (key["kty"], key["crv"], key["alg"]) == ("EC", "SM2", "SM2-SM3")
    point = b"\4" + urlsafe_b64decode(key["x"].encode()) + urlsafe_b64decode(key["y"].encode())
    text, _, signature = token.rpartition(".")
    raw = urlsafe_b64decode(signature.encode())
    assert default_engine().sm2_verify(point, text.encode(), raw, user_id=DEFAULT_USER_ID)


async def test_keys_rotate_without_a_break(stand: Stand) -> None:
    keys, wanted = stand.services.keys, KEYS["ES256"]
    before = await stand.log_in()
    newest = keys.current(wanted.name, wanted.algorithm)
    keys.generate_pair(type(newest)(newest.name, newest.algorithm, newest.version + 1))
    keys.retire(newest)
    after = await stand.log_in()
    kids = [jws.extract_compact(token["id_token"].encode()).headers()["kid"] for token in (before, after)]
    assert kids[0] != kids[1]
    assert (await stand.claims(before["id_token"]))["sub"] == (await stand.claims(after["id_token"]))["sub"]
    assert (await stand.user_info(before["access_token"])).status_code == 200


async def test_sub_is_one_per_sector(stand: Stand) -> None:
    await stand.register("sister", redirect_uris=[CALLBACK])
    await stand.register("stranger", redirect_uris=["https://other.example/cb"])
    subs = [
        (await stand.claims((await stand.log_in(name, redirect_uri=uri))["id_token"]))["sub"]
        for name, uri in (("hall", CALLBACK), ("sister", CALLBACK), ("stranger", "https://other.example/cb"))
    ]
    assert subs[0] == subs[1] != subs[2]
    assert await stand.person_id() not in subs


async def test_nothing_is_told_without_consent(stand: Stand) -> None:
    scope = "openid profile social_security"
    quiet = ok(await stand.user_info((await stand.log_in(scope=scope))["access_token"]))
    assert quiet["name"] == "测*一"
    assert "social_security_number" not in quiet
    open_ = await stand.log_in("hall", "name", "social_security_number", scope=scope)
    told = ok(await stand.user_info(open_["access_token"]))
    assert told["name"] == "测试一"
    assert len(told["social_security_number"]) == 18
    unasked = await stand.log_in("hall", "name", "social_security_number", scope="openid profile")
    assert "social_security_number" not in ok(await stand.user_info(unasked["access_token"]))
    stand.centre.store.sql('UPDATE login_relying_parties SET scopes = \'["openid", "profile"]\'')
    assert "social_security_number" not in ok(await stand.user_info(open_["access_token"])), "no more registered for it"
    await stand.register("modest", redirect_uris=[CALLBACK], scopes=["openid"])
    modest = await stand.log_in("modest", "name", "social_security_number", scope=scope)
    assert modest["scope"] == "openid"
    assert set(ok(await stand.user_info(modest["access_token"]))) == {"sub", "acr"}


async def test_pushed_request(stand: Stand) -> None:
    pushed = ok(await push(stand, **stand.asked(client_id=None)), 201)
    assert pushed["expires_in"] == 60
    asked = {"client_id": "hall", "request_uri": pushed["request_uri"]}
    assert "code" in query_of(await stand.approved(await stand.authorize(asked)))
    assert (await stand.authorize(asked)).status_code == 400, "taken once"


async def test_introspection_and_revocation(stand: Stand) -> None:
    token = await stand.log_in()
    for name in ("access_token", "refresh_token"):
        told = ok(await ask(stand, "introspect", token[name]))
        assert (told["active"], told["client_id"]) == (True, "hall")
    await stand.register("nosy", redirect_uris=[CALLBACK])
    assert ok(await ask(stand, "introspect", token["access_token"], "nosy")) == {"active": False}
    assert (await ask(stand, "revoke", token["access_token"], "nosy")).status_code == 200
    assert (await ask(stand, "revoke", "no token at all")).status_code == 200
    assert (await stand.user_info(token["access_token"])).status_code == 200
    assert (await ask(stand, "revoke", token["refresh_token"])).status_code == 200
    assert (await stand.user_info(token["access_token"])).status_code == 401
    failed(await stand.refresh(token["refresh_token"]), "invalid_grant")


async def test_logout(stand: Stand) -> None:
    token = await stand.log_in()
    asked = {"id_token_hint": token["id_token"], "post_logout_redirect_uri": AFTER, "state": "bye"}
    stand.centre.clock.advance(3600)
    response = await stand.browser().get("/oidc/logout", params=asked)
    assert (response.status_code, response.headers["location"]) == (303, f"{AFTER}?state=bye")
    failed(await stand.refresh(token["refresh_token"]), "invalid_grant")
    page = await stand.browser().get("/oidc/logout")
    assert (page.status_code, "已退出登录" in page.text) == (200, True)


async def test_suspended_party(stand: Stand) -> None:
    token = await stand.log_in()
    code, verifier = await stand.code()
    opened = await stand.authorize(stand.asked())
    ok(await stand.centre.as_("operator").post("/v1/relying-parties/hall/suspend"))
    assert (await stand.user_info(token["access_token"])).status_code == 401
    failed(await stand.refresh(token["refresh_token"]), "invalid_client", 401)
    failed(await stand.exchange(code, verifier), "invalid_client", 401)
    assert (await stand.authorize(stand.asked())).status_code == 400
    assert query_of(await stand.approved(opened))["error"] == "access_denied"


async def test_a_cancelled_card_logs_nobody_in(stand: Stand) -> None:
    token = await stand.log_in()
    code, verifier = await stand.code()
    stand.centre.store.sql("UPDATE ecards SET state = 'cancelled'")
    failed(await stand.exchange(code, verifier), "invalid_grant")
    failed(await stand.refresh(token["refresh_token"]), "invalid_grant")
    assert (await stand.user_info(token["access_token"])).status_code == 401


async def push(stand: Stand, client_id: str = "hall", **parameters: str) -> httpx.Response:
    auth = (client_id, stand.secrets[client_id] or "")
    return await stand.browser().post("/oidc/par", data=parameters, auth=auth)


async def ask(stand: Stand, endpoint: str, token: str, client_id: str = "hall") -> httpx.Response:
    auth = (client_id, stand.secrets[client_id] or "")
    return await stand.browser().post(f"/oidc/{endpoint}", data={"token": token}, auth=auth)
