"""Signed requests (RFC 9101): what is inside counts, and nothing of what stands beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from authlib.oidc.core.errors import InvalidRequestObjectError

from issuance.login.client_keys import ClientKeyError, signed_claims
from issuance.login.server import LoginServer, Party

_TYPES: Final = (None, "jwt", "oauth-authz-req+jwt")
_OF_THE_TOKEN: Final = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})
_NEVER_INSIDE: Final = frozenset({"request", "request_uri", "client_secret", "client_assertion"})


def parameters_of(server: LoginServer, party: Party | None, given: Mapping[str, str]) -> dict[str, str]:
    """Parameters of a request: of its request object where the relying party has registered keys and sends one.

    Raises InvalidRequestObjectError, without an address to go back to: none is proved.
    """
    if party is None or party.row.jwks is None or "request" not in given:
        return dict(given)
    issuer, now = server.unit.services.settings.login_issuer, server.unit.now
    try:
        claims = signed_claims(given["request"], party.row.jwks, issuer, party.row.id, now, _TYPES)
    except ClientKeyError as error:
        raise InvalidRequestObjectError(description=f"The request object is refused: {error}.") from None
    if claims.get("client_id") != party.row.id or not _NEVER_INSIDE.isdisjoint(claims):
        raise InvalidRequestObjectError(description="The request object is of another client, or holds another.")
    if claims.get("sub") == party.row.id:  # a client assertion is no request (RFC 9101, 10.8)
        raise InvalidRequestObjectError(description="The request object is a client assertion.")
    inside = {name: _text(value) for name, value in claims.items() if name not in _OF_THE_TOKEN}
    return {name: value for name, value in inside.items() if value}


def _text(value: Any) -> str:
    """Empty for what no parameter of ours is; without halves of characters, which JSON can spell and nobody store."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value).encode(errors="ignore").decode() if is_number or isinstance(value, str) else ""
