"""`/v1/audit`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from issuance.audit.log import LogRepository
from issuance.audit.report import fingerprints, prove_entry, prove_growth
from issuance.audit.repository import AuditRepository
from issuance.audit.schemas import AuditEntry, EntryProof, GrowthProof, LogState, SignedHead
from issuance.database import MAX_ID, WITHOUT_NUL
from issuance.problems import ProblemError
from issuance.unit import OperatorUnit

router = APIRouter(prefix="/v1/audit", tags=["audit"])


@router.get("", summary="Read the audit trail of the regions served, newest first")
async def read_audit(
    unit: OperatorUnit,
    subject: Annotated[
        str | None, Query(max_length=96, pattern=WITHOUT_NUL, description="kind:id, such as card:A00000011")
    ] = None,
    application_id: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$")] = None,
    before: Annotated[int | None, Query(ge=1, le=MAX_ID, description="Entries older than this id")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[AuditEntry]:
    rows = await AuditRepository(unit.session).find(
        subject=subject, application_id=application_id, before=before, limit=limit
    )
    return [
        AuditEntry(
            id=row.id,
            at=row.at,
            actor=row.actor,
            clerk=row.clerk,
            act=row.act,
            subject=row.subject,
            application_id=row.application_id,
            region=row.region,
            place=row.place,
            outcome=row.outcome,
            reason=row.reason,
            detail=row.detail,
        )
        for row in rows
    ]


@router.get("/head", summary="The last signed head of the audit log, and the fingerprints of the keys that sign heads")
async def head(unit: OperatorUnit) -> LogState:
    found = await LogRepository(unit.session).head()
    return LogState(
        head=None if found is None else SignedHead.model_validate(found), fingerprints=fingerprints(unit.services)
    )


@router.get("/{entry_id}/proof", summary="Prove that an entry stands in the log; `verifier.py` checks the answer")
async def proof(unit: OperatorUnit, entry_id: Annotated[int, Path(ge=1, le=MAX_ID)]) -> EntryProof:
    if not await AuditRepository(unit.session).is_visible(entry_id):
        raise ProblemError("NOT_FOUND", "no such entry", subject=f"audit:{entry_id}")
    return EntryProof.model_validate(await prove_entry(unit.services, unit.session, entry_id))


@router.get("/consistency", summary="Prove that the log only grew between two signed heads")
async def consistency(
    unit: OperatorUnit,
    first: Annotated[int, Query(ge=1, le=MAX_ID, description="Size of the older head")],
    second: Annotated[
        int | None, Query(ge=1, le=MAX_ID, description="Size of the newer one; without: the last")
    ] = None,
) -> GrowthProof:
    return GrowthProof.model_validate(await prove_growth(unit.services, unit.session, first, second))
