"""Stuck cases, answers of the register, cards that lie ready: what a row of a queue is taken on with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter
from sqlalchemy import select
from starlette.responses import Response

from cardlib.wire import HexId
from issuance.applications.case_schemas import NextAction, NextActionOrder
from issuance.applications.cases import WORDS, StuckCases, actions_of
from issuance.applications.models import ApplicationRow
from issuance.applications.schemas import ApplicationView
from issuance.applications.service import ApplicationService
from issuance.clerks.acts import Act
from issuance.console.acting import Confirm, attempt, confirm
from issuance.console.forms import Form, parse
from issuance.console.holders import Holder, holder_of, shown_card
from issuance.console.page import ROOT, Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.times import china
from issuance.console.words import words
from issuance.identity.service import check_again, record_answer
from issuance.problems import ProblemError
from issuance.production.handling import HandlingService
from issuance.production.schemas import Collected, Collection
from issuance.stock.models import BlankRow, PlaceRow
from issuance.unit import Unit

router = APIRouter(prefix="/queues")
Resuming = Annotated[Page, page_for(Act.APPLICATION_RESUME)]
HandingOver = Annotated[Page, page_for(Act.CARD_HAND_OVER)]
_A = NextAction
IS_DONE_AT_ONCE: Final = frozenset({_A.RETRY_PAYMENT, _A.REINSERT, _A.REPRINT, _A.RESUME})
"""By the button itself; the others end something or are somebody's word, and have a page that asks."""
_TO_THE_READER: Final = frozenset({_A.REINSERT, _A.REPRINT})
_GRAVE: Final = frozenset({_A.WRITE_OFF, _A.WRITE_OFF_FINAL, _A.REJECT, _A.CANCEL_MARK})
_ACTS: Final = {
    _A.WRITE_OFF: Act.CARD_WRITE_OFF,
    _A.WRITE_OFF_FINAL: Act.CARD_WRITE_OFF,
    _A.REJECT: Act.APPLICATION_REJECT,
}
"""What an action needs beside `application.resume`, which opens the pages."""


@dataclass(frozen=True, slots=True)
class Case:
    row: ApplicationRow
    holder: Holder

    @property
    def reason(self) -> str:
        return self.row.case_reason or "TIMEOUT"


@dataclass(frozen=True, slots=True)
class Offer:
    action: NextAction
    text: str
    path: str
    is_done_at_once: bool
    is_grave: bool


async def _case(unit: Unit, application_id: str) -> Case:
    row = await ApplicationService(unit).row(application_id, is_locking=False)
    return Case(row, await holder_of(unit, row.person_id))


@router.get("/cases/{application_id}")
async def show(application_id: HexId, page: Resuming) -> Response:
    return await _show(page, application_id)


