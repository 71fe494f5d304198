"""The work queues: what waits, for how long, and the one thing to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import CompoundSelect, Row, Select, func, literal, select, tuple_, union_all

from cardlib.failures import FailureCode, describe
from issuance.applications.cases import WORDS, next_action_of
from issuance.clerks.acts import Act
from issuance.clerks.staff_endpoints import STAFF
from issuance.paging import Page, PageRequest, decode_cursor, encode_cursor
from issuance.persons.models import PersonRow
from issuance.persons.repository import person_context
from issuance.persons.schemas import PersonData, PersonView
from issuance.persons.service import masked
from issuance.production.states import BATCH_CODES, BatchState
from issuance.supervision.full import MOST_COUNTED, FullQueues
from issuance.supervision.schemas import NextStep, Queue, QueueCount, WorkItem
from issuance.supervision.sources import SOURCES, Look, LookForm, Source
from issuance.unit import Unit

_RETURNED: Final = "returned"
TITLES: Final[dict[Queue, tuple[str, str]]] = {
    Queue.STUCK: ("卡住的", "Stuck"),
    Queue.TO_IDENTIFY: ("待核对身份", "Identity to check"),
    Queue.TO_REVIEW: ("待复核", "To review"),
    Queue.TO_APPROVE: ("待审批", "To approve"),
    Queue.TO_ISSUE: ("待制卡", "To issue"),
    Queue.TO_HAND_OVER: ("待领取", "To hand over"),
    Queue.TO_REWRITE: ("待改写芯片", "To rewrite"),
    Queue.WAITING_BANK: ("等银行结果", "Waiting for the bank"),
    Queue.WAITING_ACCOUNT: ("等银行开户", "Waiting for an account"),
    Queue.WAITING_FACTORY: ("等卡厂结果", "Waiting for the factory"),
    Queue.FOUND: ("拾获卡", "Found cards"),
    Queue.NEWBORNS: ("新生儿待补登", "Newborns to register"),
}
_PLAIN: Final[dict[Queue, tuple[str, str]]] = {
    Queue.TO_REVIEW: ("采集好了，等另一位经办人复核", "Collected, to be reviewed by another clerk"),
    Queue.TO_IDENTIFY: ("公安登记还没有答复", "The population register has not answered"),
    Queue.TO_ISSUE: ("审核通过，还没有制卡", "Checked, no card made yet"),
    Queue.TO_HAND_OVER: ("卡已到网点，等本人来领", "The card is here for its holder"),
    Queue.TO_REWRITE: ("资料变更了，芯片还是旧的", "The chip holds old data"),
    Queue.WAITING_ACCOUNT: ("银行账户还没开好", "The bank has not opened the account"),
    Queue.FOUND: ("有人交来的卡", "A card that was handed in"),
    Queue.NEWBORNS: ("姓名和号码还没有登记", "Name and number are not registered"),
}
_STEPS: Final[dict[Queue, NextStep]] = {
    Queue.TO_REVIEW: NextStep(name="review", text_zh="复核", text_en="Review", act=Act.APPLICATION_REVIEW),
    Queue.TO_IDENTIFY: NextStep(
        name="ask_register",
        text_zh="再问一次公安登记",
        text_en="Ask the register again",
        act=Act.APPLICATION_RESUME,
        method="POST",
        path="/v1/applications/{key}/identity-check",
    ),
    Queue.TO_APPROVE: NextStep(
        name="decide",
        text_zh="看并决定",
        text_en="Look and decide",
        act=Act.APPROVAL_READ,
        path=f"{STAFF}/approvals/{{key}}",
    ),
    Queue.TO_ISSUE: NextStep(name="issue", text_zh="制卡", text_en="Issue the card", act=Act.CARD_ISSUE),
    Queue.TO_HAND_OVER: NextStep(
        name="hand_over",
        text_zh="核对本人，发卡",
        text_en="Check the holder, hand over",
        act=Act.CARD_HAND_OVER,
        method="POST",
        path="/v1/production/cards/{card_number}/collect",
    ),
    Queue.TO_REWRITE: NextStep(
        name="rewrite", text_zh="持卡人来时改写芯片", text_en="Rewrite at the next visit", act=Act.CARD_ISSUE
    ),
    Queue.WAITING_BANK: NextStep(
        name="take_return", text_zh="收取回盘文件", text_en="Take the return file", act=Act.PRODUCTION_RUN
    ),
    Queue.WAITING_ACCOUNT: NextStep(
        name="reconcile",
        text_zh="与银行对账",
        text_en="Compare with the bank",
        act=Act.BANK_RECONCILE,
        method="POST",
        path="/v1/bank/reconciliations",
    ),
    Queue.WAITING_FACTORY: NextStep(
        name="take_return", text_zh="收取回盘文件", text_en="Take the return file", act=Act.PRODUCTION_RUN
    ),
    Queue.NEWBORNS: NextStep(
        name="register_newborn",
        text_zh="补登姓名和号码",
        text_en="Register name and number",
        act=Act.APPLICATION_COLLECT,
        method="POST",
        path="/v1/newborns/{key}/registration",
    ),
}
_CORRECT: Final = NextStep(name="correct", text_zh="按复核意见改", text_en="Correct it", act=Act.APPLICATION_COLLECT)
_FOUND_STEPS: Final[dict[str, NextStep]] = {
    "hand_back": NextStep(
        name="hand_back",
        text_zh="核对本人，交还",
        text_en="Check the holder, hand back",
        act=Act.FOUND_KEEP,
        method="POST",
        path="/v1/found-cards/{key}/hand-back",
    ),
    "destroy": NextStep(
        name="destroy",
        text_zh="销毁",
        text_en="Destroy",
        act=Act.FOUND_DESTROY,
        method="POST",
        path="/v1/found-cards/{key}/destroy",
    ),
}
_KINDS: Final[dict[Queue, str]] = {
    Queue.TO_APPROVE: "approval",
    Queue.TO_HAND_OVER: "chip",
    Queue.TO_REWRITE: "card",
    Queue.WAITING_BANK: "batch",
    Queue.WAITING_ACCOUNT: "card",
    Queue.WAITING_FACTORY: "batch",
    Queue.FOUND: "found",
    Queue.NEWBORNS: "newborn",
}


class WorkQueues:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._look = Look(unit.now, unit.caller.region_prefix, unit.caller.office)

    async def counts(self) -> list[QueueCount]:
        """Of every queue this caller sees, in one statement; a full one as it was at most half a minute ago."""
        full = FullQueues.of(self._unit.services.database)
        whose = (self._look.regions, self._look.office)
        found = full.known(whose, self._unit.now)
        asked = tuple(queue for queue in SOURCES if queue not in found)
        if asked:
            for row in await self._unit.session.execute(_numbers(asked, self._look.form), self._look.values):
                found[Queue(row.queue)] = row.n, row.oldest
        full.keep(whose, found, self._unit.now)
        return [_count(queue, *found[queue]) for queue in SOURCES]

    async def items(self, queue: Queue, page: PageRequest) -> Page[WorkItem]:
        """The oldest or most urgent first."""
        source = SOURCES[queue]
        query = source.rows(self._look).order_by(*source.sort).limit(page.limit + 1)
        if page.cursor is not None:
            query = query.where(tuple_(*source.sort) > decode_cursor(page.cursor, [datetime, source.key_type]))
        rows = list(await self._unit.session.execute(query))
        shown = rows[: page.limit]
        people = await self._people(shown)
        items = [self._item(queue, row, people.get(row.person_id)) for row in shown]
        cursor = encode_cursor([shown[-1].at, shown[-1].key]) if len(rows) > page.limit else None
        return Page(items=items, next_cursor=cursor)

    async def _people(self, rows: Sequence[Row[Any]]) -> dict[str, PersonView]:
        ids = {row.person_id for row in rows if row.person_id is not None}
        if not ids:
            return {}
        unseal = self._unit.services.sealer.unseal
        found = await self._unit.session.execute(select(PersonRow.id, PersonRow.sealed).where(PersonRow.id.in_(ids)))
        return {key: masked(PersonData.model_validate(unseal(sealed, person_context(key)))) for key, sealed in found}

    def _item(self, queue: Queue, row: Row[Any], holder: PersonView | None) -> WorkItem:
        text_zh, text_en = _words(queue, row)
        return WorkItem(
            queue=queue,
            subject=f"{_KINDS.get(queue, 'application')}:{row.key}",
            region=row.region,
            place=row.office or "",
            holder=holder,
            application_id=row.application_id,
            card_number=row.card_number,
            text_zh=text_zh,
            text_en=text_en,
            since=row.at,
            due=row.due,
            is_overdue=row.due is not None and row.due <= self._unit.now,
            owner=row.owner or "",
            quantity=1 if row.quantity is None else row.quantity,
            next=_next(queue, row),
        )


@lru_cache(maxsize=64)
def _numbers(queues: tuple[Queue, ...], look: LookForm) -> CompoundSelect[str, int, Any]:
    """Kept: it takes longer to write down than to run."""
    return union_all(*(_number(queue, SOURCES[queue], look) for queue in queues))


def _number(queue: Queue, source: Source, look: LookForm) -> Select[str, int, Any]:
    at = source.rows(look).with_only_columns(source.sort[0].label("at"), maintain_column_froms=True)
    some = at.order_by(source.sort[0]).limit(MOST_COUNTED + 1).subquery()
    columns = (literal(queue.value).label("queue"), func.count().label("n"), func.min(some.c.at).label("oldest"))
    return select(*columns).select_from(some)


def _words(queue: Queue, row: Row[Any]) -> tuple[str, str]:
    if queue is Queue.STUCK:
        words = describe(FailureCode(row.reason or FailureCode.TIMEOUT))
        return words.text_zh, words.text_en
    if queue is Queue.TO_APPROVE:
        return f"{row.owner} 申请 {row.step}", f"{row.owner} asks for {row.step}"
    if queue in (Queue.WAITING_BANK, Queue.WAITING_FACTORY):
        _, text_zh, text_en = BATCH_CODES[BatchState(row.step)]
        return text_zh, text_en
    if queue is Queue.TO_ISSUE and row.step == _RETURNED:
        return "复核时退回", "Sent back when it was reviewed"
    return _PLAIN[queue]


def _next(queue: Queue, row: Row[Any]) -> NextStep:
    if queue is Queue.STUCK:
        action = next_action_of(row.step, row.reason)
        text_zh, text_en = WORDS[action]
        path = f"/v1/applications/{row.key}/next-action"
        return NextStep(
            name=action, text_zh=text_zh, text_en=text_en, act=Act.APPLICATION_RESUME, method="POST", path=path
        )
    step = _FOUND_STEPS[row.step] if queue is Queue.FOUND else _STEPS[queue]
    if queue is Queue.TO_ISSUE and row.step == _RETURNED:
        step = _CORRECT
    path = step.path.format(key=row.key, card_number=row.card_number)
    return step.model_copy(update={"path": path})


def _count(queue: Queue, count: int, oldest: datetime | None) -> QueueCount:
    text_zh, text_en = TITLES[queue]
    return QueueCount(
        queue=queue,
        text_zh=text_zh,
        text_en=text_en,
        count=min(count, MOST_COUNTED),
        is_more=count > MOST_COUNTED,
        oldest=oldest,
    )
