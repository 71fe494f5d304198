"""Queries over joint applications; personal data leaves this module unsealed and enters it to be sealed."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import ROW_LOCK, add_unless_taken
from issuance.newborns.models import NewbornRow
from issuance.newborns.schemas import NewbornRequest
from issuance.sealing import Sealer


class NewbornRepository:
    def __init__(self, session: AsyncSession, sealer: Sealer) -> None:
        self._session = session
        self._sealer = sealer

    async def add(self, row: NewbornRow, request: NewbornRequest) -> bool:
        """False when the birth certificate has been handed in."""
        row.certificate_index = self._sealer.index("birth_certificate", request.certificate_number)
        self.seal(row, request)
        return await add_unless_taken(self._session, row)

    async def get(self, newborn_id: str, *, is_locking: bool = False) -> NewbornRow | None:
        return await self._session.get(NewbornRow, newborn_id, with_for_update=ROW_LOCK if is_locking else None)

    def request(self, row: NewbornRow) -> NewbornRequest:
        return NewbornRequest.model_validate(self._sealer.unseal(row.sealed, _context(row.id)))

    def seal(self, row: NewbornRow, request: NewbornRequest) -> None:
        row.sealed = self._sealer.seal(request.model_dump(mode="json"), _context(row.id))


def _context(newborn_id: str) -> str:
    return f"newborns:{newborn_id}"
