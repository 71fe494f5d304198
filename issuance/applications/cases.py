"""Stuck cases: every application that waits for a person, why, whose it is, until when, and what can be done.

A case is stuck when its step failed, or when the deadline of a step that was begun is over and nobody was heard of.
"""

from __future__ import annotations

import uuid
from typing import Final

from sqlalchemy import or_, select

from cardlib.failures import FailureCode, describe
from issuance.applications.case_schemas import ActionView, NextAction, NextActionOrder, StuckCase
from issuance.applications.journal import Journal
from issuance.applications.models import ApplicationRow
from issuance.applications.payments import Payments
from issuance.applications.saga import IssuanceSaga
from issuance.applications.schemas import ApplicationState, ApplicationView, Step, StepStatus, WriteOff
from issuance.applications.service import ApplicationService
from issuance.clients.schemas import Role
from issuance.paging import Page, PageRequest, page_of
from issuance.problems import ProblemError
from issuance.sessions.repository import SessionRepository
from issuance.unit import Unit

_A = NextAction
_AFTER_PAYMENT = (_A.RETRY_PAYMENT, _A.SETTLE_BY_HAND)
_WITH_CARD = (_A.WRITE_OFF, _A.WRITE_OFF_FINAL)
_ACTIONS: Final[dict[Step, tuple[NextAction, ...]]] = {
    Step.IDENTITY: (_A.ASK_REGISTER, _A.REJECT),
    Step.PAYMENT: (*_AFTER_PAYMENT, _A.REJECT),
    Step.PERSONALIZE: (_A.REINSERT, _A.CANCEL_MARK, *_WITH_CARD),
    Step.PRINT: (_A.REINSERT, _A.REPRINT, _A.CONFIRM_PRINT, _A.SKIP_PRINT, *_WITH_CARD),
    Step.ENABLE: (_A.RESUME, *_WITH_CARD),
    Step.CANCEL_PAYMENT: _AFTER_PAYMENT,
}
_SPOILED = (_A.REPRINT, _A.CONFIRM_PRINT, *_WITH_CARD)
"""A job that the printer has given up is not taken up again under its number."""
_OPERATORS_ONLY = frozenset({_A.REJECT, _A.SETTLE_BY_HAND, _A.WRITE_OFF_FINAL})
WORDS: Final = {
    _A.ASK_REGISTER: ("再问一次公安登记", "Ask the population register again"),
    _A.RETRY_PAYMENT: ("再通知一次收费系统", "Tell the fee system again"),
    _A.SETTLE_BY_HAND: ("已在收费系统里人工处理好", "It was settled by hand in the fee system"),
    _A.REINSERT: ("由我接着办：把同一张卡放回去", "Take it over: put the same card back"),
    _A.CANCEL_MARK: ("卡还没有写，撤销标注，白卡和卡号放回去", "Nothing was written: put blank and number back"),
    _A.REPRINT: ("再打一次卡面", "Print the card once more"),
    _A.CONFIRM_PRINT: ("看过了，卡面已经打好", "I looked: the card is printed well"),
    _A.SKIP_PRINT: ("这张卡不打印", "Do without printing"),
    _A.RESUME: ("再启用一次", "Enable the card now"),
    _A.WRITE_OFF: ("作废这张卡，换一张重做", "Write the card off and make another"),
    _A.WRITE_OFF_FINAL: ("作废这张卡，申领到此为止", "Write the card off and end the application"),
    _A.REJECT: ("退回申领", "Reject the application"),
}


