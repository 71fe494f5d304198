"""What is exchanged for tokens: a code with its PKCE verifier, a refresh token, a device code, a CIBA request.

Each is spent by one conditional UPDATE; whoever comes second ends the grant, because one of the two stole it (RFC 9700,
4.5 and 4.14).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, get_args

from authlib.oauth2.rfc6749 import OAuth2Error, grants
from authlib.oauth2.rfc6749.errors import (
    AccessDeniedError,
    InvalidGrantError,
    InvalidRequestError,
    UnauthorizedClientError,
)
from authlib.oauth2.rfc8628 import DeviceCodeGrant as AuthlibDeviceCodeGrant
from authlib.oauth2.rfc8628.errors import AuthorizationPendingError, ExpiredTokenError, SlowDownError
from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from issuance.database import ROW_LOCK
from issuance.login.live import LiveGrant, live_grant, live_grants
from issuance.login.models import CodeRow, DeviceCodeRow, GrantRow, RefreshTokenRow
from issuance.login.provider_models import BackchannelRow
from issuance.login.relying_parties import BACKCHANNEL_GRANT, AuthMethod, hash_of
from issuance.login.server import Asked, LoginServer, Party
from issuance.login.signing import base64url
from issuance.login.subjects import AnyRow
from issuance.login.tokens import TokenWriter
from issuance.login.unit import LoginUnit

SLOWER_S: Final = 5
"""RFC 8628, 3.5: what `slow_down` adds to the interval, for good."""
CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_AUTH_METHODS: Final = list(get_args(AuthMethod))
_OWN: Final = (
    select(CodeRow.code_hash)
    .join(GrantRow, GrantRow.id == CodeRow.grant_id)
    .where(CodeRow.code_hash.in_(bindparam("shown", expanding=True)), GrantRow.client_id == bindparam("client_id"))
)
_UNUSED: Final = (  # one that another process exchanges at this moment is shown twice: nobody waits to be told so
    _OWN.where(CodeRow.used_at.is_(None))
    .with_for_update(of=CodeRow, skip_locked=True, **ROW_LOCK)
    .cte("unused")  # else PostgreSQL may look for them again for each code there is
)
_SPENT: Final = (
    update(CodeRow)
    .where(CodeRow.code_hash.in_(select(_UNUSED.c.code_hash)), CodeRow.used_at.is_(None))
    .values(used_at=bindparam("now"))
    .returning(CodeRow.code_hash, CodeRow.grant_id, CodeRow.redirect_uri, CodeRow.code_challenge, CodeRow.expires_at)
    .execution_options(synchronize_session=False)
)
_GRANT_OF_CODE: Final = _OWN.with_only_columns(CodeRow.grant_id)


class HeldGrant:
    """A grant as Authlib asks about what was shown for it."""

    def __init__(self, grant: LiveGrant, redirect_uri: str = "") -> None:
        self.grant = grant
        self._redirect_uri = redirect_uri

    def get_redirect_uri(self) -> str:
        return self._redirect_uri

    def get_scope(self) -> str:
        return self.grant.scope

    def check_client(self, client: Party) -> bool:
        return self.grant.client_id == client.get_client_id()


class _Answering:
    """Writes the tokens with all that belongs to them, so Authlib has nothing left to save."""

    server: LoginServer
    request: Any

    def generate_token(self, user: LiveGrant, scope: str, include_refresh_token: bool = True) -> dict[str, Any]:
        party: Party = self.request.client
        writer = TokenWriter(self.server.unit, party.row)
        is_refreshable = include_refresh_token and party.check_grant_type("refresh_token")
        return writer.answer(user, scope, is_refreshable=is_refreshable, nonce=self.nonce(user))

    def nonce(self, grant: LiveGrant) -> str:
        return grant.nonce

    def save_token(self, token: dict[str, Any]) -> None:
        """`TokenWriter` has stored it."""


class CodeGrant(_Answering, grants.AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = _AUTH_METHODS

    @staticmethod
    def validate_authorization_redirect_uri(request: Any, client: Party) -> str:
        """In place of Authlib's, which quotes what was sent and fails on letters that an error may not have.

        Raises InvalidRequestError for an address that is not registered, and OAuth2Error to one that is.
        """
        redirect_uri: str = request.payload.redirect_uri or ""
        if not client.check_redirect_uri(redirect_uri):
            raise InvalidRequestError("'redirect_uri' is missing or not registered.")
        if request.payload.response_type != "code":
            raise OAuth2Error(error="unsupported_response_type", redirect_uri=redirect_uri)
        return redirect_uri

    def query_authorization_code(self, code: str, client: Party) -> HeldGrant | None:
        """Spends it: a code that was guessed with a wrong verifier is lost too."""
        unit, client_id, digest = self.server.unit, client.get_client_id(), hash_of(code)
        name = _name_of(client_id, digest)
        spent = unit.found.pop(name, None) or _spent(unit, self.server.session, client_id, [digest]).get(name)
        if spent is None:
            shown = {"shown": [digest], "client_id": client_id}
            stolen = self.server.session.execute(_GRANT_OF_CODE, shown).scalar_one_or_none()
            if stolen is not None:
                self.server.end_stolen(stolen)
            return None
        row, live = spent
        if not live.is_of(client_id, unit.now) or row.expires_at <= unit.now:
            return None
        _demand_verifier(self.request.form.get("code_verifier"), row.code_challenge)
        return HeldGrant(live, row.redirect_uri)

    def authenticate_user(self, authorization_code: HeldGrant) -> LiveGrant:
        return authorization_code.grant

    def delete_authorization_code(self, authorization_code: HeldGrant) -> None:
        """It is spent, and kept to know it when it comes again."""


def _name_of(client_id: str, code_hash: bytes) -> str:
    """Of what a client may take: whoever else shows the code finds nothing."""
    return f"code:{client_id}:{code_hash.hex()}"


def _spent(
    unit: LoginUnit, session: Session, client_id: str, shown: Sequence[bytes]
) -> dict[str, tuple[AnyRow, LiveGrant]]:
    """Those of the client's codes that nobody has shown before, by their names, each with its grant."""
    rows = session.execute(_SPENT, {"shown": shown, "client_id": client_id, "now": unit.now}).all()
    grants = live_grants(session, [row.grant_id for row in rows]) if rows else {}
    return {_name_of(client_id, row.code_hash): (row, grants[row.grant_id]) for row in rows}


