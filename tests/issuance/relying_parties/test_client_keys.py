"""Relying parties with a key: they prove themselves (`private_key_jwt`) and sign their requests (RFC 9101) with it."""

from __future__ import annotations

import hmac
import json
import secrets
from typing import Any

import httpx
import pytest
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from issuance.login.client_assertions import ASSERTION_TYPE, spend
from issuance.login.client_keys import ClientKeyError, public_key_set, signed_claims
from issuance.login.models import RelyingPartyRow
from issuance.login.signing import base64url
from issuance.login.unit import login_unit
from tests.issuance.conftest import START, ok, refused
from tests.issuance.relying_parties.stand import CALLBACK, ISSUER, Stand, failed, query_of
from tests.issuance.relying_parties.test_flows import push

KEY = ECKey.generate_key("P-256", {"kid": "k1"})
RSA = RSAKey.generate_key(2048, {"kid": "k2"})
STRANGER = ECKey.generate_key("P-256", {"kid": "k1"})
JWKS: dict[str, Any] = {"keys": [KEY.as_dict(private=False), RSA.as_dict(private=False)]}


@pytest.fixture
async def keyed(stand: Stand) -> Stand:
    await stand.register("keyed", redirect_uris=[CALLBACK], auth_method="private_key_jwt", jwks=JWKS)
    return stand


def claims_for(stand: Stand, **change: Any) -> dict[str, Any]:
    """Of a client assertion; None leaves one out."""
    now = int(stand.centre.clock().timestamp())
    common = {"iss": "keyed", "sub": "keyed", "aud": ISSUER, "jti": secrets.token_hex(8), "iat": now, "exp": now + 60}
    return {name: value for name, value in (common | change).items() if value is not None}


def signed(claims: dict[str, Any], key: Any = KEY, algorithm: str = "ES256", **header: Any) -> str:
    known = {"alg": algorithm, "kid": key.kid} | header
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    return jws.serialize_compact(known, json.dumps(claims), key, registry=registry)


def keyed_with_the_public_key(claims: dict[str, Any]) -> str:
    """HS256 with what everybody knows as the secret; joserfc would not make it."""
    text = ".".join(base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "k1"}, claims))
    return f"{text}.{base64url(hmac.digest(KEY.as_pem(private=False), text.encode(), 'sha256'))}"


def asked_by(stand: Stand, **change: Any) -> dict[str, Any]:
    """Claims of a request object."""
    inside = claims_for(stand, sub=None) | stand.asked(client_id="keyed", state="inside")
    return {name: value for name, value in (inside | change).items() if value is not None}


async def show(stand: Stand, assertion: str, **change: str) -> httpx.Response:
    """`invalid_grant`, past the check of the client, or `invalid_client`."""
    body = {"grant_type": "refresh_token", "refresh_token": "x"}
    proof = {"client_assertion": assertion, "client_assertion_type": ASSERTION_TYPE}
    return await stand.browser().post("/oidc/token", data=body | proof | change)


async def send(stand: Stand, token: str, **beside: str) -> httpx.Response:
    return await stand.authorize({"client_id": "keyed", "request": token} | beside)


# -- client assertions ------------------------------------------------------------------------------------------------


async def test_an_unmodified_client_logs_in_with_its_key(keyed: Stand) -> None:
    """Authlib names the token endpoint as audience where it is not told another one."""
    clock = keyed.centre.clock
    now = int(clock().timestamp())
    proof = PrivateKeyJWT(ISSUER, claims={"iat": now, "exp": now + 3600}, alg="ES256", headers={"kid": "k1"})
    verifier = secrets.token_urlsafe(48)
    back = await keyed.approved(await keyed.authorize(keyed.asked(verifier, client_id="keyed")))
    async with keyed.client("keyed", client_secret=KEY, token_endpoint_auth_method=proof.name) as client:
        client.register_client_auth_method(proof)
        endpoint = keyed.discovery["token_endpoint"]
        token = await client.fetch_token(endpoint, authorization_response=back, code_verifier=verifier, state="s-1")
        assert (await keyed.claims(token["id_token"]))["aud"] == "keyed"


