"""The journal of the saga: one row for every step, and on the application who owns what is not finished."""

from __future__ import annotations

from datetime import timedelta

from cardlib import crash_points
from issuance.applications.models import ApplicationRow
from issuance.applications.repository import ApplicationRepository
from issuance.applications.schemas import Step, StepStatus
from issuance.database import sever
from issuance.unit import Unit

_WAITING = (StepStatus.STARTED, StepStatus.STUCK)


class Journal:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._applications = ApplicationRepository(unit.session)

    async def step(
        self,
        row: ApplicationRow,
        step: Step,
        status: StepStatus,
        *,
        detail: str = "",
        reason: str | None = None,
        owner: str | None = None,
        hours: int | None = None,
    ) -> None:
        """Record what happened. Of a started or stuck step somebody is the owner until the deadline.

        `owner` is who acts unless given, the deadline as configured unless `hours` says so. `reason` names the
        FailureCode of a stuck step.
        """
        unit = self._unit
        is_waiting = status in _WAITING
        row.updated_at = unit.now
        row.case_step = step.value if is_waiting else None
        row.case_reason = reason if is_waiting else None
        row.case_owner = (owner or unit.by) if is_waiting else None
        ends = unit.now + timedelta(hours=hours or unit.services.settings.stuck_deadline_h)
        row.case_deadline = ends if is_waiting else None
        await self._applications.add_step(
            row.id,
            step,
            status,
            unit.now,
            detail=detail,
            reason=reason,
            owner=row.case_owner,
            deadline=row.case_deadline,
        )
        await self._crash_point(f"{step}.{status}")

    async def _crash_point(self, point: str) -> None:
        """Before the step is stored, and once more when it is and nobody has heard of it."""
        crash_points.reach(point)
        if crash_points.strikes("sever", point):
            await sever(self._unit.session)
        self._unit.after_commit.append(lambda: crash_points.reach(f"{point}.stored"))
