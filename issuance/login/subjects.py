"""Who logged in, by the row of whichever way ended the log-in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Row, bindparam, select

from issuance.ecards.models import EcardRow
from issuance.login.ministry_models import UpstreamAnswerRow
from issuance.login.seam import ACR_CARD, ACR_NATIONAL, ACR_SCAN, Subject
from issuance.login.transaction_models import LoginApprovalRow, LoginCardProofRow
from issuance.unit import Unit

AMR_SCAN: Final = ("hwk", "pin")
"""RFC 8176: a key that stays in the phone, and the electronic card's password."""
AMR_CARD: Final = ("sc", "pin")
"""RFC 8176: a smart card, and the PIN that it checks itself."""
AMR_NATIONAL: Final[Mapping[str, tuple[str, ...]]] = {"code": ("mca",), "redirect": ()}
"""RFC 8176: another channel than the browser, for the code. How else the platform knew the person it does not say."""
_APPROVALS: Final = (
    select(
        LoginApprovalRow.login_id,
        LoginApprovalRow.ecard_no,
        LoginApprovalRow.sign_no,
        LoginApprovalRow.claims,
        LoginApprovalRow.approved_at,
        EcardRow.card_number,
    )
    .join(EcardRow, EcardRow.ecard_no == LoginApprovalRow.ecard_no)
    .where(
        LoginApprovalRow.login_id.in_(bindparam("login_ids", expanding=True)),
        LoginApprovalRow.expires_at > bindparam("now"),
    )
)
AnyRow = Row[*tuple[Any, ...]]


async def subjects_of(unit: Unit, login_ids: Sequence[str]) -> dict[str, Subject]:
    """By the rows of whichever way ended the log-ins; none where its time is over."""
    subjects = await _by_scan(unit, login_ids)
    for login_id in login_ids:
        if login_id not in subjects:
            other = await _by_card(unit, login_id) or await _by_national(unit, login_id)
            subjects |= {} if other is None else {login_id: other}
    return subjects


async def _by_scan(unit: Unit, login_ids: Sequence[str]) -> dict[str, Subject]:
    found = await unit.session.execute(_APPROVALS, {"login_ids": login_ids, "now": unit.now})
    return {approval.login_id: _told(approval) for approval in found}


def _told(approval: AnyRow) -> Subject:
    return Subject(
        card_number=approval.card_number,
        ecard_no=approval.ecard_no,
        acr=ACR_SCAN,
        amr=AMR_SCAN,
        auth_time=approval.approved_at,
        claims=frozenset(approval.claims),
        sign_no=approval.sign_no,
    )


async def _by_card(unit: Unit, login_id: str) -> Subject | None:
    proof = await unit.session.get(LoginCardProofRow, login_id)
    if proof is None or proof.expires_at <= unit.now:
        return None
    return Subject(
        card_number=proof.card_number,
        acr=ACR_CARD,
        amr=AMR_CARD,
        auth_time=proof.proved_at,
        claims=frozenset(proof.claims),
    )


async def _by_national(unit: Unit, login_id: str) -> Subject | None:
    query = (
        select(UpstreamAnswerRow, EcardRow.card_number)
        .join(EcardRow, EcardRow.ecard_no == UpstreamAnswerRow.ecard_no)
        .where(UpstreamAnswerRow.login_id == login_id, UpstreamAnswerRow.expires_at > unit.now)
        .where(UpstreamAnswerRow.agreed_at.is_not(None))
    )
    found = (await unit.session.execute(query)).one_or_none()
    if found is None:
        return None
    answer, card_number = found
    return Subject(
        card_number=card_number,
        ecard_no=answer.ecard_no,
        acr=ACR_NATIONAL,
        amr=AMR_NATIONAL[answer.way],
        auth_time=answer.answered_at,
        claims=frozenset(answer.claims),
    )