async def test_a_key_of_either_kind_proves_the_client(keyed: Stand) -> None:
    for key, algorithm in ((KEY, "ES256"), (RSA, "RS256")):
        failed(await show(keyed, signed(claims_for(keyed), key, algorithm)), "invalid_grant")
    typed = signed(claims_for(keyed), typ="client-authentication+jwt")
    failed(await show(keyed, typed, client_id="keyed"), "invalid_grant")
    failed(await show(keyed, signed(claims_for(keyed, aud=[ISSUER]))), "invalid_grant")


async def test_an_assertion_counts_once(keyed: Stand) -> None:
    assertion = signed(claims_for(keyed))
    failed(await show(keyed, assertion), "invalid_grant")
    failed(await show(keyed, assertion), "invalid_client", 401)
    keyed.centre.clock.advance(119)
    failed(await show(keyed, assertion), "invalid_client", 401)
    keyed.centre.clock.advance(3600)
    failed(await show(keyed, signed(claims_for(keyed))), "invalid_grant")
    assert keyed.centre.store.sql("SELECT count(*) FROM login_assertions") == [(1,)], "what is over is forgotten"


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_nobody_waits_for_another_who_forgets_old_assertions(keyed: Stand) -> None:
    failed(await show(keyed, signed(claims_for(keyed))), "invalid_grant")
    keyed.centre.clock.advance(3600)
    async with login_unit(keyed.services) as unit:
        party = await unit.session.get_one(RelyingPartyRow, "keyed")
        await unit.session.run_sync(lambda session: spend(unit, session, party, signed(claims_for(keyed))))
        failed(await show(keyed, signed(claims_for(keyed))), "invalid_grant")


async def test_assertions_that_prove_nothing(keyed: Stand) -> None:
    now = int(keyed.centre.clock().timestamp())
    changes: tuple[dict[str, Any], ...] = (
        {"aud": f"{ISSUER}/oidc/token"},
        {"aud": [ISSUER, "https://other.example"]},
        {"aud": None},
        {"iss": "hall"},
        {"sub": "hall"},
        {"iss": "hall", "sub": "hall"},
        {"jti": None},
        {"jti": "j" * 257},
        {"jti": "\ud800"},
        {"iss": "\ud800", "sub": "\ud800"},
        {"exp": None},
        {"exp": now - 60},
        {"exp": str(now + 60)},
        {"exp": now + 3700},
        {"nbf": now + 90},
        {"iat": now + 90},
    )
    for change in changes:
        failed(await show(keyed, signed(claims_for(keyed, **change))), "invalid_client", 401)
    good = claims_for(keyed)
    header, payload, signature = signed(good).split(".")
    forged = {
        "another key of this name": signed(good, STRANGER),
        "public key as a secret": keyed_with_the_public_key(good),
        "key in the token": signed(good, STRANGER, jwk=STRANGER.as_dict(private=False)),
        "none": f"eyJhbGciOiJub25lIn0.{payload}.",
        "no signature": f"{header}.{payload}.",
        "no such key": signed(good, KEY, kid="k9"),
        "a request object": signed(good, typ="oauth-authz-req+jwt"),
        "deep": f"{'W' * 40_000}.{payload}.{signature}",
        "nothing": "",
    }
    for name, assertion in forged.items():
        answer = await show(keyed, assertion)
        assert answer.json()["error"] == "invalid_client", name
    failed(await show(keyed, signed(good), client_assertion_type="x"), "invalid_client", 401)
    failed(await show(keyed, signed(good), client_id="hall"), "invalid_client", 401)
    failed(await show(keyed, signed(good), client_secret="x"), "invalid_request")
    failed(await keyed.token(client_assertion=signed(good), grant_type="refresh_token"), "invalid_request")
    failed(await show(keyed, signed(claims_for(keyed, iss="hall", sub="hall"))), "invalid_client", 401)
    body = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": "keyed"}
    failed(await keyed.browser().post("/oidc/token", data=body), "invalid_client", 401)


async def test_an_assertion_names_its_client_twice(keyed: Stand) -> None:
    """Who it says it is of is looked at again when it is verified."""
    assertion = signed(claims_for(keyed, sub="hall"))
    async with login_unit(keyed.services) as unit:
        party = await unit.session.get_one(RelyingPartyRow, "keyed")
        with pytest.raises(ClientKeyError):
            await unit.session.run_sync(lambda session: spend(unit, session, party, assertion))


