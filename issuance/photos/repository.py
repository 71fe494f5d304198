"""Queries over photos."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import ROW_LOCK
from issuance.photos.models import PhotoRow


class PhotoRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: PhotoRow) -> None:
        self._session.add(row)
        await self._session.flush()

    async def get(self, photo_id: str, *, is_locking: bool = False) -> PhotoRow | None:
        return await self._session.get(PhotoRow, photo_id, with_for_update=ROW_LOCK if is_locking else None)

    async def remove(self, row: PhotoRow) -> None:
        await self._session.delete(row)
        await self._session.flush()
