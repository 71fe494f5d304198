"""What relying parties do with tokens they hold: ask who it is, whether one counts, and give them back."""

from __future__ import annotations

from typing import Any, Final

from authlib.oauth2.rfc6749.errors import InvalidRequestError, UnauthorizedClientError

from cardlib.identity import mask_name
from issuance.login.holders import CardOverError, holder_of, subject_of
from issuance.login.models import GrantRow, RefreshTokenRow, RelyingPartyRow
from issuance.login.relying_parties import hash_of
from issuance.login.server import Answer, Asked, LoginServer
from issuance.login.signing import TokenError
from issuance.login.tokens import ACCESS_TYPE, ID_TYPE, live_grant, revoke, subject_for
from issuance.persons.repository import PersonRepository
from issuance.unit import Unit

INACTIVE: Final = {"active": False}


async def user_info(unit: Unit, token: str) -> dict[str, Any]:
    """Claims about the holder (OpenID Connect Core, 5.3): those the log-in was for, as far as the holder consented.

    The name is masked unless the holder gave it whole. Raises TokenError.
    """
    claims = unit.services.login_keys.decode(token, ACCESS_TYPE)
    grant = await unit.session.run_sync(lambda session: _live(unit, LoginServer(unit, session), claims))
    if grant is None:
        raise TokenError("the token is over")
    party = await unit.session.get_one(RelyingPartyRow, grant.client_id)
    try:
        person_id = await unit.session.run_sync(lambda session: holder_of(unit, session, grant))
    except CardOverError:
        raise TokenError("the card cannot be used") from None
    sealer, scopes = unit.services.sealer, str(claims["scope"]).split()
    told: dict[str, Any] = {"sub": subject_for(sealer, person_id, party.sector), "acr": grant.acr}
    if {"profile", "social_security"}.isdisjoint(scopes):
        return told
    person = await PersonRepository(unit.session, sealer).data(person_id)
    if "profile" in scopes:
        told["name"] = person.name if "name" in grant.claims else mask_name(person.name)
    is_allowed = "social_security" in scopes and "social_security" in party.scopes
    if is_allowed and "social_security_number" in grant.claims:
        told["social_security_number"] = person.social_security_number
    detail = {"client": party.id, "claims": sorted(told)}
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


def _held(server: LoginServer, token: str, client_id: str) -> tuple[dict[str, Any], GrantRow | None]:
    """Claims of an access token, none of a refresh token, and its grant while it counts for this client."""
    row = server.session.get(RefreshTokenRow, hash_of(token))
    if row is not None:
        grant = None if row.used_at is not None else live_grant(server.session, row.grant_id, client_id, server.unit)
        return {}, grant
    try:
        claims = server.unit.services.login_keys.decode(token, ACCESS_TYPE)
    except TokenError:
        return {}, None
    grant = _live(server.unit, server, claims)
    return claims, grant if grant is not None and grant.client_id == client_id else None


def _live(unit: Unit, server: LoginServer, claims: dict[str, Any]) -> GrantRow | None:
    """Of an access token that is not over, of a relying party that is not suspended."""
    if unit.now.timestamp() >= claims["exp"]:
        return None
    client_id = str(claims["client_id"])
    grant = live_grant(server.session, str(claims["sid"]), client_id, unit)
    return None if grant is None or server.query_client(client_id) is None else grant
