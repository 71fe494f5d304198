"""What is done to cards in stock: delivered, sent, spoiled, taken back, counted, destroyed; and places for them.

Each act has one form; those that end a card say so beside the button, and destruction may need a second clerk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from issuance.clerks.acts import Act
from issuance.console.acting import Done, attempt
from issuance.console.forms import Form, parse
from issuance.console.offices import office_choices
from issuance.console.page import Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.stock import KINDS, by_two, cards_in, place_choices
from issuance.console.words import words
from issuance.offices.service import OfficeService
from issuance.problems import ProblemError
from issuance.stock.movement_schemas import (
    DestroyOrder,
    PlaceRequest,
    PlaceView,
    ReturnOrder,
    SpoilOrder,
    StocktakeOrder,
    StocktakeView,
    TransferRequest,
    TransferView,
)
from issuance.stock.movements import MovementService
from issuance.stock.schemas import BlankDelivery
from issuance.stock.service import StockService
from issuance.unit import Unit

router = APIRouter(prefix="/stock")
Reading = Annotated[Page, page_for(Act.STOCK_READ)]


@dataclass(frozen=True, slots=True)
class StockAct:
    """`filled` are the fields of the form beside the cards, `cards` the field that they are in."""

    name: str
    act: Act
    icon: str
    order: type[BaseModel]
    answer: type[BaseModel]
    run: Callable[[Unit, Any, str], Awaitable[BaseModel]]
    filled: tuple[str, ...]
    cards: str = "cards"
    kinds: tuple[str, ...] = ()
    is_grave: bool = False


async def _deliver(unit: Unit, order: BlankDelivery, _why: str) -> BaseModel:
    await StockService(unit).deliver(order)
    return Done()


async def _send(unit: Unit, order: TransferRequest, _why: str) -> BaseModel:
    return await MovementService(unit).send(order)


async def _spoil(unit: Unit, order: SpoilOrder, _why: str) -> BaseModel:
    await MovementService(unit).spoil(order)
    return Done()


async def _give_back(unit: Unit, order: ReturnOrder, _why: str) -> BaseModel:
    await MovementService(unit).give_back(order)
    return Done()


async def _count(unit: Unit, order: StocktakeOrder, _why: str) -> BaseModel:
    return await MovementService(unit).take_stock(order)


async def _destroy(unit: Unit, order: DestroyOrder, why: str) -> BaseModel:
    return await by_two(unit, Act.STOCK_DESTROY, order, why)


ACTS: Final[dict[str, StockAct]] = {
    act.name: act
    for act in (
        StockAct(
            "deliver",
            Act.STOCK_DELIVER,
            "card",
            BlankDelivery,
            Done,
            _deliver,
            ("delivery", "region", "generation", "kind", "place_id"),
            cards="reset_information",
            kinds=("blank", "pre_printed"),
        ),
        StockAct(
            "send",
            Act.STOCK_MOVE,
            "bus",
            TransferRequest,
            TransferView,
            _send,
            ("from_place", "to_place", "kind", "reference"),
            kinds=KINDS,
        ),
        StockAct(
            "count",
            Act.STOCK_COUNT,
            "check",
            StocktakeOrder,
            StocktakeView,
            _count,
            ("place_id", "kind", "correct", "reason"),
            kinds=KINDS,
        ),
        StockAct(
            "spoil",
            Act.STOCK_MOVE,
            "cross",
            SpoilOrder,
            Done,
            _spoil,
            ("place_id", "kind", "reason"),
            kinds=("blank", "pre_printed"),
            is_grave=True,
        ),
        StockAct(
            "return", Act.STOCK_MOVE, "back", ReturnOrder, Done, _give_back, ("place_id", "reason"), is_grave=True
        ),
        StockAct(
            "destroy", Act.STOCK_DESTROY, "lost", DestroyOrder, Done, _destroy, ("place_id", "witnesses"), is_grave=True
        ),
    )
}


def _act(page: Page, name: str) -> StockAct:
    """Raises NOT_FOUND, ACT_FORBIDDEN."""
    if name not in ACTS:
        raise ProblemError("NOT_FOUND", "no such act")
    page.desk.who.demand(ACTS[name].act)
    return ACTS[name]


@router.get("/acts/{name}")
async def ask(name: str, page: Reading) -> Response:
    async with page.desk.ahead():
        act = _act(page, name)
    return await _form(page, act)


async def _form(page: Page, act: StockAct, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        places = await place_choices(unit)
    known = words(page.language)["stock"]
    return page.show(
        "stock_act.html",
        act=act,
        places=[(place.id, f"{place.name}（{place.id}）") for place in places],
        kinds=[(kind, known[f"kind_{kind}"]) for kind in act.kinds],
        needs_second=page.desk.needs_second(act.act, page.viewer.region),
        **context,
    )


def _read(act: StockAct, form: Form) -> BaseModel:
    given = form.nested(*(name for name in act.filled if name != "witnesses"))
    if "witnesses" in act.filled:
        given["witnesses"] = [form.get("first_witness"), form.get("second_witness")]
    return parse(act.order, given | {act.cards: cards_in(form.get(act.cards))})


@router.post("/acts/{name}")
async def carry_out(name: str, page: Reading) -> Response:
    async with page.desk.ahead():
        act = _act(page, name)
    form = await Form.of(page.request)

    async def run(unit: Unit, order: BaseModel) -> BaseModel:
        return await act.run(unit, order, form.get("why") or words(page.language)["stock"][f"act_{name}"])

    done = await attempt(page, form, f"stock.{name}", lambda: _read(act, form), act.answer, run)
    if isinstance(done, Refusal):
        return await _form(page, act, form=form, refusal=done)
    if isinstance(done, StocktakeView):
        return await _form(page, act, form=form, count=done)
    if isinstance(done, TransferView):
        return page.go(f"/stock/transfers/{done.id}", said="stock.said_send")
    is_asked = isinstance(done, Done) and done.is_asked
    return page.go("/stock", said="stock.said_asked" if is_asked else f"stock.said_{name}")


# -- places -----------------------------------------------------------------------------------------------------------

Placing = Annotated[Page, page_for(Act.STOCK_PLACE)]


class OfficeChoice(BaseModel):
    office_id: int = Field(ge=1, le=2**31 - 1)


@router.get("/places/new")
async def ask_place(page: Placing) -> Response:
    return await _place(page)


async def _place(page: Page, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        places = await place_choices(unit)
        offices = await office_choices(unit, page.language)
    depots = [(place.id, place.name) for place in places if place.kind == "depot"]
    return page.show("stock_place.html", depots=depots, offices=offices, **context)


@router.post("/places/new")
async def add_place(page: Placing) -> Response:
    form = await Form.of(page.request)

    def read() -> PlaceRequest:
        return parse(PlaceRequest, form.nested("id", "kind", "name", "region", "parent_id"))

    async def run(unit: Unit, order: PlaceRequest) -> PlaceView:
        if "office_id" in form:
            office = await OfficeService(unit).get(parse(OfficeChoice, form.nested("office_id")).office_id)
            order = order.model_copy(update={"office": office.path})
        return await MovementService(unit).add_place(order)

    done = await attempt(page, form, "place", read, PlaceView, run)
    if isinstance(done, Refusal):
        return await _place(page, form=form, refusal=done)
    return page.go("/stock", said="stock.said_place")
