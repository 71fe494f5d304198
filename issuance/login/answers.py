"""The way back from a log-in: a code to the relying party, or word to the device that waits."""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta
from typing import Final

from authlib.common.urls import add_params_to_uri
from sqlalchemy import update

from issuance.database import forget
from issuance.login.holders import subject_of
from issuance.login.models import CodeRow, DeviceCodeRow, GrantRow
from issuance.login.provider_models import BackchannelRow
from issuance.login.relying_parties import RelyingPartyRepository, hash_of
from issuance.login.seam import AuthorizationRequest, Refused, Subject
from issuance.login.tokens import GRANT_TTL
from issuance.login.transaction_models import LoginRow
from issuance.login.transactions import Ended, Transaction, hand_out
from issuance.login.unit import LoginUnit
from issuance.login.uses import record_use
from issuance.scope import unscoped
from issuance.services import Services
from issuance.unit import Unit

CODE_TTL: Final = timedelta(minutes=1)
DEVICE_DONE: Final = "/oidc/device/done"
_KEPT_LONGER: Final = timedelta(days=1)


async def authorization_response_url(unit: LoginUnit, transaction: Transaction, outcome: Subject | Refused) -> str:
    """Where the browser goes with an outcome that was handed out; once, in the unit that handed it out. Without a code
    where the relying party was suspended while somebody logged in; a code it has gives it nothing from that moment.

    With `iss` (RFC 9207), so that a relying party with several providers cannot be made to mix them up.
    """
    request = transaction.request
    if not transaction.is_served:
        outcome = Refused()
    grant = await _grant(unit, request, outcome) if isinstance(outcome, Subject) else None
    if request.device_code_hash:
        await _tell_device(unit, request, grant)
        return unit.services.settings.login_issuer + DEVICE_DONE
    if grant is None:
        error = outcome.error if isinstance(outcome, Refused) else "access_denied"
        return response_url(unit.services, request.redirect_uri, {"error": error, "state": request.state})
    code = secrets.token_urlsafe(32)
    unit.later(
        CodeRow,
        code_hash=hash_of(code),
        grant_id=grant,
        redirect_uri=request.redirect_uri,
        code_challenge=request.code_challenge,
        expires_at=unit.now + CODE_TTL,
    )
    return response_url(unit.services, request.redirect_uri, {"code": code, "state": request.state})


def response_url(services: Services, redirect_uri: str, parameters: dict[str, str]) -> str:
    """Empty ones are left out."""
    given = [(name, value) for name, value in parameters.items() if value]
    url: str = add_params_to_uri(redirect_uri, [*given, ("iss", services.settings.login_issuer)])
    return url


async def _grant(unit: LoginUnit, request: AuthorizationRequest, subject: Subject) -> str:
    """Its id; stored when the unit is settled."""
    if unit.services.login_units.is_due(GrantRow, unit.now):
        over = unit.now - _KEPT_LONGER
        await forget(unit.session, DeviceCodeRow, DeviceCodeRow.expires_at < over, DeviceCodeRow.grant_id.is_(None))
        await forget(unit.session, GrantRow, GrantRow.ends_at < over)
    grant_id, scope, claims = uuid.uuid4().hex, " ".join(request.scopes), sorted(subject.claims)
    unit.later(
        GrantRow,
        id=grant_id,
        client_id=request.client_id,
        card_number=subject.card_number,
        ecard_no=subject.ecard_no or None,
        scope=scope,
        claims=claims,
        acr=subject.acr,
        amr=list(subject.amr),
        nonce=request.nonce,
        auth_time=subject.auth_time,
        ends_at=unit.now + GRANT_TTL,
    )
    detail = {"client": request.client_id, "scope": scope, "claims": claims}
    await unit.audit("login.grant", subject_of(subject), region=None, detail=detail)
    record_use(unit, request.client_id, subject)
    return grant_id


async def answer_counter(unit: Unit, row: LoginRow, request: AuthorizationRequest) -> None:
    """Hand an outcome to the relying party that waits for the holder it named (CIBA); in the holder's own unit."""
    if not request.backchannel_hash:
        return
    own = LoginUnit.within(unit)
    outcome = None if row.ended_as is None else await hand_out(own, Ended(row.id, row.client_id, row.ended_as))
    with unscoped(unit.session, why="a holder logs in to systems of every region, not those of the phone's channel"):
        is_active = await RelyingPartyRepository(unit.session).is_active(request.client_id)
    grant = await _grant(own, request, outcome) if is_active and isinstance(outcome, Subject) else None
    await own.settle()
    await unit.session.execute(
        update(BackchannelRow)
        .where(BackchannelRow.request_hash == request.backchannel_hash, BackchannelRow.state == "waiting")
        .values(state="denied" if grant is None else "granted", grant_id=grant)
    )


async def _tell_device(unit: LoginUnit, request: AuthorizationRequest, grant: str | None) -> None:
    await unit.settle()
    await unit.session.execute(
        update(DeviceCodeRow)
        .where(DeviceCodeRow.device_code_hash == request.device_code_hash, DeviceCodeRow.state == "opened")
        .values(state="denied" if grant is None else "granted", grant_id=grant)
    )
