"""Queries over electronic cards and codes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import ROW_LOCK, add_unless_taken, forget
from issuance.ecards.models import EcardCodeRow, EcardRow


class EcardRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: EcardRow) -> bool:
        """False when the card has an electronic card already."""
        return await add_unless_taken(self._session, row)

    async def get(self, ecard_no: str, *, is_locking: bool = False) -> EcardRow | None:
        return await self._session.get(EcardRow, ecard_no, with_for_update=ROW_LOCK if is_locking else None)

    async def of_card(self, card_number: str, *, is_locking: bool = False) -> EcardRow | None:
        query = select(EcardRow).where(EcardRow.card_number == card_number)
        if is_locking:
            query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
        found: EcardRow | None = await self._session.scalar(query)
        return found


class CodeRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def cancel_live(self, ecard_no: str, scene: str) -> None:
        await self._session.execute(
            update(EcardCodeRow)
            .where(EcardCodeRow.ecard_no == ecard_no, EcardCodeRow.scene == scene, EcardCodeRow.state == "live")
            .values(state="cancelled")
        )

    async def forget_unused(self, before: datetime) -> None:
        """Codes that expired unused long ago; used ones stay as the record of their use."""
        await forget(self._session, EcardCodeRow, EcardCodeRow.expires_at < before, EcardCodeRow.state != "used")

    async def add(self, row: EcardCodeRow) -> None:
        self._session.add(row)
        await self._session.flush()

    async def use(self, digest: bytes, scene: str, client_id: str, now: datetime) -> str | None:
        """Spend a live code in one statement; returns its ecard number, None when it cannot be spent."""
        ecard_no: str | None = await self._session.scalar(
            update(EcardCodeRow)
            .where(
                EcardCodeRow.digest == digest,
                EcardCodeRow.scene == scene,
                EcardCodeRow.state == "live",
                EcardCodeRow.expires_at > now,
            )
            .values(state="used", used_at=now, used_by=client_id)
            .returning(EcardCodeRow.ecard_no)
        )
        return ecard_no

    async def expiry_of(self, digest: bytes) -> datetime | None:
        found: datetime | None = await self._session.scalar(
            select(EcardCodeRow.expires_at).where(EcardCodeRow.digest == digest)
        )
        return found

    async def get(self, digest: bytes) -> EcardCodeRow | None:
        return await self._session.get(EcardCodeRow, digest)
