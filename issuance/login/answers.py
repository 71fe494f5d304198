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
from issuance.login.transactions import Transaction, hand_out
from issuance.login.uses import record_use
from issuance.scope import unscoped
from issuance.unit import Unit

CODE_TTL: Final = timedelta(minutes=1)
DEVICE_DONE: Final = "/oidc/device/done"
_KEPT_LONGER: Final = timedelta(days=1)
_FORGETTING: Final = 32
"""One log-in in so many clears away what has long been over."""


async def authorization_response_url(unit: Unit, transaction: Transaction, outcome: Subject | Refused) -> str:
    """Where the browser goes with an outcome that was handed out; once, in the unit that handed it out.

    With `iss` (RFC 9207), so that a relying party with several providers cannot be made to mix them up.
    """
    request = transaction.request
    party = await RelyingPartyRepository(unit.session).get(request.client_id)
    if party is None or party.status != "active":  # suspended while somebody logged in
        outcome = Refused()
    grant = await _grant(unit, request, outcome) if isinstance(outcome, Subject) else None
    if request.device_code_hash:
        await _tell_device(unit, request, grant)
        return unit.services.settings.login_issuer + DEVICE_DONE
    if grant is None:
        error = outcome.error if isinstance(outcome, Refused) else "access_denied"
        return response_url(unit, request.redirect_uri, {"error": error, "state": request.state})
    code = secrets.token_urlsafe(32)
    unit.session.add(
        CodeRow(
            code_hash=hash_of(code),
            grant_id=grant.id,
            redirect_uri=request.redirect_uri,
            code_challenge=request.code_challenge,
            expires_at=unit.now + CODE_TTL,
        )
    )
    await unit.session.flush()
    return response_url(unit, request.redirect_uri, {"code": code, "state": request.state})


def response_url(unit: Unit, redirect_uri: str, parameters: dict[str, str]) -> str:
    """Empty ones are left out."""
    given = [(name, value) for name, value in parameters.items() if value]
    url: str = add_params_to_uri(redirect_uri, [*given, ("iss", unit.services.settings.login_issuer)])
    return url


async def _grant(unit: Unit, request: AuthorizationRequest, subject: Subject) -> GrantRow:
    if not secrets.randbelow(_FORGETTING):
        over = unit.now - _KEPT_LONGER
        await forget(unit.session, DeviceCodeRow, DeviceCodeRow.expires_at < over, DeviceCodeRow.grant_id.is_(None))
        await forget(unit.session, GrantRow, GrantRow.ends_at < over)
    grant = GrantRow(
        id=uuid.uuid4().hex,
        client_id=request.client_id,
        card_number=subject.card_number,
        ecard_no=subject.ecard_no or None,
        scope=" ".join(request.scopes),
        claims=sorted(subject.claims),
        acr=subject.acr,
        amr=list(subject.amr),
        nonce=request.nonce,
        auth_time=subject.auth_time,
        ends_at=unit.now + GRANT_TTL,
    )
    unit.session.add(grant)
    await unit.session.flush()
    detail = {"client": request.client_id, "scope": grant.scope, "claims": grant.claims}
    await unit.audit("login.grant", subject_of(grant), region=None, detail=detail)
    await record_use(unit, request.client_id, subject)
    return grant


async def answer_counter(unit: Unit, row: LoginRow, request: AuthorizationRequest) -> None:
    """Hand an outcome to the relying party that waits for the holder it named (CIBA); in the holder's own unit."""
    if not request.backchannel_hash:
        return
    outcome = await hand_out(unit, row)
    with unscoped(unit.session, why="a holder logs in to systems of every region, not those of the phone's channel"):
        party = await RelyingPartyRepository(unit.session).get(request.client_id)
    is_active = party is not None and party.status == "active"
    grant = await _grant(unit, request, outcome) if is_active and isinstance(outcome, Subject) else None
    await unit.session.execute(
        update(BackchannelRow)
        .where(BackchannelRow.request_hash == request.backchannel_hash, BackchannelRow.state == "waiting")
        .values(state="denied" if grant is None else "granted", grant_id=None if grant is None else grant.id)
    )


async def _tell_device(unit: Unit, request: AuthorizationRequest, grant: GrantRow | None) -> None:
    await unit.session.execute(
        update(DeviceCodeRow)
        .where(DeviceCodeRow.device_code_hash == request.device_code_hash, DeviceCodeRow.state == "opened")
        .values(state="denied" if grant is None else "granted", grant_id=None if grant is None else grant.id)
    )
