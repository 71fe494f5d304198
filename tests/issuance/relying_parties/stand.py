"""Relying parties run by Authlib's own client, and a browser; the holder decides where the log-in page would ask."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import KeySet

from issuance.ecards.models import EcardRow
from issuance.login.answers import authorization_response_url
from issuance.login.seam import ACR_SCAN, Refused, Subject
from issuance.login.transactions import look_up
from issuance.login.unit import login_unit
from issuance.services import Services
from tests.issuance.conftest import Centre, ok
from tests.issuance.phone import Phone, signed_phone

ISSUER = "http://127.0.0.1:8400"
CALLBACK = "https://hall.example/callback"
AFTER = "https://hall.example/"
COOKIE = "onecard-login"


@dataclass
class Stand:
    centre: Centre
    phone: Phone = field(init=False)
    secrets: dict[str, str | None] = field(default_factory=dict)
    discovery: dict[str, Any] = field(default_factory=dict)

    async def ready(self) -> Stand:
        await self.centre.stock(blanks=2, numbers=2)
        self.phone = await signed_phone(self.centre)
        await self.register("hall", redirect_uris=[CALLBACK], logout_uris=[AFTER])
        self.discovery = ok(await self.browser().get("/.well-known/openid-configuration"))
        return self

    @property
    def services(self) -> Services:
        services: Services = self.centre.app.state.services
        return services

    async def register(self, client_id: str, **change: Any) -> None:
        body = {"id": client_id, "name": "示例办事大厅", "scopes": ["openid", "profile", "social_security"]} | change
        told = ok(await self.centre.as_("operator").post("/v1/relying-parties", json=body), 201)
        self.secrets[client_id] = told["client_secret"]

    def browser(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.centre.app), base_url=ISSUER)

    def client(self, client_id: str = "hall", **change: Any) -> AsyncOAuth2Client:
        """Unmodified; told the addresses that the discovery document has."""
        options = {
            "client_id": client_id,
            "client_secret": self.secrets[client_id],
            "token_endpoint": self.discovery["token_endpoint"],
            "redirect_uri": CALLBACK,
            "scope": "openid profile",
            "code_challenge_method": "S256",
            "transport": httpx.ASGITransport(self.centre.app),
        }
        return AsyncOAuth2Client(**options | change)

    async def approved(self, login: httpx.Response, outcome: Subject | Refused | None = None) -> str:
        """Where the browser is sent once the holder has decided; `login`: the answer to its authorization request."""
        assert login.status_code == 303, login.text
        location = login.headers["location"]
        assert location.startswith("/login/"), location
        async with login_unit(self.services) as unit:
            transaction = await look_up(unit, location.removeprefix("/login/"), login.cookies[COOKIE])
            return await authorization_response_url(unit, transaction, outcome or self.subject())

    def subject(self, *claims: str) -> Subject:
        return Subject(
            card_number=self.phone.card_number,
            ecard_no=self.phone.ecard_no,
            acr=ACR_SCAN,
            amr=("hwk", "pin"),
            auth_time=self.centre.clock(),
            claims=frozenset(claims),
        )

    async def log_in(self, client_id: str = "hall", *claims: str, **change: Any) -> dict[str, Any]:
        """The whole way by code; the token answer."""
        async with self.client(client_id, **change) as client:
            verifier = secrets.token_urlsafe(48)
            url, state = client.create_authorization_url(
                self.discovery["authorization_endpoint"], code_verifier=verifier, nonce="n-1"
            )
            back = await self.approved(await self.browser().get(url), self.subject(*claims))
            token: dict[str, Any] = await client.fetch_token(
                self.discovery["token_endpoint"], authorization_response=back, code_verifier=verifier, state=state
            )
            return token

    async def code(self, client_id: str = "hall", **change: Any) -> tuple[str, str]:
        """A code that waits to be exchanged, and its verifier."""
        verifier = secrets.token_urlsafe(48)
        asked = self.asked(verifier, client_id=client_id, **change)
        back = await self.approved(await self.authorize(asked))
        return query_of(back)["code"], verifier

    def asked(self, verifier: str = "v" * 43, **change: str | None) -> dict[str, str]:
        """Parameters of an authorization request; None leaves one out."""
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": "hall",
            "redirect_uri": CALLBACK,
            "scope": "openid",
            "state": "s-1",
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in (parameters | change).items() if value is not None}

    async def authorize(self, parameters: dict[str, str]) -> httpx.Response:
        return await self.browser().get(f"{self.discovery['authorization_endpoint']}?{urlencode(parameters)}")

    async def token(self, client_id: str = "hall", **parameters: str) -> httpx.Response:
        """A token request written by hand, with HTTP Basic."""
        return await self.browser().post(
            "/oidc/token", data=parameters, auth=(client_id, self.secrets[client_id] or "")
        )

    async def exchange(self, code: str, verifier: str, client_id: str = "hall", **change: str) -> httpx.Response:
        body = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": verifier}
        return await self.token(client_id, **body | change)

    async def refresh(self, refresh_token: str, client_id: str = "hall", **change: str) -> httpx.Response:
        return await self.token(client_id, grant_type="refresh_token", refresh_token=refresh_token, **change)

    async def user_info(self, access_token: str) -> httpx.Response:
        return await self.browser().get("/oidc/userinfo", headers={"Authorization": f"Bearer {access_token}"})

    async def claims(self, token: str, algorithm: str = "ES256") -> dict[str, Any]:
        """As joserfc checks them."""
        known = KeySet.import_key_set(ok(await self.browser().get(urlsplit(self.discovery["jwks_uri"]).path)))
        claims = jwt.decode(token, known, algorithms=[algorithm]).claims
        now = int(self.centre.clock().timestamp())
        rules = jwt.JWTClaimsRegistry(now=now, iss={"essential": True, "value": ISSUER}, exp={"essential": True})
        rules.validate(claims)
        return claims

    async def person_id(self) -> str:
        async with login_unit(self.services, is_reading=True) as unit:
            return (await unit.session.get_one(EcardRow, self.phone.ecard_no)).person_id


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def failed(response: httpx.Response, error: str, status: int = 400) -> None:
    """An OAuth error, never problem details."""
    assert response.headers["content-type"].startswith("application/json"), response.text
    assert (response.status_code, response.json()["error"]) == (status, error), response.text
    assert "no-store" in response.headers["cache-control"]
