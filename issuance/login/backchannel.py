"""CIBA: a relying party names a holder, such as the person at its counter, who approves on the phone (poll mode).

What is answered says nothing about the holder: a number that nobody has, or whose holder has no phone, is waited for
like every other, until the time is over.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from authlib.oauth2.rfc6749 import OAuth2Error
from authlib.oauth2.rfc6749.errors import InvalidRequestError, InvalidScopeError, UnauthorizedClientError
from authlib.oidc.core.errors import RequestNotSupportedError
from sqlalchemy import ColumnElement, func, select

from issuance.consents.text import plain
from issuance.database import lock_name
from issuance.ecards.models import EcardRow
from issuance.login.provider_models import BackchannelRow
from issuance.login.relying_parties import BACKCHANNEL_GRANT, hash_of
from issuance.login.request_objects import parameters_of
from issuance.login.seam import ACR_SCAN, AuthorizationRequest
from issuance.login.server import Asked, LoginServer
from issuance.login.transactions import Browser, clear_away, put_transaction
from issuance.login.unit import LoginUnit
from issuance.login.ways import UnmetAuthenticationRequirementsError, is_open
from issuance.persons.models import PersonRow
from issuance.unit import Unit

LONGEST: Final = timedelta(minutes=5)
SHORTEST: Final = timedelta(seconds=30)
INTERVAL_S: Final = 5
MOST_WAITING: Final = 3
"""For one holder, of all relying parties together: whoever asks then asks nobody."""
_LONGEST_MESSAGE: Final = 64
_LONGEST_HINT: Final = 32
_CARD_NUMBER: Final = 9
_OTHER_HINTS: Final = ("login_hint_token", "id_token_hint")


class InvalidBindingMessageError(OAuth2Error):  # type: ignore[misc]
    """CIBA, 13."""

    error = "invalid_binding_message"


@dataclass(frozen=True, slots=True)
class Asking:
    request: AuthorizationRequest
    hint: str
    ttl: timedelta


def read_asking(server: LoginServer, asked: Asked) -> Asking:
    """Of a relying party that has proved itself. Raises OAuth2Error."""
    party = server.authenticate_client(server.create_oauth2_request(asked), ())
    if not party.check_grant_type(BACKCHANNEL_GRANT):
        raise UnauthorizedClientError()
    if party.row.needs_signed_requests and "request" not in asked.parameters:
        raise InvalidRequestError("Only signed requests are taken.")
    given = parameters_of(server, party, asked.parameters)
    if "request" in given:
        raise RequestNotSupportedError()
    scope = party.get_allowed_scope(given.get("scope"))
    if scope is None:
        raise InvalidScopeError()
    acr_values = tuple(given.get("acr_values", "").split())
    if not is_open(server.unit.services, acr_values, ACR_SCAN):
        raise UnmetAuthenticationRequirementsError()
    return Asking(
        AuthorizationRequest(
            client_id=party.get_client_id(),
            redirect_uri="",
            scopes=tuple(scope.split()),
            acr_values=acr_values,
            binding_message=_message(given),
        ),
        _hint(given),
        _ttl(given),
    )


async def ask_holder(unit: LoginUnit, asking: Asking, address: str) -> dict[str, Any]:
    """The answer to the relying party; `onecard_number` is for the screen that the holder sees there.

    Raises LOGIN_DENIED, LOGIN_LIMITED.
    """
    client_id, index = asking.request.client_id, unit.services.sealer.index("social_security_number", asking.hint)
    unit.services.login_limits.demand_ask(client_id, index.hex(), unit.now)
    auth_req_id = secrets.token_urlsafe(32)
    request = replace(asking.request, backchannel_hash=hash_of(auth_req_id))
    await clear_away(unit)  # every time: the same statements for everybody
    transaction = await put_transaction(unit, request, Browser("", address, ""), asking.ttl)
    await lock_name(unit.session, index)  # also where nobody is named so; else all count before one is stored
    ecard_no = await _ecard_of(unit, asking.hint, index)
    is_heard = await _waiting(unit, ecard_no) < MOST_WAITING
    unit.later(
        BackchannelRow,
        request_hash=request.backchannel_hash,
        client_id=client_id,
        login_id=transaction.id,
        ecard_no=ecard_no if is_heard else None,
        scope=" ".join(request.scopes),
        state="waiting",
        interval_s=INTERVAL_S,
        expires_at=transaction.expires_at,
    )
    detail = {"client": client_id, "heard": ecard_no is not None and is_heard}
    await unit.audit("login.ask", f"login:{transaction.id}", region=None, detail=detail)
    return {
        "auth_req_id": auth_req_id,
        "expires_in": int(asking.ttl.total_seconds()),
        "interval": INTERVAL_S,
        "onecard_number": transaction.number,
    }


async def _ecard_of(unit: Unit, hint: str, index: bytes) -> str | None:
    """The newest electronic card of a card's number or of a person's; one statement, whether there is one or not."""
    is_named: ColumnElement[bool] = PersonRow.number_index == index
    if len(hint) == _CARD_NUMBER:
        is_named = EcardRow.card_number == hint
    query = (
        select(EcardRow.ecard_no)
        .join(PersonRow, PersonRow.id == EcardRow.person_id)
        .where(is_named, EcardRow.state != "cancelled")
        .order_by(EcardRow.created_at.desc())
        .limit(1)
    )
    found: str | None = await unit.session.scalar(query)
    return found


async def _waiting(unit: Unit, ecard_no: str | None) -> int:
    query = select(func.count()).where(
        BackchannelRow.ecard_no == (ecard_no or ""),
        BackchannelRow.state == "waiting",
        BackchannelRow.expires_at > unit.now,
    )
    return int(await unit.session.scalar(query) or 0)


def _hint(given: Mapping[str, str]) -> str:
    """Number of a card or social security number. What has another form is asked for all the same: it is nobody's."""
    hint = given.get("login_hint", "").strip().upper()
    if not hint or any(name in given for name in _OTHER_HINTS):
        raise InvalidRequestError("One hint is needed, and 'login_hint' is the only kind.")
    if len(hint) > _LONGEST_HINT or "\0" in hint:
        raise InvalidRequestError("'login_hint' is a number of a card or of a person.")
    return hint


def _message(given: Mapping[str, str]) -> str:
    message = given.get("binding_message", "")
    if len(message) > _LONGEST_MESSAGE or plain(message) != message:
        raise InvalidBindingMessageError(description="One line of at most 64 characters.")
    return message


def _ttl(given: Mapping[str, str]) -> timedelta:
    wanted = given.get("requested_expiry", str(int(LONGEST.total_seconds())))
    if not re.fullmatch("[1-9][0-9]{0,8}", wanted):
        raise InvalidRequestError("'requested_expiry' is a number of seconds.")
    return min(max(timedelta(seconds=int(wanted)), SHORTEST), LONGEST)