async def spend_codes(unit: LoginUnit, requests: Sequence[Asked]) -> Mapping[str, Any]:
    """Ahead of their exchange: the codes of clients that prove themselves and may show any."""

    def spend(session: Session) -> dict[str, Any]:
        shown = _shown(LoginServer(unit, session), requests)
        spent = [_spent(unit, session, client_id, sorted(codes)) for client_id, codes in sorted(shown.items())]
        return {name: one for some in spent for name, one in some.items()}

    return await unit.session.run_sync(spend)


def _shown(server: LoginServer, requests: Sequence[Asked]) -> dict[str, set[bytes]]:
    """Hashes by client."""
    shown: dict[str, set[bytes]] = {}
    for asked in requests:
        try:
            party = server.authenticate_client(server.create_oauth2_request(asked), ())
        except OAuth2Error:  # it is refused in its turn
            continue
        if party.check_grant_type(CodeGrant.GRANT_TYPE):
            shown.setdefault(party.get_client_id(), set()).add(hash_of(asked.parameters.get("code", "")))
    return shown


class RefreshGrant(_Answering, grants.RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = _AUTH_METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> HeldGrant | None:
        session, client_id = self.server.session, self.request.client.get_client_id()
        row = session.get(RefreshTokenRow, hash_of(refresh_token))
        grant = None if row is None else live_grant(session, row.grant_id, client_id, self.server.unit)
        return None if grant is None else HeldGrant(grant)

    def authenticate_user(self, refresh_token: HeldGrant) -> LiveGrant:
        """Spends the token. Raises InvalidGrantError, and ends the grant, where somebody has spent it before."""
        session, unit = self.server.session, self.server.unit
        spent = (
            update(RefreshTokenRow)
            .where(
                RefreshTokenRow.token_hash == hash_of(self.request.form["refresh_token"]),
                RefreshTokenRow.used_at.is_(None),
            )
            .values(used_at=unit.now)
            .returning(RefreshTokenRow.grant_id)
            .execution_options(synchronize_session=False)
        )
        held = refresh_token.grant
        if session.execute(spent).first() is None:
            self.server.end_stolen(held.id)
            raise InvalidGrantError("The token was used before; the log-in has ended.")
        live = live_grant(session, held.id, held.client_id, unit)
        if live is None:
            raise InvalidGrantError()
        return live

    def revoke_old_credential(self, refresh_token: HeldGrant) -> None:
        """It is spent."""

    def nonce(self, grant: LiveGrant) -> str:
        """OpenID Connect Core, 12.2: none in an ID token that no authorization request asked for."""
        return ""


class _Polled(_Answering):
    """Of somebody who asks again and again until a log-in elsewhere is over."""

    def settled(self, row: DeviceCodeRow | BackchannelRow) -> LiveGrant:
        """`row` is locked, so that of two who ask at once one comes first. Raises OAuth2Error while there is none."""
        unit, session = self.server.unit, self.server.session
        if row.state == "used":
            self.server.end_stolen(row.grant_id or "")
            raise InvalidGrantError("It was used before; the log-in has ended.")
        if row.expires_at <= unit.now:
            raise ExpiredTokenError()
        if row.state == "denied":
            raise AccessDeniedError()
        if row.state == "granted":
            row.state = "used"
            session.flush()
            grant = live_grant(session, row.grant_id or "", row.client_id, unit)
            if grant is None:
                raise InvalidGrantError()
            return grant
        is_too_soon = row.asked_at is not None and unit.now - row.asked_at < timedelta(seconds=row.interval_s)
        row.asked_at = unit.now
        if is_too_soon:
            row.interval_s += SLOWER_S
            raise SlowDownError()
        raise AuthorizationPendingError()


class DeviceGrant(_Polled, AuthlibDeviceCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = _AUTH_METHODS

    def query_device_credential(self, device_code: str) -> DeviceCredential:
        row = self.server.session.get(
            DeviceCodeRow, hash_of(device_code), with_for_update=ROW_LOCK, populate_existing=True
        )
        if row is None or row.client_id != self.request.client.get_client_id():
            raise InvalidGrantError("Invalid 'device_code'.")
        return DeviceCredential(row)

    def validate_device_credential(self, credential: DeviceCredential) -> LiveGrant:
        return self.settled(credential.row)


class BackchannelGrant(_Polled, AuthlibDeviceCodeGrant):  # type: ignore[misc]
    """CIBA, 10.1: as a device's, by `auth_req_id`."""

    GRANT_TYPE = BACKCHANNEL_GRANT
    TOKEN_ENDPOINT_AUTH_METHODS = _AUTH_METHODS

    def validate_token_request(self) -> None:
        given = self.request.form.get("auth_req_id")
        if not given:
            raise InvalidRequestError("Missing 'auth_req_id'.")
        party: Party = self.authenticate_token_endpoint_client()
        if not party.check_grant_type(self.GRANT_TYPE):
            raise UnauthorizedClientError()
        row = self.server.session.get(BackchannelRow, hash_of(given), with_for_update=ROW_LOCK, populate_existing=True)
        if row is None or row.client_id != party.get_client_id():
            raise InvalidGrantError("Invalid 'auth_req_id'.")
        self.request.user = self.settled(row)
        self.request.credential = HeldGrant(self.request.user)


class DeviceCredential:
    """A device code as Authlib asks about it."""

    def __init__(self, row: DeviceCodeRow) -> None:
        self.row = row

    def get_client_id(self) -> str:
        return self.row.client_id

    def get_scope(self) -> str:
        return self.row.scope


def _demand_verifier(verifier: str | None, challenge: str) -> None:
    """RFC 7636, 4.6; S256 is the only method. Raises InvalidRequestError, InvalidGrantError."""
    if verifier is None:
        raise InvalidRequestError("Missing 'code_verifier'")
    if not _VERIFIER.fullmatch(verifier):
        raise InvalidGrantError("Invalid 'code_verifier'")
    digest = base64url(hashlib.sha256(verifier.encode()).digest())
    if not hmac.compare_digest(digest, challenge):
        raise InvalidGrantError("Code challenge failed.")
