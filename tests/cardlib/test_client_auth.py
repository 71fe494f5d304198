"""Assertions: bound to key, request and moment; the key file is private."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, OKPKey

from cardlib.client_auth import (
    CLOCK_SKEW_S,
    DEFAULT_AUDIENCE,
    LIFETIME_S,
    Assertion,
    AssertionExpiredError,
    ClientAuth,
    ClientAuthError,
    ClientKey,
    ClientKeyError,
    ClientKeyNotFoundError,
    body_digest,
    check_public_jwk,
    verify_assertion,
)

NOW = 1_790_000_000
KEY = ClientKey.generate("terminal-1")
LIBRARY_KEY = OKPKey.import_key({**KEY._private_jwk()})
REQUEST = ("POST", "/v1/things?a=1", b'{"x":1}')


def test_round_trip() -> None:
    token = KEY.assertion(*REQUEST, now=NOW)
    claims = verify_assertion(token, KEY.public_jwk(), *REQUEST, now=NOW + 5)
    assert Assertion.parse(token).issuer == claims.client_id == "terminal-1"
    assert claims.expires_at == NOW + LIFETIME_S + CLOCK_SKEW_S


def test_nonces_differ() -> None:
    nonces = {
        verify_assertion(KEY.assertion(*REQUEST, now=NOW), KEY.public_jwk(), *REQUEST, now=NOW).nonce for _ in range(20)
    }
    assert len(nonces) == 20


@pytest.mark.parametrize(
    "request_",
    [
        ("PUT", "/v1/things?a=1", b'{"x":1}'),
        ("POST", "/v1/things?a=2", b'{"x":1}'),
        ("POST", "/v1/things", b'{"x":1}'),
        ("POST", "/v1/things?a=1", b'{"x":2}'),
        ("POST", "/v1/things?a=1", b""),
    ],
)
def test_another_request_is_refused(request_: tuple[str, str, bytes]) -> None:
    with pytest.raises(ClientAuthError, match="another request"):
        verify_assertion(KEY.assertion(*REQUEST, now=NOW), KEY.public_jwk(), *request_, now=NOW)


SIGNED: dict[str, Any] = {"clerk": "clerk-07", "idempotency_key": "chosen-key"}


@pytest.mark.parametrize(
    "change",
    [
        {"clerk": "clerk-08"},
        {"clerk": ""},
        {"idempotency_key": "another-key"},
        {"idempotency_key": ""},
        {"audience": "other-centre"},
    ],
    ids=str,
)
def test_other_headers_and_centres_are_refused(change: dict[str, str]) -> None:
    token = KEY.assertion(*REQUEST, now=NOW, **SIGNED)
    verify_assertion(token, KEY.public_jwk(), *REQUEST, now=NOW, **SIGNED)
    with pytest.raises(ClientAuthError, match="another request"):
        verify_assertion(token, KEY.public_jwk(), *REQUEST, now=NOW, **(SIGNED | change))


def test_headers_not_sent_cannot_be_added() -> None:
    for name in SIGNED:
        sent = {name: SIGNED[name]}
        with pytest.raises(ClientAuthError, match="another request"):
            verify_assertion(KEY.assertion(*REQUEST, now=NOW), KEY.public_jwk(), *REQUEST, now=NOW, **sent)


@pytest.mark.parametrize(
    ("offset", "accepted"),
    [
        (LIFETIME_S + CLOCK_SKEW_S - 1, True),
        (LIFETIME_S + CLOCK_SKEW_S, False),
        (-CLOCK_SKEW_S, True),
        (-CLOCK_SKEW_S - 1, False),
    ],
)
def test_time_window(offset: int, accepted: bool) -> None:
    token = KEY.assertion(*REQUEST, now=NOW)
    if accepted:
        verify_assertion(token, KEY.public_jwk(), *REQUEST, now=NOW + offset)
        return
    with pytest.raises(AssertionExpiredError) as caught:
        verify_assertion(token, KEY.public_jwk(), *REQUEST, now=NOW + offset)
    assert caught.value.failure == "REQUEST_EXPIRED"


def test_other_key_is_refused() -> None:
    other = ClientKey.generate("terminal-1")
    with pytest.raises(ClientAuthError, match="registered key"):
        verify_assertion(other.assertion(*REQUEST, now=NOW), KEY.public_jwk(), *REQUEST, now=NOW)


def test_public_key_as_hmac_secret_is_refused() -> None:
    """The classic algorithm confusion: the public half, known to all, used as a shared secret."""
    claims = {"iss": "terminal-1", "iat": NOW, "exp": NOW + 60, "jti": "x" * 20, "htm": "POST"}
    forged = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(KEY.public_jwk()["x"]))
    unsigned = "eyJhbGciOiJub25lIn0." + forged.split(".")[1] + "."
    for token in (forged, unsigned):
        with pytest.raises(ClientAuthError):
            verify_assertion(token, KEY.public_jwk(), *REQUEST, now=NOW)


def _signed(change: dict[str, object]) -> str:
    claims: dict[str, object] = {
        "iss": "terminal-1",
        "iat": NOW,
        "exp": NOW + LIFETIME_S,
        "jti": "0123456789abcdef",
        "htm": "POST",
        "htu": REQUEST[1],
        "bsh": body_digest(REQUEST[2]),
        "aud": DEFAULT_AUDIENCE,
        "clk": "",
        "idk": "",
    }
    kept = {name: value for name, value in (claims | change).items() if value is not None}
    return jwt.encode({"alg": "Ed25519"}, kept, LIBRARY_KEY, algorithms=["Ed25519"])


def test_unchanged_claims_pass() -> None:
    verify_assertion(_signed({}), KEY.public_jwk(), *REQUEST, now=NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"exp": NOW + LIFETIME_S + 1},
        {"exp": NOW},
        {"exp": None},
        {"iat": None},
        {"iat": True},
        {"iat": "now"},
        {"exp": 1e308},
        {"jti": None},
        {"jti": "short"},
        {"jti": 7},
        {"htm": None},
        {"htu": None},
        {"bsh": None},
        {"bsh": 5},
        {"aud": None},
        {"aud": [DEFAULT_AUDIENCE]},
        {"clk": None},
        {"idk": None},
        {"iss": None},
        {"iss": "a b"},
        {"iss": "x" * 65},
    ],
)
def test_incomplete_or_odd_claims_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ClientAuthError):
        verify_assertion(_signed(change), KEY.public_jwk(), *REQUEST, now=NOW)


@settings(max_examples=60)
@given(st.one_of(st.text(max_size=200), st.from_regex(r"[\w-]{0,40}\.[\w-]{0,80}\.[\w-]{0,90}", fullmatch=True)))
def test_garbage_never_passes_and_never_crashes(token: str) -> None:
    with pytest.raises(ClientAuthError):
        verify_assertion(token, KEY.public_jwk(), *REQUEST, now=NOW)


@settings(max_examples=60)
@given(st.data())
def test_every_changed_character_of_the_signed_part_is_refused(data: st.DataObject) -> None:
    token = KEY.assertion(*REQUEST, now=NOW)
    place = data.draw(st.integers(0, token.rindex(".") - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_."))
    changed = token[:place] + letter + token[place + 1 :]
    if changed == token:
        return
    with pytest.raises(ClientAuthError):
        verify_assertion(changed, KEY.public_jwk(), *REQUEST, now=NOW)


def _text(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


_HEADER = st.one_of(
    st.just('{"alg":"Ed25519"}'),
    st.sampled_from(['{"alg":"EdDSA"}', '{"alg":"none"}', '{"alg":"HS256"}', '["alg"]', '{"typ":"JWT"}', '"Ed25519"']),
    st.builds(
        lambda more: json.dumps({"alg": "Ed25519"} | more),
        st.dictionaries(
            st.sampled_from(["typ", "kid", "crit", "b64", "jku", "jwk", "x5c", "alg"]), st.text(max_size=5)
        ),
    ),
)
_CLAIMS = st.one_of(
    st.just(json.dumps(jwt.decode(KEY.assertion(*REQUEST, now=NOW), LIBRARY_KEY, algorithms=["Ed25519"]).claims)),
    st.sampled_from(["[]", "null", "{", '{"iss":"terminal-1"}', "\ufeff{}", "[" * 900]),
)


@settings(max_examples=100)
@given(header=_HEADER, claims=_CLAIMS, tail=st.sampled_from(["", "=", "A", "."]), ascii_=st.booleans())
def test_what_is_accepted_a_library_for_jwt_accepts_too(header: str, claims: str, tail: str, ascii_: bool) -> None:
    """Signed by the registered key all of them; only what says so in the one way we know is taken."""
    signed = f"{_text(header.encode('utf-8' if ascii_ else 'utf-16'))}.{_text(claims.encode())}"
    token = f"{signed}.{_text(KEY._key.sign(signed.encode()))}{tail}"
    try:
        verify_assertion(token, KEY.public_jwk(), *REQUEST, now=NOW)
    except ClientAuthError:
        is_ours = False
    else:
        is_ours = True
    try:
        jwt.decode(token, LIBRARY_KEY, algorithms=["Ed25519"])
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
        assert not is_ours
    assert is_ours == (claims.startswith('{"iss"') and "jti" in claims and not tail and ascii_ and _is_known(header))


def test_assertions_are_what_a_library_for_jwt_makes_of_them() -> None:
    token = KEY.assertion(*REQUEST, now=NOW, clerk="登记员")
    made = jwt.decode(token, LIBRARY_KEY, algorithms=["Ed25519"])
    assert jwt.encode(made.header, made.claims, LIBRARY_KEY, algorithms=["Ed25519"]) == token


@pytest.mark.parametrize("spoil", [{"x": "A"}, {"x": "A" * 42 + "B"}, {"x": "A" * 44}, {"x": "A" * 42 + "é"}, {"x": 1}])
def test_what_is_no_key_is_refused(spoil: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"32 bytes|base64|ascii|data characters|padding|text"):
        check_public_jwk(KEY.public_jwk() | spoil)


def _is_known(header: str) -> bool:
    read = json.loads(header)
    return isinstance(read, dict) and read.get("alg") == "Ed25519" and set(read) <= {"alg", "typ", "kid"}


def test_key_file_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "client.json"
    KEY.save(path)
    loaded = ClientKey.load(path)
    assert loaded.public_jwk() == KEY.public_jwk()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["client.json"]
    assert "d" not in loaded.public_jwk()
    assert json.loads(path.read_text())["key"]["d"] not in repr(loaded)


def test_key_file_names_the_centre(tmp_path: Path) -> None:
    path = tmp_path / "client.json"
    ClientKey.generate("a", "other-centre").save(path)
    token = ClientKey.load(path).assertion(*REQUEST, now=NOW)
    jwk = ClientKey.load(path).public_jwk()
    verify_assertion(token, jwk, *REQUEST, now=NOW, audience="other-centre")
    document = json.loads(path.read_text())
    del document["audience"]
    path.write_text(json.dumps(document))
    assert ClientKey.load(path).audience == DEFAULT_AUDIENCE
    path.write_text(json.dumps(document | {"audience": ["a"]}))
    with pytest.raises(ClientKeyError):
        ClientKey.load(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.chmod(0o640),
        lambda path: path.write_text("{}"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text(
            '{"client_id": "a", "key": {"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA"}}'
        ),
        lambda path: path.write_bytes(b"\xff\xfe"),
    ],
)
def test_bad_key_file_is_refused(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    path = tmp_path / "client.json"
    KEY.save(path)
    spoil(path)
    with pytest.raises(ClientKeyError):
        ClientKey.load(path)


def test_missing_key_file(tmp_path: Path) -> None:
    with pytest.raises(ClientKeyNotFoundError):
        ClientKey.load(tmp_path / "none.json")


def test_public_jwk_check_drops_private_half() -> None:
    assert set(check_public_jwk(KEY._private_jwk())) == {"kty", "crv", "x"}
    for bad in ({}, {"kty": "oct", "k": "AA"}, {"kty": "OKP", "crv": "X25519", "x": KEY.public_jwk()["x"]}):
        with pytest.raises(ValueError, match="Ed25519"):
            check_public_jwk(bad)


def test_httpx_signs_method_path_query_and_body() -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        path = request.url.raw_path.decode()
        headers = {
            "clerk": request.headers.get("X-Clerk", ""),
            "idempotency_key": request.headers.get("Idempotency-Key", ""),
        }
        seen.append(verify_assertion(token, KEY.public_jwk(), request.method, path, request.content, **headers).nonce)
        return httpx.Response(200)

    with httpx.Client(transport=httpx.MockTransport(answer), auth=ClientAuth(KEY), base_url="http://centre") as client:
        client.get("/v1/stock", params={"region": "110000", "q": "一"})
        client.post("/v1/x", json={"a": "中"})
        client.post("/v1/x", headers={"X-Clerk": "clerk-07", "Idempotency-Key": "chosen-key"})
    assert len(set(seen)) == 3
