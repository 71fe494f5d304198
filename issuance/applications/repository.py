"""Queries over applications and their steps."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.applications.models import ApplicationRow, ApplicationStepRow
from issuance.applications.schemas import ApplicationState, Step, StepStatus
from issuance.database import ROW_LOCK, add_unless_taken
from issuance.production.models import BatchRow, LineRow
from issuance.production.states import LineState
from issuance.scope import unscoped

_FINAL_STATES = ("enabled", "rejected", "written_off")


class ApplicationRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: ApplicationRow) -> bool:
        """False when the person has an open application (the database's own constraint)."""
        return await add_unless_taken(self._session, row)

    async def get(self, application_id: str, *, is_locking: bool = True) -> ApplicationRow | None:
        """Locked for the rest of the transaction unless it is only looked at."""
        return await self._session.get(ApplicationRow, application_id, with_for_update=ROW_LOCK if is_locking else None)

    async def open_of(self, person_id: str) -> str | None:
        """Id of the person's open application, wherever it is."""
        query = select(ApplicationRow.id).where(
            ApplicationRow.person_id == person_id, ApplicationRow.state.not_in(_FINAL_STATES)
        )
        with unscoped(self._session, why="a person has one open application in all regions together"):
            found: str | None = await self._session.scalar(query)
        return found

    async def waiting_for_identity(self, before: datetime, limit: int) -> list[tuple[str, str]]:
        """Ids of applications and persons whose identity was last asked for before then, in vain; oldest first."""
        query = (
            select(ApplicationRow.id, ApplicationRow.person_id)
            .where(ApplicationRow.state == ApplicationState.SUBMITTED.value, ApplicationRow.updated_at <= before)
            .order_by(ApplicationRow.updated_at)
            .limit(limit)
        )
        return [(row[0], row[1]) for row in await self._session.execute(query)]

    async def leave_batch(self, application_id: str) -> None:
        """Its card is no more, so no stage and no hand-out of the batch that made it counts on that line again."""
        ended = (LineState.ISSUED.value, LineState.RELEASED.value)
        mine = select(LineRow).where(LineRow.application_id == application_id, LineRow.state.not_in(ended))
        for line in await self._session.scalars(mine):
            await self._session.get(BatchRow, line.batch_id, with_for_update=ROW_LOCK)  # whoever works on its lines
            line.state = LineState.RELEASED.value

    async def add_step(
        self,
        application_id: str,
        step: Step,
        status: StepStatus,
        at: datetime,
        *,
        detail: str = "",
        reason: str | None = None,
        owner: str | None = None,
        deadline: datetime | None = None,
    ) -> None:
        """Stored in order with the next flush: steps of one request go to the database together."""
        self._session.add(
            ApplicationStepRow(
                application_id=application_id,
                step=step.value,
                status=status.value,
                at=at,
                detail=detail[:512],
                reason=reason,
                owner=owner,
                deadline=deadline,
            )
        )

    async def steps(self, application_id: str) -> list[ApplicationStepRow]:
        await self._session.flush()
        query = (
            select(ApplicationStepRow)
            .where(ApplicationStepRow.application_id == application_id)
            .order_by(ApplicationStepRow.id)
        )
        return list(await self._session.scalars(query))
