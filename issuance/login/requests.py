"""Authorization requests, in the address of a browser or pushed by the relying party itself (RFC 9126)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from authlib.oauth2.rfc6749 import OAuth2Error
from authlib.oauth2.rfc6749.errors import InvalidRequestError
from authlib.oidc.core.errors import InvalidRequestURIError, LoginRequiredError, RequestNotSupportedError
from sqlalchemy import select, update

from issuance.database import forgetting
from issuance.login.grants import CHALLENGE, CodeGrant
from issuance.login.models import PushedRequestRow
from issuance.login.relying_parties import hash_of
from issuance.login.request_objects import parameters_of
from issuance.login.seam import AuthorizationRequest
from issuance.login.server import Answer, Asked, LoginServer
from issuance.login.ways import UnmetAuthenticationRequirementsError, ways_for

REQUEST_URI: Final = "urn:ietf:params:oauth:request_uri:"
PUSHED_TTL: Final = timedelta(minutes=1)
_LONGEST: Final = {"state": 2048, "nonce": 512, "ui_locales": 64, "acr_values": 256, "login_hint": 256}
_CREDENTIALS: Final = ("client_secret", "client_assertion", "client_assertion_type")


def read_request(server: LoginServer, asked: Asked) -> AuthorizationRequest:
    """Of a browser. Raises OAuth2Error, with a `redirect_uri` where that one is proved to be the relying party's.

    What is beside a `request_uri` is not looked at: only what was pushed counts (RFC 9126, 4). The same holds for a
    signed request (RFC 9101, 6.3).
    """
    client_id, reference = asked.parameters.get("client_id", ""), asked.parameters.get("request_uri")
    if reference is not None:
        return validated(server, _pushed(server, client_id, reference))
    party = server.query_client(client_id)
    parameters = parameters_of(server, party, asked.parameters)
    wanted = validated(server, Asked(asked.url, parameters, method=asked.method))
    if party is not None and party.row.needs_pushed_requests:
        raise InvalidRequestError("Only pushed requests are taken.", redirect_uri=wanted.redirect_uri)
    if party is not None and party.row.needs_signed_requests and "request" not in asked.parameters:
        raise InvalidRequestError("Only signed requests are taken.", redirect_uri=wanted.redirect_uri)
    return wanted


def push(server: LoginServer, asked: Asked) -> Answer:
    """Answer of the endpoint for pushed requests. Raises OAuth2Error, LOGIN_LIMITED."""
    request = server.create_oauth2_request(asked)
    party = server.authenticate_client(request, ())
    if "request_uri" in asked.parameters:
        raise InvalidRequestError("A pushed request has no 'request_uri'.")
    if party.row.needs_signed_requests and "request" not in asked.parameters:
        raise InvalidRequestError("Only signed requests are taken.")
    given = {name: value for name, value in asked.parameters.items() if name not in _CREDENTIALS}
    parameters = parameters_of(server, party, given | {"client_id": party.get_client_id()})
    try:
        validated(server, Asked(asked.url, parameters))
    except OAuth2Error as error:
        error.redirect_uri = None  # the relying party is told itself
        raise
    server.demand_row(party, asked.address)
    reference = secrets.token_urlsafe(32)
    now = server.unit.now
    server.session.execute(forgetting(PushedRequestRow, PushedRequestRow.expires_at < now - PUSHED_TTL))
    server.session.add(
        PushedRequestRow(
            reference_hash=hash_of(reference),
            client_id=party.get_client_id(),
            parameters=parameters,
            expires_at=now + PUSHED_TTL,
        )
    )
    body = {"request_uri": REQUEST_URI + reference, "expires_in": int(PUSHED_TTL.total_seconds())}
    return server.handle_response(201, body, ())


def _pushed(server: LoginServer, client_id: str, reference: str) -> Asked:
    """Taken once, by the relying party that pushed it: what another process takes is not waited for.

    Raises InvalidRequestURIError.
    """
    is_free = (
        PushedRequestRow.reference_hash == hash_of(reference.removeprefix(REQUEST_URI)),
        PushedRequestRow.client_id == client_id,
        PushedRequestRow.expires_at > server.unit.now,
        PushedRequestRow.used_at.is_(None),
    )
    free = select(PushedRequestRow.reference_hash).where(*is_free).with_for_update(skip_locked=True)
    taken = (
        update(PushedRequestRow)
        .where(PushedRequestRow.reference_hash.in_(free), PushedRequestRow.used_at.is_(None))
        .values(used_at=server.unit.now)
        .returning(PushedRequestRow.parameters)
        .execution_options(synchronize_session=False)
    )
    found = server.session.execute(taken).scalar_one_or_none() if reference.startswith(REQUEST_URI) else None
    if found is None:
        raise InvalidRequestURIError(description="No such pushed request, or it was used.")
    return Asked(server.unit.services.settings.login_issuer, found)


def validated(server: LoginServer, asked: Asked) -> AuthorizationRequest:
    """Client, address, response type and scope by Authlib, all else here. Raises OAuth2Error."""
    request = server.create_oauth2_request(asked)
    grant = CodeGrant(request, server)
    grant.register_hook("after_validate_authorization_request_payload", _demand_rules)
    try:
        redirect_uri: str = grant.validate_authorization_request()
    except OAuth2Error as error:
        error.state = asked.parameters.get("state")
        raise
    given = asked.parameters
    return AuthorizationRequest(
        client_id=given["client_id"],
        redirect_uri=redirect_uri,
        scopes=tuple(request.scope.split()),
        state=given.get("state", ""),
        nonce=given.get("nonce", ""),
        code_challenge=given["code_challenge"],
        ui_locales=given.get("ui_locales", ""),
        acr_values=tuple(given.get("acr_values", "").split()),
        login_hint=given.get("login_hint", ""),
    )


def _demand_rules(grant: CodeGrant, _result: Any) -> None:
    given: Mapping[str, str] = grant.request.payload.data
    if "request" in given:
        raise RequestNotSupportedError()
    if given.get("response_mode", "query") != "query":
        raise InvalidRequestError("The only 'response_mode' is query.")
    if given.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(given.get("code_challenge", "")):
        raise InvalidRequestError("PKCE with S256 is required.")
    if any(len(given.get(name, "")) > longest or "\0" in given.get(name, "") for name, longest in _LONGEST.items()):
        raise InvalidRequestError("A parameter is too long.")
    if "none" in given.get("prompt", "").split():
        raise LoginRequiredError()
    if not ways_for(grant.server.unit.services, given.get("acr_values", "").split()):
        raise UnmetAuthenticationRequirementsError()
