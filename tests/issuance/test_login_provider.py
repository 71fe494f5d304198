"""What the console believes of a log-in provider: a provider that lies, token by token."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from issuance.clerks.provider import Begun, LoginProvider, ProviderUnreachableError, ScanOverError
from tests.issuance.conftest import START, Clock

ISSUER, CLIENT = "https://login.example", "console"
BACK = "https://console.example/console/login/back"
KEY, OTHER = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
PUBLIC = KEY.as_dict(private=False) | {"kid": "k1"}
NOW = int(START.timestamp())
Token = Callable[[dict[str, Any]], str]


def signed(claims: dict[str, Any], key: Any = KEY, algorithm: str = "ES256") -> str:
    return jwt.encode({"alg": algorithm, "kid": "k1"}, claims, key, algorithms=[algorithm])


def changed(**change: Any) -> Token:
    return lambda claims: signed({name: value for name, value in (claims | change).items() if value is not None})


def unsigned(claims: dict[str, Any]) -> str:
    none = urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    return f"{none}.{signed(claims).split('.')[1]}."


def keyed_with_what_is_public(claims: dict[str, Any]) -> str:
    return signed(claims, OctKey.import_key(json.dumps(PUBLIC)), "HS256")


class Provider:
    """`document` and `token` as a test wants them."""

    def __init__(self, folder: Path) -> None:
        self.document = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/jwks",
        }
        self.token: Token = signed
        self.nonce = ""
        file = folder / "console.json"
        file.write_text(json.dumps({"issuer": ISSUER, "client_id": CLIENT, "client_secret": "s"}), "utf-8")
        self.console = LoginProvider(file, Clock(), httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/jwks":
            return httpx.Response(200, json={"keys": [PUBLIC, {"kty": "EC", "crv": "SM2", "x": "AA", "y": "AA"}]})
        if request.url.path != "/token":
            return httpx.Response(200, json=self.document)
        assert b"code_verifier=" in request.content
        claims = {
            "iss": ISSUER,
            "aud": CLIENT,
            "sub": "somebody",
            "nonce": self.nonce,
            "exp": NOW + 60,
            "acr": "urn:onecard:acr:card",
            "amr": ["sc", "pin"],
        }
        return httpx.Response(200, json={"access_token": "a", "token_type": "Bearer", "id_token": self.token(claims)})

    async def begun(self) -> Begun:
        begun = await self.console.begin(BACK, "zh")
        self.nonce = begun.nonce
        return begun


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    return Provider(tmp_path)


async def finish(provider: Provider) -> str:
    begun = await provider.begun()
    return (await provider.console.finish(begun, {"code": "c", "state": begun.state, "iss": ISSUER})).subject


async def test_a_card_at_a_reader_is_as_good_as_a_scan(provider: Provider) -> None:
    assert await finish(provider) == "somebody"
    url = httpx.URL((await provider.begun()).url)
    assert url.params["code_challenge_method"] == "S256"
    assert url.params["acr_values"] == "urn:onecard:acr:scan urn:onecard:acr:card"
    assert url.params["scope"] == "openid", "nothing about the person is asked for"


@pytest.mark.parametrize(
    "token",
    [
        changed(aud="another"),
        changed(iss="https://evil.example"),
        changed(nonce="of another log-in"),
        changed(nonce=None),
        changed(exp=NOW - 60),
        changed(exp=None),
        changed(sub=None),
        changed(acr="urn:onecard:acr:national"),
        changed(acr=None),
        changed(amr=["hwk"]),
        changed(amr=["pin"]),
        changed(amr=7),
        lambda claims: signed(claims, OTHER),
        unsigned,
        keyed_with_what_is_public,
        lambda claims: "",
        lambda claims: "a.b.c",
    ],
)
async def test_a_token_that_is_not_for_this_log_in(provider: Provider, token: Token) -> None:
    provider.token = token
    with pytest.raises(ScanOverError):
        await finish(provider)


async def test_a_provider_that_is_none(provider: Provider) -> None:
    provider.document["issuer"] = "https://evil.example"
    with pytest.raises(ProviderUnreachableError):
        await provider.begun()
    provider.console.path = None
    assert not provider.console.is_there
    with pytest.raises(ProviderUnreachableError):
        await provider.begun()


async def test_a_provider_that_ends_no_log_ins(provider: Provider) -> None:
    with pytest.raises(ProviderUnreachableError):
        await provider.console.log_out_url("t", BACK)


@pytest.mark.parametrize("document", [[], {"issuer": ISSUER}, {"issuer": ISSUER, "authorization_endpoint": 7}])
async def test_a_discovery_document_that_is_none(provider: Provider, document: Any) -> None:
    provider.document = document
    with pytest.raises(ProviderUnreachableError):
        await provider.begun()


async def test_a_provider_whose_answers_others_may_change(provider: Provider) -> None:
    assert provider.console.path is not None
    for issuer in ("http://login.example", "ftp://login.example", ""):
        told = {"issuer": issuer, "client_id": CLIENT, "client_secret": "s"}
        provider.console.path.write_text(json.dumps(told), "utf-8")
        provider.document["issuer"] = issuer
        with pytest.raises(ProviderUnreachableError, match="https"):
            await provider.begun()
