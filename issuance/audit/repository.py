"""Queries over the audit trail: add and read, nothing else."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.audit.models import AuditRow


class AuditRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(
        self,
        *,
        at: datetime,
        actor: str,
        clerk: str,
        act: str,
        subject: str,
        application_id: str | None,
        region: str | None,
        outcome: str,
        detail: dict[str, Any],
    ) -> None:
        row = AuditRow(
            at=at,
            actor=actor,
            clerk=clerk,
            act=act,
            subject=subject,
            application_id=application_id,
            region=region,
            outcome=outcome,
            detail=detail,
        )
        self._session.add(row)

    async def find(
        self,
        *,
        subject: str | None,
        application_id: str | None,
        before: int | None,
        limit: int,
        region_prefix: str = "",
    ) -> list[AuditRow]:
        """Newest first. With a prefix, entries without region are left out too."""
        query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
        if region_prefix:
            query = query.where(AuditRow.region.startswith(region_prefix))
        if subject is not None:
            query = query.where(AuditRow.subject == subject)
        if application_id is not None:
            query = query.where(AuditRow.application_id == application_id)
        if before is not None:
            query = query.where(AuditRow.id < before)
        return list(await self._session.scalars(query))
