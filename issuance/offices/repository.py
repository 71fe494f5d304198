"""Queries over the office tree, within the session's scope."""

from __future__ import annotations

import uuid

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import ROW_LOCK
from issuance.offices.models import OfficeRow


class OfficeRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, office_id: int, *, is_locking: bool = False) -> OfficeRow | None:
        lock = ROW_LOCK if is_locking else None
        return await self._session.get(OfficeRow, office_id, with_for_update=lock, populate_existing=is_locking)

    async def by_path(self, path: str) -> OfficeRow | None:
        found: OfficeRow | None = await self._session.scalar(select(OfficeRow).where(OfficeRow.office == path))
        return found

    async def add(self, row: OfficeRow, above: str) -> None:
        """The path holds the row's own id, which the database gives."""
        row.office = uuid.uuid4().hex
        self._session.add(row)
        await self._session.flush()
        row.office = f"{above}{row.id}/"
        await self._session.flush()

    def listed(self, *, parent_id: int | None, status: str | None) -> Select[OfficeRow]:
        query = select(OfficeRow)
        if parent_id is not None:
            query = query.where(OfficeRow.parent_id == parent_id)
        return query if status is None else query.where(OfficeRow.status == status)

    async def open_below(self, office_id: int) -> int:
        query = select(func.count()).select_from(OfficeRow)
        found = await self._session.scalar(query.where(OfficeRow.parent_id == office_id, OfficeRow.status == "open"))
        return found or 0
