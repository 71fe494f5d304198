"""RFC 8628: a kiosk or a command line shows a short code, which its user types into a browser to log in there.

A user code opens one log-in: nobody else can be led to it afterwards (RFC 8628, 5.4).
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final

from authlib.oauth2.rfc6749.errors import InvalidScopeError, UnauthorizedClientError
from sqlalchemy import update

from issuance.login.models import DeviceCodeRow
from issuance.login.relying_parties import DEVICE_GRANT, hash_of
from issuance.login.seam import AuthorizationRequest
from issuance.login.server import Answer, Asked, LoginServer
from issuance.unit import Unit

DEVICE_PATH: Final = "/oidc/device"
DEVICE_TTL: Final = timedelta(minutes=10)
INTERVAL_S: Final = 5
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""RFC 8628, 6.1: without vowels no words, and nothing that looks like something else."""
_LENGTH: Final = 8


def authorize_device(server: LoginServer, asked: Asked) -> Answer:
    """Answer of the device authorization endpoint. Raises OAuth2Error, LOGIN_LIMITED."""
    request = server.create_oauth2_request(asked)
    party = server.authenticate_client(request, ())
    if not party.check_grant_type(DEVICE_GRANT):
        raise UnauthorizedClientError()
    scope = party.get_allowed_scope(asked.parameters.get("scope"))
    if scope is None:
        raise InvalidScopeError()
    server.demand_row(party, asked.address)
    device_code = secrets.token_urlsafe(32)
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
    server.session.add(
        DeviceCodeRow(
            device_code_hash=hash_of(device_code),
            user_code_hash=hash_of(letters),
            client_id=party.get_client_id(),
            scope=scope,
            state="waiting",
            interval_s=INTERVAL_S,
            expires_at=server.unit.now + DEVICE_TTL,
        )
    )
    server.session.flush()
    user_code = f"{letters[:4]}-{letters[4:]}"
    address = server.unit.services.settings.login_issuer + DEVICE_PATH
    body = {
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": address,
        "verification_uri_complete": f"{address}?user_code={user_code}",
        "expires_in": int(DEVICE_TTL.total_seconds()),
        "interval": INTERVAL_S,
    }
    return server.handle_response(200, body, ())


async def opened(unit: Unit, user_code: str) -> AuthorizationRequest | None:
    """What the device of this code asks for; None when there is none that waits, or somebody has opened it already."""
    letters = "".join(letter for letter in user_code.upper() if letter in _LETTERS)
    taken = (
        update(DeviceCodeRow)
        .where(
            DeviceCodeRow.user_code_hash == hash_of(letters),
            DeviceCodeRow.state == "waiting",
            DeviceCodeRow.expires_at > unit.now,
        )
        .values(state="opened")
        .returning(DeviceCodeRow.client_id, DeviceCodeRow.scope, DeviceCodeRow.device_code_hash)
        .execution_options(synchronize_session=False)
    )
    row = (await unit.session.execute(taken)).first()
    if row is None:
        return None
    return AuthorizationRequest(
        client_id=row.client_id, redirect_uri="", scopes=tuple(row.scope.split()), device_code_hash=row.device_code_hash
    )
