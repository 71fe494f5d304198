"""Queries over the audit trail: add and read, nothing else. `issuance.audit.log` has the tree over it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.audit.models import AuditRow
from issuance.audit.seal import AuditSeal, stored_form
from issuance.database import insert_all
from issuance.privacy.free_text import masked_text


class AuditRepository:
    def __init__(self, session: AsyncSession, seal: AuditSeal | None = None) -> None:
        """Without a `seal` for reading, and for clients that are registered on the server itself."""
        self._session = session
        self._seal = seal

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
        place: str = "",
        reason: str = "",
    ) -> None:
        entry = {
            "at": at,
            "actor": actor,
            "clerk": clerk,
            "act": act,
            "subject": subject,
            "application_id": application_id,
            "region": region,
            "place": place,
            "outcome": outcome,
            "reason": reason,
            "detail": detail,
        }
        (sealed,) = self._sealed([entry])
        self._session.add(AuditRow(**sealed))

    async def add_all(self, entries: Sequence[dict[str, Any]]) -> None:
        """Entries with every field of `add`, in one statement."""
        await insert_all(self._session, AuditRow, self._sealed(entries))

    def _sealed(self, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        entries = [entry | {"reason": masked_text(entry["reason"])} for entry in entries]
        if self._seal is None:
            return [entry | {"seal": None} for entry in entries]
        seals = self._seal.make([stored_form(entry) for entry in entries])
        return [entry | {"seal": seal} for entry, seal in zip(entries, seals, strict=True)]

    async def find(
        self,
        *,
        subject: str | None,
        application_id: str | None,
        before: int | None,
        limit: int,
        clerk: str | None = None,
    ) -> list[AuditRow]:
        """Newest first, within the scope of the session."""
        query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
        if subject is not None:
            query = query.where(AuditRow.subject == subject)
        if application_id is not None:
            query = query.where(AuditRow.application_id == application_id)
        if clerk is not None:
            query = query.where(AuditRow.clerk == clerk)
        if before is not None:
            query = query.where(AuditRow.id < before)
        return list(await self._session.scalars(query))

    async def is_visible(self, entry_id: int) -> bool:
        """Whether there is such an entry within the scope of the session."""
        return await self._session.scalar(select(AuditRow.id).where(AuditRow.id == entry_id)) is not None
