"""Clerks log in through an OpenID Connect provider, as the users of any relying party do: ours, or one beside it.

Nothing of the provider is known but its address, client id and secret. They are looked up again at each log-in, which
are few: the file may come later than the service, and keys change.
"""

from __future__ import annotations

import hmac
import json
import secrets
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx
from authlib.common.urls import add_params_to_uri
from authlib.integrations.base_client import OAuthError
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from issuance.clock import Clock
from issuance.identity.adapters import is_private

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Authlib announces a successor of httpx, which it does not need yet
    from authlib.integrations.httpx_client import AsyncOAuth2Client

STRONG: Final = ("urn:onecard:acr:scan", "urn:onecard:acr:card")
"""Ways that are as strong as password and one-time code: something held, and a secret (docs/login.md)."""
_HELD: Final = frozenset({"hwk", "sc"})
_ADDRESSES: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_ALGORITHMS: Final = ("ES256", "RS256")
_TIMEOUT_S: Final = 10.0


class ProviderUnreachableError(Exception):
    """There is no provider, or it does not answer as one."""

    failure: ClassVar[str] = "SERVICE_UNREACHABLE"


class ScanOverError(Exception):
    """The log-in was refused at the provider, is not the one this browser began, or what came of it is not valid."""

    failure: ClassVar[str] = "LOGIN_CLOSED"


@dataclass(frozen=True, slots=True)
class Begun:
    """`url` is where the browser goes; the rest stays in this browser until it is back."""

    url: str
    redirect_uri: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)

    def is_answered_by(self, answer: Mapping[str, str]) -> bool:
        return hmac.compare_digest(answer.get("state", "").encode(), self.state.encode())


@dataclass(frozen=True, slots=True)
class Known:
    """Who logged in at the provider, by the name it has for this relying party alone, and how strongly."""

    subject: str
    acr: str
    amr: tuple[str, ...]
    id_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Registration:
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)


class LoginProvider:
    """`path`: file with what the provider told at registration: issuer, client_id, client_secret."""

    def __init__(self, path: Path | None, clock: Clock, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.path = path
        self.transport = transport
        """In place of the network, for tests."""
        self._clock = clock

    @property
    def is_there(self) -> bool:
        return self.path is not None and self.path.exists()

    async def begin(self, redirect_uri: str, language: str) -> Begun:
        """Raises ProviderUnreachableError."""
        verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        async with self._client(self._registration()) as client:
            client.redirect_uri = redirect_uri
            url, state = client.create_authorization_url(
                (await self._metadata(client))["authorization_endpoint"],
                code_verifier=verifier,
                nonce=nonce,
                acr_values=" ".join(STRONG),
                ui_locales="en" if language == "en" else "zh-CN",
            )
        return Begun(url, redirect_uri, state, nonce, verifier)

    async def finish(self, begun: Begun, answer: Mapping[str, str]) -> Known:
        """`answer`: the parameters the browser came back with. Raises ScanOverError, ProviderUnreachableError."""
        registration = self._registration()
        _demand(begun.is_answered_by(answer), "another state")
        _demand(answer.get("iss") == registration.issuer, "answered by another provider (RFC 9207)")
        _demand("code" in answer, answer.get("error", "no code")[:40])
        async with self._client(registration) as client:
            metadata = await self._metadata(client)
            token = await self._exchanged(client, metadata["token_endpoint"], begun, answer["code"])
            keys = await _fetched(client, metadata["jwks_uri"])
        return self._known(registration, str(token.get("id_token", "")), keys, begun.nonce)

    async def log_out_url(self, id_token: str, after: str) -> str:
        """Where the browser ends the log-in at the provider (RP-initiated logout), and then goes `after`. Raises
        ProviderUnreachableError, also where the provider has no such place."""
        async with self._client(self._registration()) as client:
            end = (await self._metadata(client)).get("end_session_endpoint")
        if not isinstance(end, str):
            raise ProviderUnreachableError("the provider ends no log-ins")
        url: str = add_params_to_uri(end, [("id_token_hint", id_token), ("post_logout_redirect_uri", after)])
        return url

    def _registration(self) -> _Registration:
        try:
            told = json.loads((self.path or Path()).read_text("utf-8"))
            found = _Registration(*(str(told[name]) for name in ("issuer", "client_id", "client_secret")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ProviderUnreachableError("no file that registers the console at a provider") from error
        if not is_private(found.issuer):
            raise ProviderUnreachableError("the provider needs https, or an address of this machine")
        return found

    def _client(self, registration: _Registration) -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            registration.client_id,
            registration.client_secret,
            scope="openid",
            code_challenge_method="S256",
            base_url=registration.issuer,
            transport=self.transport,
            timeout=_TIMEOUT_S,
            trust_env=False,
        )

    async def _metadata(self, client: AsyncOAuth2Client) -> dict[str, Any]:
        found = await _fetched(client, "/.well-known/openid-configuration")
        if found.get("issuer") != str(client.base_url).rstrip("/"):
            raise ProviderUnreachableError("the discovery document is of another issuer")
        if not all(isinstance(found.get(name), str) for name in _ADDRESSES):
            raise ProviderUnreachableError("the discovery document lacks addresses")
        return found

    async def _exchanged(self, client: AsyncOAuth2Client, url: str, begun: Begun, code: str) -> dict[str, Any]:
        try:
            token: dict[str, Any] = await client.fetch_token(
                url, code=code, redirect_uri=begun.redirect_uri, code_verifier=begun.verifier
            )
        except OAuthError as error:
            raise ScanOverError(f"the code was refused: {error.error}") from error
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderUnreachableError("the token endpoint does not answer") from error
        return token

    def _known(self, registration: _Registration, token: str, keys: dict[str, Any], nonce: str) -> Known:
        """OpenID Connect Core, 3.1.3.7."""
        rules = jwt.JWTClaimsRegistry(
            now=int(self._clock().timestamp()),
            leeway=30,
            iss={"essential": True, "value": registration.issuer},
            aud={"essential": True, "value": registration.client_id},
            nonce={"essential": True, "value": nonce},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            published = [key for key in keys["keys"] if key.get("crv") != "SM2"]  # joserfc knows no SM2
            claims = jwt.decode(token, KeySet.import_key_set({"keys": published}), list(_ALGORITHMS)).claims
            rules.validate(claims)
            acr, amr = str(claims.get("acr", "")), tuple(map(str, claims.get("amr", ())))
        except (JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ScanOverError(f"the ID token is not valid: {type(error).__name__}") from error
        _demand(acr in STRONG and "pin" in amr and not _HELD.isdisjoint(amr), "not as strong as asked")
        return Known(str(claims["sub"]), acr, amr, token)


async def _fetched(client: AsyncOAuth2Client, url: str) -> dict[str, Any]:
    try:
        answer = await client.request("GET", url, withhold_token=True)
        found = answer.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ProviderUnreachableError("the provider does not answer") from error
    if not isinstance(found, dict):
        raise ProviderUnreachableError("the provider answers something else")
    return found


def _demand(condition: bool, detail: str) -> None:
    if not condition:
        raise ScanOverError(detail)
