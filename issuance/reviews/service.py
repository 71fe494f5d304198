"""Reviews: opened with what a clerk collected, closed by another clerk, and demanded before a card is bound."""

from __future__ import annotations

from sqlalchemy import select

from issuance.applications.models import ApplicationRow
from issuance.database import ROW_LOCK
from issuance.paging import PageRequest, fetch_page
from issuance.problems import ProblemError
from issuance.reviews.models import ReviewRow
from issuance.unit import Unit

_DECIDED = {True: "accepted", False: "returned"}


class Reviews:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    async def open(self, application_id: str, region: str) -> None:
        """The application, just collected by this clerk, waits for another one."""
        self._unit.session.add(
            ReviewRow(
                application_id=application_id,
                region=region,
                state="waiting",
                collected_by=self._unit.by,
                collected_at_office=self._unit.caller.office,
                collected_at=self._unit.now,
                changed_by=[],
                reason="",
            )
        )
        await self._unit.session.flush()

    async def note_change(self, application_id: str) -> bool:
        """This clerk changed what was collected; True when it had been accepted, and waits again.

        Another clerk looks at it than the one who collected what waits and all who changed it since.
        """
        review = await self._locked(application_id)
        if review is None or review.state == "returned":
            return False
        is_reopened = review.state == "accepted"
        if is_reopened:
            review.state, review.reviewed_by, review.reviewed_at = "waiting", None, None
            review.collected_by, review.collected_at, review.changed_by = self._unit.by, self._unit.now, []
        elif self._unit.by != review.collected_by:
            review.changed_by = sorted({*review.changed_by, self._unit.by})
        await self._unit.session.flush()
        return is_reopened

    async def _locked(self, application_id: str) -> ReviewRow | None:
        return await self._unit.session.get(ReviewRow, application_id, with_for_update=ROW_LOCK, populate_existing=True)

    async def of(self, application_id: str) -> ReviewRow | None:
        return await self._unit.session.get(ReviewRow, application_id)

    async def demand(self, row: ApplicationRow) -> None:
        """Raises APPLICATION_STATE while a review of this application is wanted and not accepted."""
        review = await self.of(row.id)
        if review is not None and review.state != "accepted":
            said = "另一位经办人还没有复核 / another clerk has not reviewed it"
            raise ProblemError("APPLICATION_STATE", said, application_id=row.id)

    async def decide(self, application_id: str, *, is_accepted: bool, reason: str = "") -> ReviewRow:
        """Raises NOT_FOUND, APPROVAL_SELF for who collected or changed it, APPROVAL_STATE once it was decided."""
        review = await self._locked(application_id)
        subject = f"application:{application_id}"
        if review is None:
            raise ProblemError("NOT_FOUND", "nothing to review", application_id=application_id)
        if self._unit.by in review.authors:
            raise ProblemError("APPROVAL_SELF", "collected or changed by the same clerk", subject=subject)
        if review.state != "waiting":
            raise ProblemError("APPROVAL_STATE", f"it is {review.state}", subject=subject)
        review.state = _DECIDED[is_accepted]
        review.reviewed_by, review.reviewed_at, review.reason = self._unit.by, self._unit.now, reason
        await self._unit.session.flush()
        await self._unit.audit(
            "application.review",
            subject,
            application_id=application_id,
            region=review.region,
            detail={"is_accepted": is_accepted, "collected_by": review.collected_by},
            reason=reason,
        )
        return review

    async def waiting(self, page: PageRequest) -> tuple[list[ReviewRow], str | None]:
        """Of the clerk's office and those below, longest waiting first."""
        query = select(ReviewRow).where(
            ReviewRow.state == "waiting", ReviewRow.collected_at_office.startswith(self._unit.caller.office)
        )
        return await fetch_page(self._unit.session, query, [ReviewRow.collected_at, ReviewRow.application_id], page)
