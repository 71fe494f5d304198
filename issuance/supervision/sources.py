"""Where the work queues come from: one SELECT each, all with the same columns, the oldest or most urgent row first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    String,
    TextClause,
    bindparam,
    case,
    literal,
    null,
    or_,
    select,
    text,
    true,
)

from issuance.applications.models import ApplicationRow
from issuance.bank.models import AccountRow
from issuance.cards.models import CardRow, FoundCardRow, RewriteRow
from issuance.clerks.models import ApprovalRow
from issuance.database import UtcDateTime
from issuance.newborns.models import NewbornRow
from issuance.production.models import BatchRow
from issuance.production.states import BatchState
from issuance.reviews.models import ReviewRow
from issuance.scope import in_regions, region_range
from issuance.stock.models import BlankRow, PlaceRow
from issuance.supervision.schemas import Queue

_B = BatchState
AT_THE_BANK: Final = (_B.BANK_SENT.value, _B.CA_SENT.value)
_IS_OPEN: Final = text("applications.state NOT IN ('enabled', 'rejected', 'written_off')")
"""As the index of open applications says it: then PostgreSQL knows that the index will do."""
AT_THE_FACTORY: Final = (_B.FACTORY_SENT.value, _B.KEYS_SENT.value)
COLUMNS: Final = (
    "key",
    "at",
    "region",
    "office",
    "application_id",
    "card_number",
    "person_id",
    "due",
    "step",
    "reason",
    "owner",
    "quantity",
)
"""`key` is the id in the queue's own table; `at` is the time that sorts the queue; `due` is when it has to be done."""


class Asker(Protocol):
    """Who looks, at what moment, as conditions of a statement."""

    @property
    def now(self) -> datetime | ColumnElement[datetime]: ...

    def of_region(self, column: Any) -> ColumnElement[bool]: ...

    def of_office(self, column: Any) -> list[ColumnElement[bool]]:
        """What no office has taken in belongs to all of its region."""

    def below(self, column: Any) -> ColumnElement[bool]:
        """Of the own office and those below it only."""


@dataclass(frozen=True, slots=True)
class Look:
    """`regions` is a prefix, `office` the path of the highest office seen."""

    now: datetime
    regions: str
    office: str = ""

    def of_region(self, column: Any) -> ColumnElement[bool]:
        return in_regions(column, self.regions)

    def of_office(self, column: Any) -> list[ColumnElement[bool]]:
        return [or_(column.is_(None), column.startswith(self.office))] if self.office else []

    def below(self, column: Any) -> ColumnElement[bool]:
        return column.startswith(self.office)  # type: ignore[no-any-return]

    @property
    def form(self) -> LookForm:
        return LookForm(bool(self.regions), bool(self.office))

    @property
    def values(self) -> dict[str, Any]:
        """For a statement made with `form`."""
        first, last = region_range(self.regions)
        return {"now": self.now, "first_region": first, "last_region": last, "office": self.office}


@dataclass(frozen=True, slots=True)
class LookForm:
    """What the looks of many have in common: values are given when a statement is run."""

    has_regions: bool
    has_office: bool

    @property
    def now(self) -> ColumnElement[datetime]:
        return bindparam("now", type_=UtcDateTime())

    def of_region(self, column: Any) -> ColumnElement[bool]:
        wanted: ColumnElement[bool] = column.between(_text("first_region"), _text("last_region"))
        return wanted if self.has_regions else true()

    def of_office(self, column: Any) -> list[ColumnElement[bool]]:
        return [or_(column.is_(None), self.below(column))] if self.has_office else []

    def below(self, column: Any) -> ColumnElement[bool]:
        return column.startswith(_text("office"))  # type: ignore[no-any-return]


def _text(name: str) -> BindParameter[str]:
    return bindparam(name, type_=String())


@dataclass(frozen=True, slots=True)
class Source:
    """`rows` selects `COLUMNS`, `sort` are the columns behind `at` and `key`; `key_type` as a cursor has it."""

    rows: Callable[[Asker], Select[Any]]
    sort: tuple[Any, Any]
    key_type: type = str


