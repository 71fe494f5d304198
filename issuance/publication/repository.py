"""Rows of `publications`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import insert_new
from issuance.publication.models import PublicationRow
from issuance.publication.parts import Part


class PublicationRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def next_at(self) -> datetime | None:
        query = select(PublicationRow.next_at).where(PublicationRow.part == Part.REPOSITORY)
        found: datetime | None = await self._session.scalar(query)
        return found

    async def claim(self, now: datetime, next_at: datetime, *, is_due: bool = True) -> bool:
        """Whether this round is the caller's; one replica of all gets it. Without `is_due` whoever asks gets it."""
        first = {"part": Part.REPOSITORY.value, "begun_at": now, "next_at": next_at}
        if await insert_new(self._session, PublicationRow, [first | {"edition": 0, "entries": 0, "failure": ""}]):
            return True
        mine = update(PublicationRow).where(PublicationRow.part == Part.REPOSITORY)
        if is_due:
            mine = mine.where(PublicationRow.next_at <= now)
        moved = await self._session.execute(mine.values(next_at=next_at).returning(PublicationRow.part))
        return moved.first() is not None

    async def rows(self) -> dict[Part, PublicationRow]:
        found = await self._session.scalars(select(PublicationRow).order_by(PublicationRow.part))
        return {Part(row.part): row for row in found}

    async def row(self, part: Part, now: datetime) -> PublicationRow:
        """The part's own, made where there is none."""
        new = {"part": part.value, "begun_at": now, "edition": 0, "entries": 0, "failure": ""}
        await insert_new(self._session, PublicationRow, [new])
        return await self._session.get_one(PublicationRow, part.value)

    async def drop(self, parts: Collection[Part]) -> None:
        """What this centre does not publish any more."""
        await self._session.execute(delete(PublicationRow).where(PublicationRow.part.in_(parts)))
