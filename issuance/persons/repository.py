"""Queries over persons; personal data leaves this module unsealed and enters it to be sealed."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.persons.models import PersonRow
from issuance.persons.schemas import PersonData
from issuance.sealing import Sealer


class PersonRepository:
    def __init__(self, session: AsyncSession, sealer: Sealer) -> None:
        self._session = session
        self._sealer = sealer

    async def by_number(self, number: str) -> PersonRow | None:
        index = self._sealer.index("social_security_number", number)
        found: PersonRow | None = await self._session.scalar(
            select(PersonRow).where(PersonRow.number_index == index).with_for_update()
        )
        return found

    async def put(self, data: PersonData, now: datetime) -> PersonRow:
        """The person's row, made or brought up to date."""
        row = await self.by_number(data.social_security_number)
        if row is None:
            row = await self._add(data, now)
        else:
            row.sealed = self._seal(row.id, data)
            row.updated_at = now
            await self._session.flush()
        return row

    async def data(self, person_id: str) -> PersonData:
        row = await self._session.get_one(PersonRow, person_id)
        return PersonData.model_validate(self._sealer.unseal(row.sealed, _context(row.id)))

    async def _add(self, data: PersonData, now: datetime) -> PersonRow:
        person_id = uuid.uuid4().hex
        row = PersonRow(
            id=person_id,
            number_index=self._sealer.index("social_security_number", data.social_security_number),
            sealed=self._seal(person_id, data),
            created_at=now,
            updated_at=now,
        )
        try:
            async with self._session.begin_nested():
                self._session.add(row)
        except IntegrityError:  # another request stored the same person meanwhile
            known = await self.by_number(data.social_security_number)
            if known is None:
                raise
            return known
        return row

    def _seal(self, person_id: str, data: PersonData) -> bytes:
        return self._sealer.seal(data.model_dump(), _context(person_id))


def _context(person_id: str) -> str:
    return f"persons:{person_id}"
