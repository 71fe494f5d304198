"""One card: both sides, what this clerk may do with it now, what happened to it, and the pages of the acts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter
from starlette.responses import Response

from cardlib.spec.loader import code_list
from cardlib.wire import HexId
from issuance.applications.models import ApplicationRow
from issuance.cards.models import CardRow
from issuance.cards.repository import CardRepository
from issuance.cards.schemas import CardEvent, CardView
from issuance.cards.service import CardService
from issuance.clerks.acts import Act
from issuance.clock import age_on
from issuance.console.card_acts import ACTS, CardAct, Held, Outcome, outcome_of
from issuance.console.forms import Form, parse
from issuance.console.holders import RELATIONS, Holder, holder_of, shown_card
from issuance.console.page import Page, page_for
from issuance.console.words import words
from issuance.ecards.repository import LinkRepository
from issuance.idempotency import once
from issuance.paging import PageRequest
from issuance.persons.checks import ADULT_AGE, parse_date
from issuance.problems import ProblemError
from issuance.unit import Unit

router = APIRouter(prefix="/cards")
Reading = Annotated[Page, page_for(Act.CARD_READ)]
_SHOWN_EVENTS = PageRequest(limit=20)
VISITS = {"pin_reset": Act.CARD_UNLOCK, "pin_unblock": Act.CARD_UNLOCK, "rewrite": Act.CARD_ISSUE}


@dataclass(frozen=True, slots=True)
class Shown:
    """`id`: of the application the card was made for; addresses of pages hold no card number."""

    id: str
    card: CardView
    holder: Holder
    events: list[CardEvent]
    chip: str

    @property
    def number(self) -> str:
        return shown_card(self.card.card_number)


async def card_of(unit: Unit, application_id: str) -> CardRow:
    """The card made for an application, or the one that has its number now. Raises NOT_FOUND."""
    application = await unit.session.get(ApplicationRow, application_id)
    number = None if application is None else application.card_number
    row = None if number is None else await CardRepository(unit.session).get(number)
    if row is None:
        raise ProblemError("NOT_FOUND", "no such card", application_id=application_id)
    return row


async def shown(unit: Unit, application_id: str) -> Shown:
    """Looking at a card is recorded."""
    row = await card_of(unit, application_id)
    service = CardService(unit)
    card = await service.view(row.card_number)
    holder = await holder_of(unit, row.person_id)
    events = await service.history(row.card_number, _SHOWN_EVENTS)
    return Shown(row.application_id, card, holder, events.items, row.reset_information)


def held(page: Page, card: CardView) -> Held:
    return Held(card, page.desk.rules(card.region), page.desk.today)


@router.get("/{application_id}")
async def show(application_id: HexId, page: Reading) -> Response:
    async with page.desk.unit() as unit:
        found = await shown(unit, application_id)
        channels = await LinkRepository(unit.session).of(found.card.ecard_no) if found.card.ecard_no else []
    how = held(page, found.card)
    acts = [act for act in ACTS.values() if page.viewer.may(act.act) and act.fits(how)]
    visits = [name for name, act in VISITS.items() if page.viewer.may(act) and _visits(found.card, name)]
    return page.show("card.html", shown=found, card=found.card, acts=acts, visits=visits, channels=channels)


def _visits(card: CardView, name: str) -> bool:
    """What the chip may be taken to the reader for."""
    return card.state == "1" and (name != "rewrite" or card.rewrite_pending)


# -- acts -------------------------------------------------------------------------------------------------------------


def _act(page: Page, name: str) -> CardAct:
    """Raises NOT_FOUND, ACT_FORBIDDEN."""
    if name not in ACTS:
        raise ProblemError("NOT_FOUND", "no such act")
    page.desk.who.demand(ACTS[name].act)
    return ACTS[name]


@router.get("/{application_id}/acts/{name}")
async def ask(application_id: HexId, name: str, page: Reading) -> Response:
    async with page.desk.ahead():
        act = _act(page, name)
    async with page.desk.unit() as unit:
        found = await shown(unit, application_id)
    return _confirm(page, act, found)


def _confirm(page: Page, act: CardAct, found: Shown, **context: Any) -> Response:
    how = held(page, found.card)
    return page.show(
        "card_act.html",
        act=act,
        shown=found,
        card=found.card,
        held=how,
        is_open=act.fits(how),
        causes=[(cause, words(page.language)["card"][f"cause_{cause}"]) for cause in how.causes],
        needs_second=page.desk.needs_second(act.act, found.card.region),
        needs_guardian=_age(page, found.holder) < how.rules.guardian_age,
        relations=[(code, page.term("relation", code)) for code in RELATIONS],
        ethnic_groups=sorted(code_list("ethnic_group").codes.items()),
        **context,
    )


def _age(page: Page, holder: Holder) -> int:
    born = parse_date(holder.birth_date)
    return ADULT_AGE if born is None else age_on(born, page.desk.today)


@router.post("/{application_id}/acts/{name}")
async def carry_out(application_id: HexId, name: str, page: Reading) -> Response:
    async with page.desk.ahead():
        act = _act(page, name)
    form = await Form.of(page.request)
    try:
        order = parse(act.order, form.nested("version", *act.filled) | dict(act.fixed) | {"reason": "counter"})
        async with page.desk.unit() as unit:
            number = (await card_of(unit, application_id)).card_number

            async def make() -> Outcome:
                return outcome_of(await act.run(unit, number, order, form.get("why") or name))

            scope = f"console.{name}:{number}"
            outcome = await once(unit, Response(), scope, form.key, order, Outcome, make)
    except Exception as error:
        refusal = page.refusal(error)
        async with page.desk.unit() as unit:
            found = await shown(unit, application_id)
        return _confirm(page, act, found, form=form, refusal=refusal)
    if outcome.application_id is not None:
        return page.go(f"/applications/{outcome.application_id}", said=f"card.said_{name}")
    said = {"asked": "card.said_asked", "already": "card.said_already"}.get(outcome.result, f"card.said_{name}")
    return page.go(f"/cards/{application_id}", said=said)
