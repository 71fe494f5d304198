"""Log in with the electronic social security card: a relying party on Authlib, without a web framework.

    login = OneCardLogin("https://login.example", "hall-1", SECRET, redirect_uri="https://hall.example/back")
    begun = login.begin()                         # keep begun.kept in the session, send the browser to begun.url
    person = login.finish(kept, request.args)     # the session's kept, the parameters the browser came back with

Calls block; an asynchronous site makes them in a thread. Errors of the network are those of Authlib's HTTP client.
"""

from __future__ import annotations

import hmac
import ipaddress
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import urlsplit

from authlib.integrations.base_client import BaseApp, OAuth2Mixin, OAuthError, OpenIDMixin
from httpx import HTTPStatusError
from joserfc.errors import JoseError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Authlib announces a successor of httpx, which it does not need yet
    from authlib.integrations.httpx_client import OAuth2Client

__all__ = ["BY_CARD", "BY_NATIONAL_APP", "BY_SCAN", "Begun", "DeviceCode", "LogInError", "OneCardLogin", "Person"]

BY_SCAN: Final = "urn:onecard:acr:scan"
"""The phone that holds the card's key signed this log-in, after its password."""
BY_CARD: Final = "urn:onecard:acr:card"
"""The card itself did, after its PIN."""
BY_NATIONAL_APP: Final = "urn:onecard:acr:national"
"""The national platform told who it is."""

_DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_TIMEOUT_S: Final = 20.0
_SLOWER_S: Final = 5.0
"""RFC 8628, 3.5."""


class LogInError(Exception):
    """There is no log-in. `error` is the name the RFCs have for it: `access_denied` when the person refused,
    `invalid_response` when the answer is not one to what this browser began."""

    def __init__(self, error: str, detail: str = "") -> None:
        super().__init__(f"{error}: {detail}" if detail else error)
        self.error = error


