"""Queries over persons; personal data leaves this module unsealed and enters it to be sealed."""

from __future__ import annotations

import unicodedata
import uuid
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import ROW_LOCK, add_unless_taken
from issuance.persons.models import PersonRow
from issuance.persons.schemas import PersonData
from issuance.problems import ProblemError
from issuance.sealing import Sealer

_DOTS = frozenset("·•・‧∙⋅．.")


class PersonRepository:
    def __init__(self, session: AsyncSession, sealer: Sealer) -> None:
        self._session = session
        self._sealer = sealer

    async def _by_number(self, number: str) -> PersonRow | None:
        index = self._sealer.index("social_security_number", number)
        found: PersonRow | None = await self._session.scalar(
            select(PersonRow).where(PersonRow.number_index == index).with_for_update(key_share=True)
        )
        return found

    async def put(self, data: PersonData, now: datetime) -> PersonRow:
        """The person's row, made or brought up to date, and locked: one request at a time decides about a person."""
        row = await self._by_number(data.social_security_number) or await self._add(data, now)
        if row is None:  # another request stored the same person meanwhile
            row = await self._by_number(data.social_security_number)
        if row is None:
            raise ProblemError("CONFLICT", "this person is being recorded")
        row.sealed = self._seal(row.id, data)
        row.name_index = name_index(self._sealer, data.name)
        row.updated_at = now
        await self._session.flush()
        return row

    async def lock(self, person_id: str) -> None:
        """Until the transaction ends nobody else decides about this person."""
        await self._session.get_one(PersonRow, person_id, with_for_update=ROW_LOCK, populate_existing=True)

    async def data(self, person_id: str) -> PersonData:
        row = await self._session.get_one(PersonRow, person_id)
        return self.opened(row.id, row.sealed)

    def opened(self, person_id: str, sealed: bytes) -> PersonData:
        """Of a row that was read already."""
        return PersonData.model_validate(self._sealer.unseal(sealed, person_context(person_id)))

    async def _add(self, data: PersonData, now: datetime) -> PersonRow | None:
        person_id = uuid.uuid4().hex
        row = PersonRow(
            id=person_id,
            number_index=self._sealer.index("social_security_number", data.social_security_number),
            sealed=self._seal(person_id, data),
            created_at=now,
            updated_at=now,
        )
        return row if await add_unless_taken(self._session, row) else None

    def _seal(self, person_id: str, data: PersonData) -> bytes:
        return self._sealer.seal(data.model_dump(), person_context(person_id))


def name_index(sealer: Sealer, name: str) -> bytes:
    """The same for every way a name may be typed: width and case of letters, spaces, kinds of middle dots."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return sealer.index("name", "".join(letter for letter in plain if letter not in _DOTS and not letter.isspace()))


def person_context(person_id: str) -> str:
    return f"persons:{person_id}"
