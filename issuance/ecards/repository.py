"""Queries over electronic cards and codes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.ecards.models import EcardCodeRow, EcardRow


class EcardRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: EcardRow) -> bool:
        """False when the card has an electronic card already."""
        try:
            async with self._session.begin_nested():
                self._session.add(row)
        except IntegrityError:
            return False
        return True

    async def get(self, ecard_no: str, *, is_locking: bool = False) -> EcardRow | None:
        return await self._session.get(EcardRow, ecard_no, with_for_update=is_locking or None)

    async def of_card(self, card_number: str) -> EcardRow | None:
        found: EcardRow | None = await self._session.scalar(select(EcardRow).where(EcardRow.card_number == card_number))
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
        await self._session.execute(
            delete(EcardCodeRow).where(EcardCodeRow.expires_at < before, EcardCodeRow.state != "used")
        )

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

    async def get(self, digest: bytes) -> EcardCodeRow | None:
        return await self._session.get(EcardCodeRow, digest)