@dataclass(frozen=True, slots=True)
class Begun:
    """`url`: where the browser goes. `kept` (JSON) stays with this browser's session until it is back, and is used
    once."""

    url: str
    kept: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Person:
    """`sub` is the key of an account: always the same for one person here, another one at other sites."""

    sub: str
    acr: str
    amr: tuple[str, ...]
    auth_time: int
    """Seconds since 1970."""
    name: str = field(repr=False)
    """Whole where the person agreed, else masked; empty without the scope `profile`."""
    social_security_number: str = field(repr=False)
    """Empty unless this site is registered for it, asked for it and the person agreed."""
    id_token: str = field(repr=False)
    """For `logout_url`."""


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a device shows: open `url` and type `user_code`, or open `whole_url` (as a QR code)."""

    url: str
    user_code: str
    whole_url: str
    expires_in_s: int


class _App(OAuth2Mixin, OpenIDMixin, BaseApp):  # type: ignore[misc]  # Authlib has no types
    client_cls = OAuth2Client


class OneCardLogin:
    """One relying party. `client_secret` is empty for programs that can keep none.

    `acr`: ways of logging in that are good enough, the best first; all where none is given.
    Raises ValueError for an `issuer` that is neither https nor this machine.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str = "",
        *,
        redirect_uri: str = "",
        scope: str = "openid profile",
        acr: Sequence[str] = (),
    ) -> None:
        _demand_safe(issuer)
        self._issuer, self._redirect_uri, self._acr = issuer.rstrip("/"), redirect_uri, tuple(acr)
        self._app = _App(
            None,
            client_id=client_id,
            client_secret=client_secret,
            server_metadata_url=f"{self._issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": scope,
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": "client_secret_basic" if client_secret else "none",
                "timeout": _TIMEOUT_S,
            },
        )

    def begin(self, language: str = "") -> Begun:
        """`language` of the log-in page: `zh` or `en`; the browser's where none is given."""
        given = {"acr_values": " ".join(self._acr), "ui_locales": language}
        self._metadata()
        made = self._app.create_authorization_url(self._redirect_uri, **{k: v for k, v in given.items() if v})
        return Begun(made.pop("url"), made)

    def finish(self, kept: Mapping[str, str], answer: Mapping[str, str]) -> Person:
        """Who logged in. Raises LogInError."""
        state, iss = answer.get("state", ""), answer.get("iss", "")
        _demand(hmac.compare_digest(state.encode(), kept.get("state", "").encode()) and state != "", "another state")
        _demand(iss == self._issuer, "answered by another provider (RFC 9207)")
        if "error" in answer:
            raise LogInError(answer["error"], answer.get("error_description", ""))
        with _refusals():
            token = self._app.fetch_access_token(
                self._redirect_uri, code=answer.get("code", ""), code_verifier=kept["code_verifier"]
            )
            return self._person(token, kept["nonce"])

    def logout_url(self, person: Person, after: str) -> str:
        """Where the browser goes to end the log-in; it then comes to `after`, which is registered for that."""
        self._metadata()
        return str(self._app.create_logout_url(post_logout_redirect_uri=after, id_token_hint=person.id_token)["url"])

    def by_device(self, show: Callable[[DeviceCode], None]) -> Person:
        """Log-in on a device without a browser (RFC 8628): `show` is called once, then the provider is asked until
        the person is through. Raises LogInError, `expired_token` when nobody came."""
        metadata = self._metadata()
        with _refusals(), self._app._get_oauth_client(**metadata) as client:
            auth = client.client_auth(client.token_endpoint_auth_method)
            asked = client.post(metadata["device_authorization_endpoint"], data={"scope": client.scope}, auth=auth)
            given = client.parse_response_token(asked)
            whole = given.get("verification_uri_complete", given["verification_uri"])
            show(DeviceCode(given["verification_uri"], given["user_code"], whole, given["expires_in"]))
            wait_s = float(given.get("interval", _SLOWER_S))
            while True:
                try:
                    token = client.fetch_token(grant_type=_DEVICE, device_code=given["device_code"])
                    return self._person(token, None)
                except OAuthError as error:
                    if error.error not in ("authorization_pending", "slow_down"):
                        raise
                    wait_s += _SLOWER_S if error.error == "slow_down" else 0
                    time.sleep(wait_s)

    def _metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self._app.load_server_metadata()
        _demand(found.get("issuer") == self._issuer, "the discovery document is of another issuer")
        return found

    def _person(self, token: dict[str, Any], nonce: str | None) -> Person:
        claims = self._app.parse_id_token(token, nonce)
        _demand(claims is not None, "no ID token")
        _demand(not self._acr or claims.get("acr") in self._acr, "known less well than was asked for")
        told = self._told(token)
        _demand(told.get("sub") == claims["sub"], "userinfo is of somebody else")
        return Person(
            sub=claims["sub"],
            acr=claims.get("acr", ""),
            amr=tuple(claims.get("amr", ())),
            auth_time=int(claims.get("auth_time", claims["iat"])),
            name=told.get("name", ""),
            social_security_number=told.get("social_security_number", ""),
            id_token=cast(str, token["id_token"]),
        )

    def _told(self, token: dict[str, Any]) -> dict[str, Any]:
        try:
            return cast(dict[str, Any], self._app.userinfo(token=token))
        except HTTPStatusError as error:
            if error.response.status_code != HTTPStatus.UNAUTHORIZED:
                raise
            raise LogInError("invalid_token", "the log-in has ended") from error


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except OAuthError as error:
        raise LogInError(error.error or "invalid_response", error.description or "") from error
    except (JoseError, KeyError) as error:
        raise LogInError("invalid_response", type(error).__name__) from error


def _demand(condition: bool, detail: str) -> None:
    if not condition:
        raise LogInError("invalid_response", detail)


def _demand_safe(issuer: str) -> None:
    parts = urlsplit(issuer)
    host = parts.hostname or ""
    try:
        is_here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = False
    if parts.scheme != "https" and not (parts.scheme == "http" and is_here):
        raise ValueError("the issuer is an https address, or an http one of this machine")
