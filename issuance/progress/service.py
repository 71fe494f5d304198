"""办理进度: how far an application is, for whoever knows its receipt number and the end of the holder's number.

Wrong checks are counted in the database, each before it is looked at, so that replicas and restarts change nothing. A
number that does not exist, a wrong check and too many tries are one and the same answer.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Final, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from issuance.applications.models import ApplicationRow
from issuance.clock import china_date
from issuance.input_rules import field_error
from issuance.newborns.models import NewbornRow
from issuance.newborns.repository import NewbornRepository
from issuance.newborns.schemas import NewbornRequest
from issuance.persons.repository import PersonRepository
from issuance.problems import ProblemError, bad_input
from issuance.progress.receipts import parse_receipt_number
from issuance.progress.repository import ProgressRepository
from issuance.progress.schemas import CHECK_LETTERS, Progress, ProgressQuestion, Stage, StageView
from issuance.scope import EVERYWHERE
from issuance.services import Services

MOST_A_MINUTE: Final = 10
"""From one network."""
_STAGES: Final[dict[Stage, tuple[str, str]]] = {
    Stage.RECEIVED: ("已受理", "Received"),
    Stage.CHECKED: ("资料核对", "Data checked"),
    Stage.MADE: ("制卡", "Card made"),
    Stage.READY: ("可以领卡", "Ready to fetch"),
    Stage.HANDED_OVER: ("已领卡", "Handed over"),
}
_ORDER: Final = tuple(Stage)
_REACHED: Final = {
    "submitted": Stage.RECEIVED,
    "checked": Stage.CHECKED,
    "reserved": Stage.CHECKED,
    "personalized": Stage.CHECKED,
    "verified": Stage.MADE,
    "enabled": Stage.HANDED_OVER,
}
_WORDS: Final[dict[Stage, tuple[str, str, str, str]]] = {
    Stage.RECEIVED: (
        "正在核对资料",
        "The data are being checked",
        "请等候，不用再来。",
        "Wait; there is no need to come again.",
    ),
    Stage.CHECKED: (
        "正在制卡",
        "The card is being made",
        "请等候，做好后可以领取。",
        "Wait; you can fetch the card when it is made.",
    ),
    Stage.MADE: (
        "卡做好了，正在送往网点",
        "The card is made and on its way",
        "到网点后可以领取，再过几天查一次。",
        "Ask again in a few days.",
    ),
    Stage.READY: (
        "卡在网点，可以领取",
        "The card can be fetched",
        "带身份证到领卡网点领取。",
        "Bring your identity card to the outlet.",
    ),
    Stage.HANDED_OVER: (
        "卡已经发出",
        "The card was handed over",
        "没有拿到卡，请打 12333。",
        "If you do not have it, call 12333.",
    ),
}
_POSTED: Final = ("卡做好了，等待寄送", "The card is made and will be posted", "请留意收件。", "Look out for it.")
_NAMELESS: Final = (
    "等孩子的姓名和号码",
    "The child's name and number are awaited",
    "上户口后，带户口簿到受理网点登记。",
    "Once the child is registered, bring the household register to the office that took it in.",
)
_REFUSED: Final = (
    "没有办成",
    "It could not be done",
    "带身份证到受理网点问明原因，或打 12333。",
    "Ask at the office that took it in, or call 12333.",
)


class ProgressService:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._now = services.clock()

    async def ask(self, question: ProgressQuestion, network: str) -> Progress:
        """`network`: where the question comes from. Raises PROGRESS_LIMITED, PROGRESS_UNKNOWN, INPUT_INVALID."""
        if not self._services.progress.allows(network, self._now):
            raise ProblemError("PROGRESS_LIMITED", "too many questions from this network")
        try:
            number = parse_receipt_number(question.receipt_number)
        except ValueError:
            raise bad_input(field_error("body.receipt_number", "receipt_number")) from None
        if not await self._is_admitted(number, question.check):
            raise ProblemError("PROGRESS_UNKNOWN", "no such number, another check, or too many tries today")
        async with self._services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
            repository = ProgressRepository(session)
            row = await repository.application(number)
            if row is not None:
                return await self.of_application(repository, row)
            newborn = await repository.newborn(number)
            if newborn is None:
                raise ProblemError("PROGRESS_UNKNOWN", "gone since")
            return self._waiting(newborn, NewbornRepository(session, self._services.sealer).request(newborn))

    async def _is_admitted(self, number: str, check: str) -> bool:
        """The try is stored whatever comes of it."""
        async with self._services.database.transaction(scope=EVERYWHERE) as session:
            repository = ProgressRepository(session)
            whose = await self._number_of(repository, session, number)
            if whose is None or not await repository.take_try(number, china_date(self._now)):
                return False
            expected = whose[-CHECK_LETTERS:].upper()
            if not hmac.compare_digest(expected.encode(), check.upper().encode()):
                return False
            await repository.forget_tries(number)
            return True

    async def _number_of(self, repository: ProgressRepository, session: AsyncSession, number: str) -> str | None:
        """The holder's social security number; the applying parent's for a child that has none yet."""
        row = await repository.application(number)
        if row is not None:
            return (await PersonRepository(session, self._services.sealer).data(row.person_id)).social_security_number
        newborn = await repository.newborn(number)
        if newborn is None:
            return None
        request = NewbornRepository(session, self._services.sealer).request(newborn)
        parent = request.mother if request.applicant == "mother" else request.father
        return None if parent is None else parent.social_security_number

    def _waiting(self, row: NewbornRow, request: NewbornRequest) -> Progress:
        received = {Stage.RECEIVED: row.created_at}
        return Progress(
            receipt_number=row.receipt_number,
            outcome="open",
            text_zh=_NAMELESS[0],
            text_en=_NAMELESS[1],
            next_zh=_NAMELESS[2],
            next_en=_NAMELESS[3],
            delivery=request.delivery.way,
            pick_up=None,
            stages=[_stage(stage, Stage.RECEIVED, received.get(stage), is_over=False) for stage in Stage],
        )

    async def of_application(self, repository: ProgressRepository, row: ApplicationRow) -> Progress:
        """For whoever has shown to be the applicant."""
        done = await repository.done_at(row.id)
        is_made, place = await repository.finished_at_place(row.id)
        reached = _REACHED.get(row.state)
        if reached is Stage.CHECKED and is_made:
            reached = Stage.READY if place is not None else Stage.MADE
        if reached is None:
            reached_before = Stage.CHECKED if "check" in done else Stage.RECEIVED
            return self._view(row, reached_before, done, "refused", _REFUSED, None)
        words = _POSTED if row.delivery == "post" and reached in (Stage.MADE, Stage.READY) else _WORDS[reached]
        outcome: Literal["open", "issued"] = "issued" if reached is Stage.HANDED_OVER else "open"
        return self._view(row, reached, done, outcome, words, place if row.delivery == "counter" else None)

    def _view(
        self,
        row: ApplicationRow,
        reached: Stage,
        done: dict[str, datetime],
        outcome: Literal["open", "issued", "refused"],
        words: tuple[str, str, str, str],
        pick_up: str | None,
    ) -> Progress:
        moments = {
            Stage.RECEIVED: row.created_at,
            Stage.CHECKED: done.get("check"),
            Stage.MADE: done.get("read_back"),
            Stage.HANDED_OVER: row.ended_at if outcome == "issued" else None,
        }
        return Progress(
            receipt_number=row.receipt_number,
            outcome=outcome,
            text_zh=words[0],
            text_en=words[1],
            next_zh=words[2],
            next_en=words[3],
            delivery=row.delivery,
            pick_up=pick_up,
            stages=[_stage(stage, reached, moments.get(stage), is_over=outcome != "open") for stage in Stage]
            if outcome != "refused"
            else _until(reached, moments),
        )


def _stage(stage: Stage, reached: Stage, at: datetime | None, *, is_over: bool) -> StageView:
    place, last = _ORDER.index(stage), _ORDER.index(reached)
    status: Literal["done", "current", "open"] = (
        "done" if place <= last else "current" if place == last + 1 and not is_over else "open"
    )
    zh, en = _STAGES[stage]
    day = china_date(at) if at is not None and status == "done" else None
    return StageView(stage=stage, status=status, text_zh=zh, text_en=en, day=day)


def _until(reached: Stage, moments: dict[Stage, datetime | None]) -> list[StageView]:
    """What was done, and the stage at which it ended."""
    last = _ORDER.index(reached)
    views = [_stage(stage, reached, moments.get(stage), is_over=True) for stage in _ORDER[: last + 2]]
    return [*views[:-1], views[-1].model_copy(update={"status": "failed"})]
