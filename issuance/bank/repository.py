"""Queries over accounts, notices and reconciliations."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.bank.models import AccountRow, BankNoticeRow, DifferenceRow, ReconciliationRow
from issuance.database import ROW_LOCK, add_unless_taken
from issuance.paging import PageRequest, fetch_page


class AccountRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, card_number: str, *, is_locking: bool = False) -> AccountRow | None:
        lock = ROW_LOCK if is_locking else None
        return await self._session.get(AccountRow, card_number, with_for_update=lock, populate_existing=is_locking)

    async def add(self, row: AccountRow) -> None:
        self._session.add(row)
        await self._session.flush()

    async def after(self, card_number: str, limit: int) -> list[AccountRow]:
        """In order of card numbers."""
        query = select(AccountRow).where(AccountRow.card_number > card_number).order_by(AccountRow.card_number)
        return list(await self._session.scalars(query.limit(limit)))

    async def add_notice(self, row: BankNoticeRow) -> bool:
        """False when this notice was taken in before."""
        return await add_unless_taken(self._session, row)

    async def notice(self, notice_id: str, client_id: str) -> BankNoticeRow | None:
        return await self._session.get(BankNoticeRow, (notice_id, client_id))


class ReconciliationRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def begin(self, day: date | None, now: datetime, lease: timedelta) -> ReconciliationRow | None:
        """The reconciliation of a day, or an extra one, for this replica; None when another has or had it."""
        row = ReconciliationRow(
            day=day,
            state="running",
            attempts=1,
            lease_until=now + lease,
            compared=0,
            differences=0,
            started_at=now,
        )
        if await add_unless_taken(self._session, row):
            return row
        taken: ReconciliationRow | None = await self._session.scalar(
            update(ReconciliationRow)
            .where(
                ReconciliationRow.day == day,
                ReconciliationRow.state != "done",
                ReconciliationRow.lease_until <= now,
            )
            .values(state="running", lease_until=now + lease, attempts=ReconciliationRow.attempts + 1)
            .returning(ReconciliationRow)
        )
        return taken

    async def get(self, reconciliation_id: int) -> ReconciliationRow:
        """Locked for the rest of the transaction; rows are never deleted."""
        return await self._session.get_one(ReconciliationRow, reconciliation_id, with_for_update=ROW_LOCK)

    async def is_done(self, day: date) -> bool:
        query = select(ReconciliationRow.id).where(ReconciliationRow.day == day, ReconciliationRow.state == "done")
        return await self._session.scalar(query) is not None

    async def add_difference(self, row: DifferenceRow) -> None:
        self._session.add(row)
        await self._session.flush()

    async def find(self, page: PageRequest) -> tuple[list[ReconciliationRow], str | None]:
        """Newest first."""
        query = select(ReconciliationRow)
        return await fetch_page(self._session, query, [ReconciliationRow.id], page, is_descending=True)

    async def differences(
        self, reconciliation_id: int, page: PageRequest, *, region_prefix: str
    ) -> tuple[list[DifferenceRow], str | None]:
        conditions: list[ColumnElement[bool]] = [DifferenceRow.reconciliation_id == reconciliation_id]
        conditions.append(or_(DifferenceRow.region == "", DifferenceRow.region.startswith(region_prefix)))
        return await fetch_page(self._session, select(DifferenceRow).where(*conditions), [DifferenceRow.id], page)