# -- request objects --------------------------------------------------------------------------------------------------


async def test_a_signed_request_counts_and_nothing_beside_it(keyed: Stand) -> None:
    """By value and pushed; what an attacker writes beside it changes nothing."""
    beside = {"state": "outside", "redirect_uri": "https://evil.example/", "scope": "openid profile", "nonce": "n"}
    token = signed(asked_by(keyed, max_age=60), typ="oauth-authz-req+jwt")
    back = await keyed.approved(await send(keyed, token, **beside))
    assert back.startswith(f"{CALLBACK}?")
    assert query_of(back)["state"] == "inside"
    proof = {"client_assertion": signed(claims_for(keyed)), "client_assertion_type": ASSERTION_TYPE}
    body = {"request": signed(asked_by(keyed), RSA, "RS256")} | beside | proof
    pushed = ok(await keyed.browser().post("/oidc/par", data=body), 201)["request_uri"]
    again = await keyed.approved(await keyed.authorize({"client_id": "keyed", "request_uri": pushed}))
    assert query_of(again)["state"] == "inside"


async def test_request_objects_that_are_refused(keyed: Stand) -> None:
    """On a page, nobody is sent anywhere: no address is proved."""
    await keyed.register("other", redirect_uris=[CALLBACK], jwks=JWKS)
    now = int(keyed.centre.clock().timestamp())
    changes: tuple[dict[str, Any], ...] = (
        {"client_id": "other"},
        {"client_id": None},
        {"iss": "other"},
        {"iss": None},
        {"aud": "https://other.example"},
        {"aud": None},
        {"exp": now - 61},
        {"exp": None},
        {"sub": "keyed"},
        {"request": "x"},
        {"request_uri": "https://evil.example/request.jwt"},
    )
    tokens = [signed(asked_by(keyed, **change)) for change in changes]
    inside = asked_by(keyed)
    payload = signed(inside).split(".")[1]
    tokens += [
        keyed_with_the_public_key(inside),
        signed(inside, STRANGER),
        signed(inside, typ="at+jwt"),
        f"eyJhbGciOiJub25lIn0.{payload}.",
        "x",
    ]
    for token in tokens:
        answer = await send(keyed, token, redirect_uri=CALLBACK, response_type="code", scope="openid")
        assert (answer.status_code, "location" in answer.headers) == (400, False), token
        assert "invalid_request_object" in answer.text
        proof = {"client_assertion": signed(claims_for(keyed)), "client_assertion_type": ASSERTION_TYPE}
        failed(await keyed.browser().post("/oidc/par", data={"request": token} | proof), "invalid_request_object")
    swapped = await keyed.authorize({"client_id": "other", "request": signed(inside)})
    assert (swapped.status_code, "location" in swapped.headers) == (400, False)


async def test_a_signed_request_is_held_to_the_rules_of_every_request(keyed: Stand) -> None:
    elsewhere = await send(keyed, signed(asked_by(keyed, redirect_uri="https://evil.example/")))
    assert (elsewhere.status_code, "location" in elsewhere.headers) == (400, False)
    halved = await keyed.approved(await send(keyed, signed(asked_by(keyed, state="a\ud800b"))))
    assert query_of(halved)["state"] == "ab"
    plain = await send(keyed, signed(asked_by(keyed, code_challenge_method="plain")), code_challenge_method="S256")
    assert query_of(plain.headers["location"])["error"] == "invalid_request"


async def test_references_of_others_are_never_fetched(keyed: Stand) -> None:
    pushed = ok(await push(keyed, **keyed.asked()), 201)["request_uri"]
    bare = pushed.rpartition(":")[2]
    assert (await keyed.authorize({"client_id": "hall", "request_uri": bare})).status_code == 400
    for uri in ("https://keyed.example/request.jwt", "urn:ietf:params:oauth:request_uri:unknown"):
        answer = await keyed.authorize(keyed.asked(client_id="keyed", request_uri=uri))
        assert (answer.status_code, "location" in answer.headers) == (400, False)
        assert "invalid_request_uri" in answer.text


