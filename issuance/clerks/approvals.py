"""Four eyes: an act that one clerk asks for is done once another one, with the right to, approves it.

It is done in the approver's transaction: an act that is no longer possible then leaves the approval waiting. Nobody
approves what they asked for, nor what was asked with an account whose temporary password they had, nor with one whose
temporary password the asking clerk had: either might be one person with two log-ins.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clerks.acts import ALWAYS_TWO, Act, may_approve
from issuance.clerks.models import ApprovalRow, ClerkRow
from issuance.clerks.runners import RUNNERS, About, Runner
from issuance.clerks.schemas import ApprovalDetail, ApprovalView
from issuance.clerks.sessions import SignedIn
from issuance.database import ROW_LOCK
from issuance.input_rules import field_error, shape_error
from issuance.paging import Page, PageRequest, page_of
from issuance.problems import ProblemError, bad_input
from issuance.unit import Unit

MAX_REASON = 200


class ApprovalService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._rows = ApprovalRepository(unit.session)

    async def perform(self, act: Act, body: dict[str, Any], reason: str) -> BaseModel:
        """Do `act` now, or where two clerks are wanted, ask for it: the answer is an ApprovalView then.

        The caller has shown that the clerk may do `act`.
        """
        runner = _runner(act)
        order = _order(runner, body)
        about = await runner.about(self._unit, order)
        if act in ALWAYS_TWO or any(act.value in self._unit.rules(region).four_eyes for region in about.regions):
            return await self._ask(act, order, about, reason)
        return await runner.run(self._unit, order)

    async def _ask(self, act: Act, order: BaseModel, about: About, reason: str) -> ApprovalView:
        unit, approval_id = self._unit, uuid.uuid4().hex
        row = ApprovalRow(
            id=approval_id,
            act=act.value,
            subject=about.subject,
            region=about.region,
            office=unit.caller.office,
            sealed_body=unit.services.sealer.seal(order.model_dump(mode="json"), _context(approval_id)),
            reason=reason[:MAX_REASON],
            state="waiting",
            asked_by=unit.by,
            access_by=await self._rows.access_by(unit.by),
            asked_at=unit.now,
            expires_at=unit.now + timedelta(hours=unit.services.settings.approval_keep_h),
            decision="",
        )
        unit.session.add(row)
        await self._audit("approval.ask", row)
        return self._view(row)

    async def approve(self, approval_id: str, who: SignedIn, reason: str) -> BaseModel:
        """The answer of the act itself. Raises NOT_FOUND, APPROVAL_SELF, ACT_FORBIDDEN, APPROVAL_STATE, and what the
        act raises.
        """
        row = await self._decidable(approval_id, who)
        row.state, row.decided_by, row.decided_at, row.decision = "approved", who.login, self._unit.now, reason
        await self._unit.session.flush()
        runner = _runner(Act(row.act))
        answer = await runner.run(self._unit, _order(runner, self._body(row)))
        await self._audit("approval.approve", row)
        return answer

    async def refuse(self, approval_id: str, who: SignedIn, reason: str) -> ApprovalView:
        """As `approve`."""
        row = await self._decidable(approval_id, who)
        row.state, row.decided_by, row.decided_at, row.decision = "refused", who.login, self._unit.now, reason
        await self._audit("approval.refuse", row)
        return self._view(row)

    async def withdraw(self, approval_id: str, who: SignedIn, reason: str) -> ApprovalView:
        """By the clerk who asked. Raises NOT_FOUND, ACT_FORBIDDEN, APPROVAL_STATE."""
        row = await self._row(approval_id, is_locking=True)
        if row.asked_by != who.login:
            raise ProblemError("ACT_FORBIDDEN", "another clerk asked for this", subject=_subject(row))
        self._demand_waiting(row)
        row.state, row.decided_by, row.decided_at, row.decision = "withdrawn", who.login, self._unit.now, reason
        await self._audit("approval.withdraw", row)
        return self._view(row)

    async def get(self, approval_id: str) -> ApprovalDetail:
        row = await self._row(approval_id)
        return ApprovalDetail(**self._view(row).model_dump(), body=self._body(row))

    async def find(self, state: str | None, page: PageRequest) -> Page[ApprovalView]:
        query = select(ApprovalRow) if state is None else select(ApprovalRow).where(ApprovalRow.state == state)
        columns = [ApprovalRow.asked_at, ApprovalRow.id]
        return await page_of(self._unit.session, query, columns, page, self._view, is_descending=True)

    async def _decidable(self, approval_id: str, who: SignedIn) -> ApprovalRow:
        row = await self._row(approval_id, is_locking=True)
        if row.asked_by == who.login:
            raise ProblemError("APPROVAL_SELF", "asked for by the same clerk", subject=_subject(row))
        if row.access_by == who.login or who.access_by == row.asked_by:
            raise ProblemError("APPROVAL_SELF", "one of the two gave the other access", subject=_subject(row))
        if not may_approve(who.roles, Act(row.act)):
            raise ProblemError("ACT_FORBIDDEN", f"{row.act} is not approved by this role", subject=_subject(row))
        self._demand_waiting(row)
        return row

    def _demand_waiting(self, row: ApprovalRow) -> None:
        if row.state != "waiting" or row.expires_at <= self._unit.now:
            state = row.state if row.state != "waiting" else "over"
            raise ProblemError("APPROVAL_STATE", f"it is {state}", subject=_subject(row))

    async def _row(self, approval_id: str, *, is_locking: bool = False) -> ApprovalRow:
        row = await self._rows.get(approval_id, is_locking=is_locking)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such approval", subject=f"approval:{approval_id}")
        return row

    def _body(self, row: ApprovalRow) -> dict[str, Any]:
        body: dict[str, Any] = self._unit.services.sealer.unseal(row.sealed_body, _context(row.id))
        return body

    async def _audit(self, act: str, row: ApprovalRow) -> None:
        detail = {"act": row.act, "approval": row.id, "asked_by": row.asked_by}
        reason = row.decision or row.reason
        await self._unit.audit(act, row.subject, region=row.region, detail=detail, reason=reason)

    def _view(self, row: ApprovalRow) -> ApprovalView:
        same = {name: getattr(row, name) for name in ApprovalView.model_fields if name != "is_over"}
        is_over = row.state == "waiting" and row.expires_at <= self._unit.now
        return ApprovalView.model_validate(same | {"is_over": is_over})


class ApprovalRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, approval_id: str, *, is_locking: bool = False) -> ApprovalRow | None:
        lock = ROW_LOCK if is_locking else None
        return await self._session.get(ApprovalRow, approval_id, with_for_update=lock, populate_existing=is_locking)

    async def access_by(self, login: str) -> str:
        """Who told this clerk the last temporary password."""
        query = select(ClerkRow.access_by).where(ClerkRow.login == login)
        return (await self._session.execute(query)).scalar_one()


def _runner(act: Act) -> Runner:
    if act not in RUNNERS:
        raise bad_input(field_error("body.act", "act_direct"))
    return RUNNERS[act]


def _order(runner: Runner, body: dict[str, Any]) -> BaseModel:
    try:
        return runner.body.model_validate(body)
    except ValidationError as error:
        fields = [
            shape_error(f"body.{'.'.join(str(part) for part in e['loc'])}", e["type"], e.get("ctx") or {})
            for e in error.errors()
        ]
        raise bad_input(*fields, status=422) from None


def _subject(row: ApprovalRow) -> str:
    return f"approval:{row.id}"


def _context(approval_id: str) -> str:
    return f"clerk_approvals:{approval_id}"
