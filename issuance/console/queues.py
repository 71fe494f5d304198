"""Work queues: what waits for this clerk, the longest first, each row with the one thing to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter
from sqlalchemy import select
from starlette.responses import Response

from issuance.applications.case_schemas import NextAction
from issuance.clerks.acts import FOUR_EYES, Act, may_approve
from issuance.console.cases import IS_DONE_AT_ONCE
from issuance.console.lists import address, following, rows_of
from issuance.console.page import ROOT, Page, page_for
from issuance.console.words import words
from issuance.offices.models import OfficeRow
from issuance.paging import PageQuery
from issuance.stock.models import PlaceRow
from issuance.supervision.queues import WorkQueues
from issuance.supervision.schemas import Queue, QueueCount, WorkItem
from issuance.unit import Unit

router = APIRouter(prefix="/queues")
Working = Annotated[Page, page_for(Act.QUEUE_READ)]
_Q = Queue
_DOES: Final[dict[Queue, frozenset[Act]]] = {
    _Q.STUCK: frozenset({Act.APPLICATION_RESUME}),
    _Q.TO_IDENTIFY: frozenset({Act.APPLICATION_RESUME}),
    _Q.TO_REVIEW: frozenset({Act.APPLICATION_REVIEW}),
    _Q.TO_APPROVE: frozenset(),
    _Q.TO_ISSUE: frozenset({Act.CARD_ISSUE, Act.APPLICATION_COLLECT}),
    _Q.TO_HAND_OVER: frozenset({Act.CARD_HAND_OVER}),
    _Q.TO_REWRITE: frozenset({Act.CARD_ISSUE}),
    _Q.WAITING_BANK: frozenset({Act.PRODUCTION_RUN}),
    _Q.WAITING_ACCOUNT: frozenset({Act.BANK_RECONCILE}),
    _Q.WAITING_FACTORY: frozenset({Act.PRODUCTION_RUN}),
    _Q.FOUND: frozenset({Act.FOUND_KEEP, Act.FOUND_DESTROY}),
    _Q.NEWBORNS: frozenset({Act.APPLICATION_COLLECT}),
}
"""A queue is the own one of whoever may do what its rows want."""
_BY_DUE: Final = frozenset({_Q.STUCK, _Q.FOUND, _Q.NEWBORNS})
"""Their rows have a moment by which they should be done; the others only wait."""
_WAYS: Final[dict[str, str]] = {
    "review": "/applications/{application}",
    "correct": "/applications/{application}",
    "decide": "/approvals/{key}",
    "issue": "/counter/applications/{application}",
    "rewrite": "/counter/cards/{application}/rewrite",
    "hand_over": "/queues/hand-over/{application}",
    "take_return": "/batches/{key}",
    "reconcile": "/exchange/bank",
    "hand_back": "/found/{key}/returned",
    "destroy": "/found/{key}/destroyed",
    "register_newborn": "/collect/newborns/{key}",
}
"""Pages where a next step is done, by its name; those of stuck cases are in `cases`."""


@dataclass(frozen=True, slots=True)
class Task:
    """`path` of the next step; one that asks nothing more is done by the button itself (`is_done_at_once`)."""

    item: WorkItem
    path: str
    is_done_at_once: bool
    text: str
    place: str

    @property
    def key(self) -> str:
        return self.item.subject.partition(":")[2]


@dataclass(frozen=True, slots=True)
class QueueTab:
    count: QueueCount
    path: str
    is_own: bool


def tabs_of(page: Page, counts: Sequence[QueueCount]) -> list[QueueTab]:
    """The own queues; for who watches over all, the others after them."""
    found = []
    for count in counts:
        is_own = _is_own(page, count.queue)
        if is_own or page.viewer.may(Act.STATISTICS_READ):
            found.append(QueueTab(count, address("/queues", queue=count.queue.value), is_own))
    return sorted(found, key=lambda tab: not tab.is_own)


def _is_own(page: Page, queue: Queue) -> bool:
    if queue is Queue.TO_APPROVE:
        return any(may_approve(page.desk.who.roles, act) for act in FOUR_EYES)
    return not _DOES[queue].isdisjoint(page.viewer.acts)


@router.get("")
async def show(page: Working, asked: PageQuery, queue: str = "") -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        tabs = tabs_of(page, await WorkQueues(unit).counts())
        current = _current(tabs, queue)
        if current is None:
            return page.show(
                "queues.html", tabs=[], current=None, tasks=[], following="", now=unit.now, is_by_due=False
            )
        found = await WorkQueues(unit).items(current, rows_of(asked))
        names = await _place_names(unit, page, current, found.items)
        now = unit.now
    return page.show(
        "queues.html",
        tabs=[tab for tab in tabs if tab.is_own or tab.count.count or tab.count.queue is current],
        current=current,
        tasks=[_task(page, item, names) for item in found.items],
        following=following("/queues", found.next_cursor, queue=current.value),
        now=now,
        is_by_due=current in _BY_DUE,
    )


def _current(tabs: Sequence[QueueTab], wanted: str) -> Queue | None:
    """The one asked for, else the first in which something waits."""
    ordered = sorted(tabs, key=lambda tab: (tab.count.queue != wanted, tab.count.count == 0))
    return ordered[0].count.queue if ordered else None


async def _place_names(unit: Unit, page: Page, queue: Queue, items: Sequence[WorkItem]) -> dict[str, str]:
    """Of the offices or outlets where rows lie, one statement."""
    wanted = {item.place for item in items if item.place}
    if not wanted or queue is Queue.FOUND:
        return {}
    if queue is Queue.TO_HAND_OVER:
        places = await unit.session.execute(select(PlaceRow.id, PlaceRow.name).where(PlaceRow.id.in_(wanted)))
        return {row[0]: row[1] for row in places}
    name = OfficeRow.name_zh if page.language == "zh" else OfficeRow.name_en
    offices = await unit.session.execute(select(OfficeRow.office, name).where(OfficeRow.office.in_(wanted)))
    return {row[0]: row[1] for row in offices}


def _task(page: Page, item: WorkItem, names: dict[str, str]) -> Task:
    key, application = item.subject.partition(":")[2], item.application_id
    step, is_done_at_once = item.next, False
    if step.name == "ask_register":
        path, is_done_at_once = f"/queues/identity/{application}", True
    elif item.queue is Queue.STUCK:
        path, is_done_at_once = f"/queues/cases/{application}/{step.name}", NextAction(step.name) in IS_DONE_AT_ONCE
    else:
        path = _WAYS[step.name].format(key=key, application=application)
    return Task(item, f"{ROOT}{path}", is_done_at_once, _text(page, item), names.get(item.place, item.place))


def _text(page: Page, item: WorkItem) -> str:
    if item.queue is Queue.TO_APPROVE:
        return words(page.language)["acts"][item.text_en.rpartition(" ")[2]]
    return item.text_zh if page.language == "zh" else item.text_en
