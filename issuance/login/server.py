"""Authlib's authorization server, whose core knows no web framework, on one unit of work.

Its callbacks are not asynchronous: they run inside `AsyncSession.run_sync`, on the session of the unit. An answer that
refuses is an answer like any other: what was written with it, such as the end of a stolen grant, is stored.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_plus

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from sqlalchemy.orm import Session

from issuance.login.client_assertions import ASSERTION_TYPE, named_client, spend
from issuance.login.client_keys import ClientKeyError
from issuance.login.models import RelyingPartyRow
from issuance.login.relying_parties import hash_of
from issuance.login.tokens import revoke
from issuance.login.unit import LoginUnit

_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is None where there is none."""

    status: int
    body: Mapping[str, Any] | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to a protocol endpoint; a parameter that came twice never gets here."""

    url: str
    parameters: Mapping[str, str] = field(repr=False)
    authorization: str = field(default="", repr=False)
    method: str = "POST"
    address: str = ""
    """Of who asks."""

    @property
    def shows_code(self) -> bool:
        """Whether it asks for tokens by an authorization code, and proves who asks by nothing that is spent too."""
        given = self.parameters
        return given.get("grant_type") == "authorization_code" and "client_assertion" not in given

    @property
    def lock(self) -> str:
        """By its code, whose log-in may have to end: see `LoginUnits.run`."""
        return hash_of(self.parameters.get("code", "")).hex()


class ProtocolRequest(OAuth2Request):  # type: ignore[misc]
    def __init__(self, asked: Asked) -> None:
        super().__init__(asked.method, asked.url, headers={"Authorization": asked.authorization})
        self.payload = BasicOAuth2Payload(dict(asked.parameters))

    @property
    def form(self) -> Mapping[str, str]:
        given: Mapping[str, str] = self.payload.data
        return given


class Party(ClientMixin):  # type: ignore[misc]
    """A relying party as Authlib asks about it."""

    def __init__(self, row: RelyingPartyRow) -> None:
        self.row = row

    def get_client_id(self) -> str:
        return self.row.id

    def get_default_redirect_uri(self) -> None:
        """There is none: OpenID Connect Core, 3.1.2.1 wants it in every request."""

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Those it is registered for; others are passed over (OpenID Connect Core, 3.1.2.1)."""
        asked = (scope or "").split()
        allowed = [name for name in self.row.scopes if name in asked]
        return " ".join(allowed) if "openid" in allowed else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """As text, letter by letter (RFC 9700, 4.1.3)."""
        return redirect_uri in self.row.redirect_uris

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and self.check_grant_type("authorization_code")

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.row.grant_types


class LoginServer(AuthorizationServer):  # type: ignore[misc]
    def __init__(self, unit: LoginUnit, session: Session) -> None:
        super().__init__()
        self.unit = unit
        self.session = session
        self.stolen: list[str] = []
        """Grants that ended because something of theirs was shown twice."""

    def end_stolen(self, grant_id: str) -> None:
        revoke(self.session, grant_id, self.unit)
        self.stolen.append(grant_id)

    def query_client(self, client_id: str) -> Party | None:
        row = self.session.get(RelyingPartyRow, client_id) if client_id.isprintable() else None
        self.session.info["relying_party", client_id] = row  # held: it is asked for again in this unit
        return Party(row) if row is not None and row.status == "active" else None

    def authenticate_client(self, request: Any, methods: Sequence[str], endpoint: str = "token") -> Party:
        """By the one method the relying party is registered for. Raises InvalidClientError, InvalidRequestError."""
        client_id, secret, method = _credentials(request)
        party = self.query_client(client_id)
        if party is None or party.row.auth_method != method:
            raise _unknown()
        if method == "private_key_jwt":
            try:
                spend(self.unit, self.session, party.row, secret)
            except ClientKeyError:
                raise _unknown() from None
        elif method != "none":
            known = party.row.secret_hash or b""
            if not hmac.compare_digest(known, hash_of(secret)):
                raise _unknown()
        request.auth_method = method
        request.client = party
        return party

    def demand_row(self, party: Party, address: str) -> None:
        """Before a row is stored for a client that anybody may pose as. Raises LOGIN_LIMITED."""
        if party.row.auth_method == "none":
            self.unit.services.login_limits.demand_row(address, self.unit.now)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: Asked | ProtocolRequest) -> ProtocolRequest:
        return request if isinstance(request, ProtocolRequest) else ProtocolRequest(request)

    def handle_response(self, status: int, body: Any, headers: Sequence[tuple[str, str]]) -> Answer:
        return answer_of(status, body, headers)


def answer_of(status: int, body: Any, headers: Sequence[tuple[str, str]]) -> Answer:
    kept = {name: value for name, value in headers if name.lower() != "content-type"}
    return Answer(status, body or None, kept | _NO_STORE)


def _credentials(request: ProtocolRequest) -> tuple[str, str, str]:
    """Client, secret or assertion, and method. Raises InvalidRequestError for two methods at once (RFC 6749, 2.3)."""
    named = request.payload.client_id or ""
    in_body, assertion = "client_secret" in request.form, request.form.get("client_assertion")
    scheme, _, encoded = request.headers["Authorization"].partition(" ")
    if assertion is not None:
        if scheme or in_body:
            raise InvalidRequestError("More than one way of client authentication.")
        client_id = named_client(assertion)
        if request.form.get("client_assertion_type") != ASSERTION_TYPE or named not in ("", client_id):
            raise _unknown()
        return client_id, assertion, "private_key_jwt"
    if not scheme:
        return named, request.form.get("client_secret", ""), "client_secret_post" if in_body else "none"
    try:
        if scheme.lower() != "basic":
            raise ValueError
        pair = base64.b64decode(encoded, validate=True).decode()
    except (ValueError, binascii.Error):
        raise _unknown() from None
    client_id, _, secret = (unquote_plus(part) for part in pair.partition(":"))
    if in_body or named not in ("", client_id):
        raise InvalidRequestError("More than one way of client authentication.")
    return client_id, secret, "client_secret_basic"


def _unknown() -> InvalidClientError:
    return InvalidClientError(status_code=401, description="The client is not known by these credentials.")


async def serve(unit: LoginUnit, act: Callable[[LoginServer], Answer]) -> Answer:
    """Run `act` where Authlib may be called."""

    def run(session: Session) -> tuple[Answer, list[str]]:
        server = LoginServer(unit, session)
        return act(server), server.stolen

    answer, stolen = await unit.session.run_sync(run)
    for grant_id in stolen:
        await unit.audit("login.shown-twice", f"login-grant:{grant_id}", region=None)
    return answer