class StuckCases:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._saga = IssuanceSaga(unit)
        self._applications = ApplicationService(unit)

    async def find(self, page: PageRequest, *, region: str | None, owner: str | None) -> Page[StuckCase]:
        """Of the regions this caller serves, the nearest deadline first."""
        query = select(ApplicationRow).where(
            ApplicationRow.case_step.is_not(None),
            or_(ApplicationRow.case_reason.is_not(None), ApplicationRow.case_deadline <= self._unit.now),
            ApplicationRow.region.startswith(self._unit.caller.region_prefix),
        )
        if region is not None:
            query = query.where(ApplicationRow.region == region)
        if owner is not None:
            query = query.where(ApplicationRow.case_owner == owner)
        columns = [ApplicationRow.case_deadline, ApplicationRow.id]
        return await page_of(self._unit.session, query, columns, page, self._case)

    async def act(self, application_id: str, order: NextActionOrder) -> ApplicationView:
        """Raises APPLICATION_STATE for an action that the case does not offer, CLIENT_FORBIDDEN."""
        row = await self._applications.row(application_id)
        offered = actions_of(row)
        action = order.action or next(iter(offered), None)
        if action is None or action not in offered:
            raise ProblemError(
                "APPLICATION_STATE",
                f"this case offers {', '.join(offered) or 'nothing to do'}",
                application_id=row.id,
            )
        if action in _OPERATORS_ONLY:
            self._unit.caller.demand(Role.OPERATOR)
        await self._unit.audit(
            f"case.{action}",
            f"application:{row.id}",
            application_id=row.id,
            region=row.region,
            detail={"step": row.case_step, "reason": order.reason},
        )
        await self._do(row, action, order.reason or f"case.{action}")
        return await self._applications.view(row.id)

    async def _do(self, row: ApplicationRow, action: NextAction, reason: str) -> None:
        match action:
            case _A.RETRY_PAYMENT:
                await Payments(self._unit).retry(row)
            case _A.SETTLE_BY_HAND:
                await Payments(self._unit).settle_by_hand(row)
            case _A.ASK_REGISTER:
                pass  # the endpoint asks, before any transaction
            case _A.REJECT:
                await self._saga.reject(row, reason)
            case _A.CANCEL_MARK:
                await self._saga.cancel_mark(row)
                await self._end_sessions(row)
            case _A.WRITE_OFF | _A.WRITE_OFF_FINAL:
                order = WriteOff(
                    reset_information=row.reset_information or "",
                    reason=reason,
                    is_final=action is _A.WRITE_OFF_FINAL,
                )
                await self._applications.write_off(row.id, order)
            case _A.REINSERT:
                await self._take_over(row)
            case _A.REPRINT:
                returned = await self._saga.returned(row)
                returned.print_job = uuid.uuid4().hex
                await self._take_over(row)
            case _A.CONFIRM_PRINT | _A.SKIP_PRINT | _A.RESUME:
                await self._finish(row, action)

    async def _take_over(self, row: ApplicationRow) -> None:
        """The case is this caller's from now on."""
        if row.case_step is not None:
            await Journal(self._unit).step(row, Step(row.case_step), StepStatus.STARTED, detail="taken over")

    async def _finish(self, row: ApplicationRow, action: NextAction) -> None:
        """A refusal leaves the case stuck, with the new reason."""
        returned = await self._saga.returned(row)
        is_skipped = action is _A.SKIP_PRINT
        await self._saga.printed(row, returned, f"by {self._unit.by}", is_skipped=is_skipped)
        await self._end_sessions(row)
        await self._saga.hand_over(row, returned)

    async def _end_sessions(self, row: ApplicationRow) -> None:
        ended = await SessionRepository(self._unit.session).supersede(
            self._unit.now, application_id=row.id, reset_information=None
        )
        self._unit.after_commit.append(lambda: self._unit.services.runners.drop(ended))

    def _case(self, row: ApplicationRow) -> StuckCase:
        if row.case_step is None or row.case_deadline is None:
            raise ValueError("not a case")
        reason = FailureCode(row.case_reason or FailureCode.TIMEOUT)
        words = describe(reason)
        return StuckCase(
            application_id=row.id,
            region=row.region,
            state=ApplicationState(row.state),
            step=Step(row.case_step),
            reason=reason,
            text_zh=words.text_zh,
            text_en=words.text_en,
            owner=row.case_owner or "",
            deadline=row.case_deadline,
            is_overdue=row.case_deadline <= self._unit.now,
            actions=[
                ActionView(action=action, text_zh=WORDS[action][0], text_en=WORDS[action][1])
                for action in actions_of(row)
            ],
        )


def actions_of(row: ApplicationRow) -> tuple[NextAction, ...]:
    """What can be done about the case of an application, stuck or still in its time; nothing where there is none."""
    return () if row.case_step is None else _offered(Step(row.case_step), row.case_reason)


def next_action_of(step: str, reason: str | None) -> NextAction:
    """What helps mostly against a case of this step; REJECT where nothing else is offered."""
    return next(iter(_offered(Step(step), reason)), NextAction.REJECT)


def _offered(step: Step, reason: str | None) -> tuple[NextAction, ...]:
    if step is Step.PRINT and reason == FailureCode.PRINT_FAILED:
        return _SPOILED
    return _ACTIONS.get(step, ())
