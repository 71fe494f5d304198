"""Queries over clerks and their sessions, within the session's scope."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clerks.models import ClerkRow, ClerkSessionRow
from issuance.database import ROW_LOCK, add_unless_taken
from issuance.offices.models import OfficeRow


class ClerkRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, clerk_id: str, *, is_locking: bool = False) -> ClerkRow | None:
        lock = ROW_LOCK if is_locking else None
        return await self._session.get(ClerkRow, clerk_id, with_for_update=lock, populate_existing=is_locking)

    async def add(self, row: ClerkRow) -> bool:
        """False when the log-in name is taken."""
        return await add_unless_taken(self._session, row)

    def listed(self, *, office_id: int | None, status: str | None, login: str | None) -> Select[ClerkRow]:
        """`office_id`: of that office and those below."""
        query = select(ClerkRow)
        if office_id is not None:
            path = select(OfficeRow.office).where(OfficeRow.id == office_id).scalar_subquery()
            query = query.where(ClerkRow.office.startswith(path))
        if login is not None:
            query = query.where(ClerkRow.login == login)
        return query if status is None else query.where(ClerkRow.status == status)

    async def active_at(self, office_id: int) -> int:
        query = select(func.count()).select_from(ClerkRow)
        found = await self._session.scalar(query.where(ClerkRow.office_id == office_id, ClerkRow.status == "active"))
        return found or 0

    async def sessions(self, clerk_id: str, limit: int) -> Sequence[ClerkSessionRow]:
        """Newest first."""
        query = select(ClerkSessionRow).where(ClerkSessionRow.clerk_id == clerk_id)
        newest = query.order_by(ClerkSessionRow.created_at.desc(), ClerkSessionRow.id).limit(limit)
        return list(await self._session.scalars(newest))
