"""Found cards: taken in, handed back, destroyed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from starlette.responses import Response

from issuance.cards.found import FoundCards
from issuance.cards.life_cycle import LifeCycle
from issuance.cards.models import FoundCardRow
from issuance.cards.schemas import FoundCard, FoundCardView
from issuance.clerks.acts import Act
from issuance.console.acting import Confirm, Done, attempt, confirm
from issuance.console.forms import Form, parse
from issuance.console.holders import holder_of, shown_card
from issuance.console.lists import following, rows_of, tabs
from issuance.console.page import ROOT, Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.words import words
from issuance.database import MAX_ID
from issuance.paging import PageQuery, PageRequest
from issuance.problems import ProblemError
from issuance.unit import Unit

router = APIRouter(prefix="/found")
Reading = Annotated[Page, page_for(Act.QUEUE_READ)]
FoundId = Annotated[int, Path(ge=1, le=MAX_ID)]
How = Literal["returned", "destroyed"]
_STATES = ("kept", "returned", "destroyed")
_ACTS = {"returned": Act.FOUND_KEEP, "destroyed": Act.FOUND_DESTROY}


@router.get("")
async def find(page: Reading, asked: PageQuery, state: str = "kept") -> Response:
    return await _show(page, asked, state)


async def _show(page: Page, asked: PageRequest, state: str, **context: Any) -> Response:
    state = state if state in _STATES else "kept"
    async with page.desk.unit(is_reading=True) as unit:
        found = await FoundCards(unit).find(rows_of(asked), state=state, is_overdue=None)
    known = words(page.language)["found"]
    return page.show(
        "found.html",
        rows=found.items,
        state=state,
        shown_card=shown_card,
        now=page.desk.services.clock(),
        tabs=tabs("/found", "state", state, [(code, known[f"state_{code}"]) for code in _STATES]),
        following=following("/found", found.next_cursor, state=state),
        **context,
    )


@router.post("")
async def register(page: Annotated[Page, page_for(Act.FOUND_KEEP)]) -> Response:
    form = await Form.of(page.request)

    def read() -> FoundCard:
        number = form.get("card_number").upper()
        return parse(FoundCard, form.nested("outlet") | {"card_number": number})

    async def run(unit: Unit, order: FoundCard) -> FoundCardView:
        return await FoundCards(unit).register(order)

    done = await attempt(page, form, "found", read, FoundCardView, run)
    if isinstance(done, Refusal):
        return await _show(page, PageRequest(), "kept", form=form, refusal=done)
    return page.go("/found", said="found.said_kept")


@router.get("/{found_id}/{how}")
async def ask(found_id: FoundId, how: How, page: Reading) -> Response:
    async with page.desk.ahead():
        page.desk.who.demand(_ACTS[how])
    return await _confirm(page, found_id, how)


async def _confirm(page: Page, found_id: int, how: How, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        row = await unit.session.get(FoundCardRow, found_id)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such found card")
        card = await LifeCycle(unit).card(row.card_number, is_locking=False)
        holder = await holder_of(unit, card.person_id) if page.viewer.may(Act.PERSON_READ) else None
        outlet = row.outlet
    known = words(page.language)["found"]
    ask = Confirm(
        title=known[how],
        thing=shown_card(card.card_number),
        effects=known[f"effect_{how}"].split("\n"),
        action=f"{ROOT}/found/{found_id}/{how}",
        button=known[how],
        back=f"{ROOT}/found",
        facts=[
            (known["holder"], f"{holder.name}  {holder.number}" if holder else ""),
            (known["card_state"], page.term("card", card.state)),
            (known["outlet"], outlet),
        ],
        icon="lost" if how == "destroyed" else "check",
        is_grave=how == "destroyed",
    )
    return confirm(page, ask, "found", **context)


@router.post("/{found_id}/{how}")
async def end(found_id: FoundId, how: How, page: Reading) -> Response:
    async with page.desk.ahead():
        page.desk.who.demand(_ACTS[how])
    form = await Form.of(page.request)

    async def run(unit: Unit, _order: Done) -> FoundCardView:
        return await FoundCards(unit).end(found_id, how)

    done = await attempt(page, form, f"found.{how}:{found_id}", Done, FoundCardView, run)
    if isinstance(done, Refusal):
        return await _confirm(page, found_id, how, form=form, refusal=done)
    return page.go("/found", said=f"found.said_{how}")
