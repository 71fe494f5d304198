"""Queries behind the progress of one application."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

from sqlalchemy import case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.applications.models import ApplicationRow, ApplicationStepRow
from issuance.database import insert_new
from issuance.newborns.models import NewbornRow
from issuance.production.models import LineRow
from issuance.progress.models import ProgressTryRow
from issuance.stock.models import BlankRow, PlaceRow

MOST_TRIES: Final = 10
"""A day, for one receipt number."""
_T = ProgressTryRow


class ProgressRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def application(self, receipt_number: str) -> ApplicationRow | None:
        found: ApplicationRow | None = await self._session.scalar(
            select(ApplicationRow).where(ApplicationRow.receipt_number == receipt_number)
        )
        return found

    async def newborn(self, receipt_number: str) -> NewbornRow | None:
        """Whose application waits for a name and number."""
        query = select(NewbornRow).where(NewbornRow.receipt_number == receipt_number, NewbornRow.state == "waiting")
        found: NewbornRow | None = await self._session.scalar(query)
        return found

    async def take_try(self, receipt_number: str, day: date) -> bool:
        """Count a try before it is looked at; False when the day's are used up."""
        await insert_new(self._session, _T, [{"receipt_number": receipt_number, "day": day, "tries": 0}])
        mine = update(_T).where(_T.receipt_number == receipt_number, or_(_T.day != day, _T.tries < MOST_TRIES))
        counted = mine.values(tries=case((_T.day == day, _T.tries + 1), else_=1), day=day).returning(_T.tries)
        return (await self._session.execute(counted)).first() is not None

    async def forget_tries(self, receipt_number: str) -> None:
        await self._session.execute(
            delete(_T).where(_T.receipt_number == receipt_number),
            execution_options={"synchronize_session": False},
        )

    async def done_at(self, application_id: str) -> dict[str, datetime]:
        """When each step of an application was done last."""
        query = (
            select(ApplicationStepRow.step, func.max(ApplicationStepRow.at))
            .where(ApplicationStepRow.application_id == application_id, ApplicationStepRow.status == "done")
            .group_by(ApplicationStepRow.step)
        )
        return {row[0]: row[1] for row in await self._session.execute(query)}

    async def finished_at_place(self, application_id: str) -> tuple[bool, str | None]:
        """Whether a batch has made the card, and the name of the outlet where it lies."""
        query = (
            select(LineRow.state, PlaceRow.kind, PlaceRow.name)
            .outerjoin(BlankRow, BlankRow.reset_information == LineRow.reset_information)
            .outerjoin(PlaceRow, PlaceRow.id == BlankRow.place_id)
            .where(LineRow.application_id == application_id, LineRow.state == "finished")
        )
        row = (await self._session.execute(query)).first()
        return (False, None) if row is None else (True, row.name if row.kind == "outlet" else None)