async def test_who_signs_its_requests_is_sent_nobody_by_another_s_unsigned_one(stand: Stand) -> None:
    await stand.register(
        "keyed", redirect_uris=[CALLBACK], auth_method="private_key_jwt", jwks=JWKS, needs_signed_requests=True
    )
    unsigned = await stand.authorize(stand.asked(client_id="keyed"))
    assert query_of(unsigned.headers["location"])["error"] == "invalid_request"
    proof = {"client_assertion": signed(claims_for(stand)), "client_assertion_type": ASSERTION_TYPE}
    failed(await stand.browser().post("/oidc/par", data=stand.asked(client_id="keyed") | proof), "invalid_request")
    assert (await send(stand, signed(asked_by(stand)))).headers["location"].startswith("/login/")


# -- registration -----------------------------------------------------------------------------------------------------


async def test_what_is_registered(stand: Stand) -> None:
    operator = stand.centre.as_("operator")
    body: dict[str, Any] = {
        "id": "keyed",
        "name": "钥",
        "redirect_uris": [CALLBACK],
        "auth_method": "private_key_jwt",
    }
    weak = {"kty": "RSA", "e": "AQAB", "n": base64url(b"\xff" * 128)}
    bad: tuple[Any, ...] = (
        None,
        {},
        {"keys": []},
        {"keys": [KEY.as_dict(private=True)]},
        {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]},
        {"keys": [weak]},
        {"keys": [ECKey.generate_key("P-384").as_dict(private=False)]},
        {"keys": [KEY.as_dict(private=False) | {"alg": "HS256"}]},
        {"keys": [KEY.as_dict(private=False)] * 2},
        {"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]},
    )
    for jwks in bad:
        refused(await operator.post("/v1/relying-parties", json=body | {"jwks": jwks}), "INPUT_INVALID", 422)
    counter = body | {"auth_method": "none", "grant_types": ["urn:openid:params:grant-type:ciba"]}
    refused(await operator.post("/v1/relying-parties", json=counter), "INPUT_INVALID", 422)
    told = ok(await operator.post("/v1/relying-parties", json=body | {"jwks": JWKS}), 201)
    assert told["client_secret"] is None
    view = next(view for view in ok(await operator.get("/v1/relying-parties")) if view["id"] == "keyed")
    assert [key["kid"] for key in view["jwks"]["keys"]] == ["k1", "k2"]


async def test_keys_are_replaced(keyed: Stand) -> None:
    """From that moment what the old one signs is nothing; an operator of another region cannot."""
    operator, path = keyed.centre.as_("operator"), "/v1/relying-parties/keyed/keys"
    body = {"jwks": {"keys": [RSA.as_dict(private=False)]}}
    await keyed.centre.register("hebei", ("operator",), "130000")
    refused(await keyed.centre.as_("hebei").put(path, json=body), "NOT_FOUND", 404)
    refused(await operator.put(path, json={"jwks": {"keys": []}}), "INPUT_INVALID", 422)
    failed(await show(keyed, signed(claims_for(keyed))), "invalid_grant")
    assert ok(await operator.put(path, json=body))["jwks"]["keys"][0]["kid"] == "k2"
    failed(await show(keyed, signed(claims_for(keyed))), "invalid_client", 401)
    failed(await show(keyed, signed(claims_for(keyed), RSA, "RS256")), "invalid_grant")


ANYTHING = st.none() | st.integers() | st.text(max_size=50) | st.lists(st.text(max_size=3), max_size=2)
MEMBER = ANYTHING | st.sampled_from(["EC", "RSA", "P-256", "AQAB", "sig", "ES256", base64url(b"\xff" * 32)])
ANY_KEY = st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "kid", "use", "alg"]), MEMBER)
POINT = st.fixed_dictionaries({"kty": st.just("EC"), "crv": MEMBER, "x": MEMBER, "y": MEMBER}, optional={"kid": MEMBER})
ANY_SET = st.fixed_dictionaries({"keys": st.lists(ANY_KEY | POINT | ANYTHING, max_size=3) | ANYTHING})


@given(ANY_SET | ANYTHING)
@settings(max_examples=50)
def test_any_key_set_is_taken_or_refused(value: Any) -> None:
    try:
        public_key_set(value)
    except ValueError:
        return


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,20}"))
@settings(max_examples=50)
def test_any_token_is_refused(token: str) -> None:
    with pytest.raises(ClientKeyError):
        signed_claims(token, JWKS, ISSUER, "keyed", START, (None, "jwt"))
