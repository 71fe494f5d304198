"""`/v1/audit`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from issuance.audit.repository import AuditRepository
from issuance.audit.schemas import AuditEntry
from issuance.database import MAX_ID, WITHOUT_NUL
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
        subject=subject,
        application_id=application_id,
        before=before,
        limit=limit,
        region_prefix=unit.caller.region_prefix,
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
            outcome=row.outcome,
            detail=row.detail,
        )
        for row in rows
    ]