def fixed(value: str) -> ColumnElement[str]:
    """Written into the statement, so that the planner sees which partial index fits, whatever is prepared."""
    return literal(value, String, literal_execute=True)


def _columns(key: Any, at: Any, region: Any, **others: Any) -> list[ColumnElement[Any]]:
    given = {"key": key, "at": at, "region": region} | others
    nothing: dict[str, ColumnElement[Any]] = {name: null() for name in COLUMNS}
    return [(given.get(name, nothing[name])).label(name) for name in COLUMNS]


def _application(look: Asker, at: Any, *conditions: ColumnElement[bool] | TextClause) -> Select[Any]:
    row = ApplicationRow
    columns = _columns(
        row.id,
        at,
        row.region,
        office=row.office,
        application_id=row.id,
        card_number=row.card_number,
        person_id=row.person_id,
        due=row.case_deadline,
        step=row.case_step,
        reason=row.case_reason,
        owner=row.case_owner,
    )
    return select(*columns).where(*conditions, look.of_region(row.region), *look.of_office(row.office))


def _stuck(look: Asker) -> Select[Any]:
    row = ApplicationRow
    is_stuck = or_(row.case_reason.is_not(None), row.case_deadline <= look.now)
    return _application(look, row.case_deadline, row.case_step.is_not(None), row.case_step != "identity", is_stuck)


def _to_identify(look: Asker) -> Select[Any]:
    return _application(look, ApplicationRow.created_at, ApplicationRow.state == fixed("submitted"), _IS_OPEN)


def _to_issue(look: Asker) -> Select[Any]:
    """Those that no other clerk has still to look at; `step` tells of one that was sent back."""
    row = ApplicationRow
    is_stuck = or_(row.case_reason.is_not(None), row.case_deadline <= look.now)
    query = _application(look, row.created_at, row.state == fixed("checked"), _IS_OPEN)
    query = query.outerjoin(ReviewRow, ReviewRow.application_id == row.id).where(
        or_(row.case_step.is_(None), ~is_stuck), or_(ReviewRow.state.is_(None), ReviewRow.state != "waiting")
    )
    columns = {column.name: column for column in query.selected_columns} | {"step": ReviewRow.state.label("step")}
    return query.with_only_columns(*(columns[name] for name in COLUMNS), maintain_column_froms=True)


def _to_review(look: Asker) -> Select[Any]:
    row = ReviewRow
    columns = _columns(
        row.application_id,
        row.collected_at,
        row.region,
        office=row.collected_at_office,
        application_id=row.application_id,
        person_id=ApplicationRow.person_id,
        owner=row.collected_by,
    )
    query = select(*columns).join(ApplicationRow, ApplicationRow.id == row.application_id)
    return query.where(row.state == fixed("waiting"), look.of_region(row.region), look.below(row.collected_at_office))


def _to_approve(look: Asker) -> Select[Any]:
    row = ApprovalRow
    columns = _columns(
        row.id, row.asked_at, row.region, office=row.office, due=row.expires_at, step=row.act, owner=row.asked_by
    )
    return select(*columns).where(row.state == fixed("waiting"), row.expires_at > look.now, look.of_region(row.region))


def _newborns(look: Asker) -> Select[Any]:
    row = NewbornRow
    columns = _columns(row.id, row.deadline, row.region, due=row.deadline, owner=row.created_by)
    return select(*columns).where(row.state == fixed("waiting"), look.of_region(row.region))


def _to_hand_over(look: Asker) -> Select[Any]:
    """Finished cards that lie at an outlet."""
    row = BlankRow
    columns = _columns(
        row.reset_information,
        row.updated_at,
        ApplicationRow.region,
        office=row.place_id,
        application_id=ApplicationRow.id,
        card_number=ApplicationRow.card_number,
        person_id=ApplicationRow.person_id,
    )
    outlets = select(PlaceRow.id).where(PlaceRow.kind == "outlet", look.of_region(PlaceRow.region))
    # The OR says nothing beside the line above it, and keeps PostgreSQL from joining the places: it would sort all
    # cards by place first, where the index has them in the order of the queue.
    return (
        select(*columns)
        .join(ApplicationRow, ApplicationRow.id == row.application_id)
        .where(
            row.kind == fixed("finished"),
            row.state == fixed("reserved"),
            row.place_id.is_not(None),
            or_(row.place_id.in_(outlets), row.place_id.is_(None)),
        )
    )