async def _show(page: Page, application_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        case = await _case(unit, application_id)
    offers = [_offer(page, application_id, action) for action in actions_of(case.row) if _may(page, action)]
    return page.show("case.html", case=case, row=case.row, offers=offers, **context)


def _may(page: Page, action: NextAction) -> bool:
    return action not in _ACTS or page.viewer.may(_ACTS[action])


def _offer(page: Page, application_id: str, action: NextAction) -> Offer:
    text = WORDS[action][0 if page.language == "zh" else 1]
    path = f"{ROOT}/queues/cases/{application_id}/{action.value}"
    return Offer(action, text, path, action in IS_DONE_AT_ONCE, action in _GRAVE)


@router.get("/cases/{application_id}/{action}")
async def ask(application_id: HexId, action: NextAction, page: Resuming) -> Response:
    async with page.desk.ahead():
        _demand(page, action)
    return await _ask(page, application_id, action)


def _demand(page: Page, action: NextAction) -> None:
    """Raises NOT_FOUND, ACT_FORBIDDEN."""
    if action is NextAction.ASK_REGISTER:
        raise ProblemError("NOT_FOUND", "the register is asked by the queue's own button")
    if action in _ACTS:
        page.desk.who.demand(_ACTS[action])


async def _ask(page: Page, application_id: str, action: NextAction, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        case = await _case(unit, application_id)
    offer, known = _offer(page, application_id, action), words(page.language)["queues"]
    asked = Confirm(
        title=offer.text,
        thing=case.holder.name,
        effects=known[f"effect_{action.value}"].split("\n"),
        action=offer.path,
        button=offer.text,
        back=f"{ROOT}/queues/cases/{application_id}",
        facts=[
            (known["holder"], f"{case.holder.name}  {case.holder.number}"),
            (known["card"], shown_card(case.row.card_number)),
            (known["why"], page.failure(case.reason)),
        ],
        icon="cross" if offer.is_grave else "check",
        is_grave=offer.is_grave,
        reason=known["reason"],
    )
    return confirm(page, asked, "queues", **context)


@router.post("/cases/{application_id}/{action}")
async def act(application_id: HexId, action: NextAction, page: Resuming) -> Response:
    async with page.desk.ahead():
        _demand(page, action)
    form = await Form.of(page.request)

    def read() -> NextActionOrder:
        return parse(NextActionOrder, form.nested("reason") | {"action": action})

    async def run(unit: Unit, order: NextActionOrder) -> ApplicationView:
        return await StuckCases(unit).act(application_id, order)

    done = await attempt(page, form, f"case:{application_id}", read, ApplicationView, run)
    if isinstance(done, Refusal):
        again = _show(page, application_id, form=form, refusal=done) if action in IS_DONE_AT_ONCE else None
        return await (again or _ask(page, application_id, action, form=form, refusal=done))
    if action in _TO_THE_READER:
        return page.go(f"/counter/applications/{application_id}", said="queues.said_taken")
    return page.go("/queues", said="queues.said_done")


@router.post("/identity/{application_id}")
async def ask_register(application_id: HexId, page: Resuming) -> Response:
    """Asked as often as the button is pressed: the register's word is what counts."""
    try:
        answer = await check_again(page.desk, application_id)
        async with page.desk.unit() as unit:
            view = await record_answer(unit, application_id, answer)
    except Exception as error:
        return await _show(page, application_id, refusal=page.refusal(error))
    said = "queues.said_register_silent" if view.state == "submitted" else "queues.said_register"
    return page.go(f"/applications/{application_id}", said=said)


# -- finished cards at an outlet --------------------------------------------------------------------------------------


async def _lying(unit: Unit, application_id: str) -> tuple[Case, PlaceRow]:
    """Raises NOT_FOUND where no finished card of this application lies at a place."""
    case = await _case(unit, application_id)
    query = (
        select(PlaceRow)
        .join(BlankRow, BlankRow.place_id == PlaceRow.id)
        .where(BlankRow.application_id == application_id, BlankRow.kind == "finished", BlankRow.state == "reserved")
    )
    place = await unit.session.scalar(query)
    if place is None:
        raise ProblemError("NOT_FOUND", "no finished card lies here", application_id=application_id)
    return case, place


@router.get("/hand-over/{application_id}")
async def ask_hand_over(application_id: HexId, page: HandingOver) -> Response:
    return await _ask_hand_over(page, application_id)


async def _ask_hand_over(page: Page, application_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        case, place = await _lying(unit, application_id)
    known = words(page.language)["queues"]
    asked = Confirm(
        title=known["hand_over"],
        thing=case.holder.name,
        effects=known["effect_hand_over"].split("\n"),
        action=f"{ROOT}/queues/hand-over/{application_id}",
        button=known["hand_over_done"],
        back=f"{ROOT}/queues?queue=to_hand_over",
        facts=[
            (known["holder"], f"{case.holder.name}  {case.holder.number}"),
            (known["card"], shown_card(case.row.card_number)),
            (known["place"], place.name),
            (known["applied"], china(case.row.created_at)),
        ],
        icon="check",
        is_grave=False,
    )
    return confirm(page, asked, "queues", **context)


@router.post("/hand-over/{application_id}")
async def hand_over(application_id: HexId, page: HandingOver) -> Response:
    form = await Form.of(page.request)
    try:
        async with page.desk.unit(is_reading=True) as unit:
            case, place = await _lying(unit, application_id)
            number, order = case.row.card_number or "", Collection(place_id=place.id)
    except Exception as error:
        page.refusal(error)
        return page.go(f"/cards/{application_id}")  # handed over before: the form was sent twice

    async def run(unit: Unit, asked: Collection) -> Collected:
        return await HandlingService(unit).collect(number, asked)

    done = await attempt(page, form, f"collect:{number}", lambda: order, Collected, run)
    if isinstance(done, Refusal):
        return await _ask_hand_over(page, application_id, form=form, refusal=done)
    return page.go(f"/cards/{application_id}", said="queues.said_handed_over")
