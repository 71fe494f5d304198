"""What relying parties do with tokens they hold: ask who it is, whether one counts, and give them back."""

from __future__ import annotations

from typing import Any, Final

from authlib.oauth2.rfc6749.errors import InvalidRequestError, UnauthorizedClientError

from cardlib.identity import mask_name
from issuance.login.holders import CardOverError, holder_of, subject_of
from issuance.login.live import LiveGrant, live_grant
from issuance.login.models import RefreshTokenRow
from issuance.login.relying_parties import hash_of
from issuance.login.server import Answer, Asked, LoginServer
from issuance.login.signing import TokenError
from issuance.login.tokens import ACCESS_TYPE, ID_TYPE, revoke, subject_for
from issuance.login.unit import LoginUnit
from issuance.persons.repository import PersonRepository

INACTIVE: Final = {"active": False}


async def user_info(unit: LoginUnit, claims: dict[str, Any]) -> dict[str, Any]:
    """About the holder (OpenID Connect Core, 5.3), by the claims of an access token: what the log-in was for, as far as
    the holder consented.

    The grant is one of `unit.found` (`grants_with_persons`). The name is masked unless the holder gave it whole.
    Raises TokenError.
    """
    grant, sealed = unit.found.get(f"grant:{claims['sid']}", (None, b""))
    if grant is None or not _is_live(unit, grant, claims):
        raise TokenError("the token is over")
    try:
        person_id = holder_of(unit, grant)
    except CardOverError:
        raise TokenError("the card cannot be used") from None
    sealer, scopes = unit.services.sealer, str(claims["scope"]).split()
    told: dict[str, Any] = {"sub": subject_for(sealer, person_id, grant.sector), "acr": grant.acr}
    if {"profile", "social_security"}.isdisjoint(scopes):
        return told
    person = PersonRepository(unit.session, sealer).opened(person_id, sealed)
    if "profile" in scopes:
        told["name"] = person.name if "name" in grant.claims else mask_name(person.name)
    is_allowed = "social_security" in scopes and "social_security" in grant.party_scopes
    if is_allowed and "social_security_number" in grant.claims:
        told["social_security_number"] = person.social_security_number
    detail = {"client": grant.client_id, "claims": sorted(told)}
    await unit.audit("login.user-info", subject_of(grant), region=None, detail=detail)
    return told


def introspect(server: LoginServer, asked: Asked) -> Answer:
    """RFC 7662, to the relying party whose token it is and nobody else. Raises OAuth2Error."""
    party = server.authenticate_client(server.create_oauth2_request(asked), ())
    if party.row.auth_method == "none":
        raise UnauthorizedClientError("A public client cannot ask.")
    claims, grant = _held(server, _token(asked), party.get_client_id())
    if grant is None:
        return server.handle_response(200, INACTIVE, ())
    told = {name: claims[name] for name in ("iss", "sub", "aud", "iat", "exp", "scope", "jti") if name in claims}
    common = {"active": True, "client_id": grant.client_id, "scope": grant.scope, "acr": grant.acr}
    return server.handle_response(200, common | told, ())


def take_back(server: LoginServer, asked: Asked) -> Answer:
    """RFC 7009: the grant of either token ends, and with it every token. A token that is none is no error (2.2)."""
    party = server.authenticate_client(server.create_oauth2_request(asked), ())
    _, grant = _held(server, _token(asked), party.get_client_id())
    if grant is not None:
        revoke(server.session, grant.id, server.unit)
    return server.handle_response(200, None, ())


def end_session(server: LoginServer, parameters: Any) -> str | None:
    """End the log-in that an ID token is of; the registered address to go to, None where none was named.

    OpenID Connect RP-Initiated Logout 1.0. Age does not matter, whose it is does. Raises InvalidRequestError for an
    address that is not registered, or a hint that is not of this provider and client; nobody is sent anywhere then.
    """
    hint, client_id = parameters.get("id_token_hint"), parameters.get("client_id", "")
    if hint is not None:
        try:
            claims = server.unit.services.login_keys.decode(hint, ID_TYPE)
        except TokenError:
            raise InvalidRequestError("Invalid 'id_token_hint'.") from None
        if client_id not in ("", claims["aud"]):
            raise InvalidRequestError("'client_id' is not that of the hint.")
        client_id = claims["aud"]
        revoke(server.session, claims["sid"], server.unit)
    address: str | None = parameters.get("post_logout_redirect_uri")
    if address is None:
        return None
    party = server.query_client(client_id)
    if party is None or address not in party.row.logout_uris:
        raise InvalidRequestError("'post_logout_redirect_uri' is not registered.")
    return address


def _token(asked: Asked) -> str:
    token = asked.parameters.get("token")
    if not token:
        raise InvalidRequestError("Missing 'token'.")
    return token


def _held(server: LoginServer, token: str, client_id: str) -> tuple[dict[str, Any], LiveGrant | None]:
    """Claims of an access token, none of a refresh token, and its grant while it counts for this client."""
    row = server.session.get(RefreshTokenRow, hash_of(token))
    if row is not None:
        grant = None if row.used_at is not None else live_grant(server.session, row.grant_id, client_id, server.unit)
        return {}, grant
    try:
        claims = server.unit.services.login_keys.decode(token, ACCESS_TYPE)
    except TokenError:
        return {}, None
    grant = live_grant(server.session, str(claims["sid"]), client_id, server.unit)
    return claims, grant if grant is not None and _is_live(server.unit, grant, claims) else None


def _is_live(unit: LoginUnit, grant: LiveGrant, claims: dict[str, Any]) -> bool:
    """By an access token that is not over, of a relying party that is not suspended."""
    is_over = unit.now.timestamp() >= claims["exp"] or grant.status != "active"
    return not is_over and grant.is_of(str(claims["client_id"]), unit.now)