def _to_rewrite(look: Asker) -> Select[Any]:
    row = RewriteRow
    columns = _columns(
        row.card_number,
        row.asked_at,
        CardRow.region,
        application_id=CardRow.application_id,
        card_number=row.card_number,
        person_id=CardRow.person_id,
        owner=row.asked_by,
    )
    return (
        select(*columns)
        .join(CardRow, CardRow.card_number == row.card_number)
        .where(CardRow.state != "9", look.of_region(CardRow.region))
    )


def _batches(states: Sequence[str]) -> Callable[[Asker], Select[Any]]:
    def rows(look: Asker) -> Select[Any]:
        row = BatchRow
        columns = _columns(row.id, row.updated_at, row.region, step=row.state, owner=row.updated_by, quantity=row.lines)
        return select(*columns).where(row.state.in_(states), look.of_region(row.region))

    return rows


def _accounts(look: Asker) -> Select[Any]:
    row = AccountRow
    columns = _columns(
        row.card_number,
        row.since,
        row.region,
        application_id=CardRow.application_id,
        card_number=row.card_number,
        person_id=CardRow.person_id,
        owner=row.by,
    )
    return (
        select(*columns)
        .join(CardRow, CardRow.card_number == row.card_number)
        .where(row.state == fixed("opening"), look.of_region(row.region))
    )


def _found(look: Asker) -> Select[Any]:
    """`step` is the next act: a lost or cancelled card is destroyed, and one that nobody fetched in time."""
    row = FoundCardRow
    is_useless = or_(CardRow.state.in_(("2", "9")), row.keep_until <= look.now)
    columns = _columns(
        row.id,
        row.keep_until,
        row.region,
        office=row.outlet,
        application_id=CardRow.application_id,
        card_number=row.card_number,
        person_id=CardRow.person_id,
        due=row.keep_until,
        step=case((is_useless, literal("destroy", String)), else_=literal("hand_back", String)),
        owner=row.registered_by,
    )
    return (
        select(*columns)
        .join(CardRow, CardRow.card_number == row.card_number)
        .where(row.state == fixed("kept"), look.of_region(row.region))
    )


_BY_AGE = (ApplicationRow.created_at, ApplicationRow.id)
_BY_CHANGE = (BatchRow.updated_at, BatchRow.id)
SOURCES: Final[dict[Queue, Source]] = {
    Queue.STUCK: Source(_stuck, (ApplicationRow.case_deadline, ApplicationRow.id)),
    Queue.TO_IDENTIFY: Source(_to_identify, _BY_AGE),
    Queue.TO_REVIEW: Source(_to_review, (ReviewRow.collected_at, ReviewRow.application_id)),
    Queue.TO_APPROVE: Source(_to_approve, (ApprovalRow.asked_at, ApprovalRow.id)),
    Queue.TO_ISSUE: Source(_to_issue, _BY_AGE),
    Queue.TO_HAND_OVER: Source(_to_hand_over, (BlankRow.updated_at, BlankRow.reset_information)),
    Queue.TO_REWRITE: Source(_to_rewrite, (RewriteRow.asked_at, RewriteRow.card_number)),
    Queue.WAITING_BANK: Source(_batches(AT_THE_BANK), _BY_CHANGE),
    Queue.WAITING_ACCOUNT: Source(_accounts, (AccountRow.since, AccountRow.card_number)),
    Queue.WAITING_FACTORY: Source(_batches(AT_THE_FACTORY), _BY_CHANGE),
    Queue.FOUND: Source(_found, (FoundCardRow.keep_until, FoundCardRow.id), int),
    Queue.NEWBORNS: Source(_newborns, (NewbornRow.deadline, NewbornRow.id)),
}
