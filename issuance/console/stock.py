"""Stock as it stands: cards of each place, transfers, movements, card numbers, the balance of a day."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from cardlib.wire import HexId
from issuance.clerks.acts import Act
from issuance.clerks.approvals import ApprovalService
from issuance.clerks.schemas import ApprovalView
from issuance.console.acting import Done, attempt
from issuance.console.forms import Form, parse
from issuance.console.lists import following, rows_of, tabs
from issuance.console.page import Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.words import words
from issuance.paging import PageQuery, PageRequest
from issuance.stock.balance import BalanceService
from issuance.stock.movement_schemas import BalanceView, DayClosed, PlaceView, Receipt, Settlement, TransferView
from issuance.stock.movements import MovementService
from issuance.stock.schemas import NumberChange, NumberRange, PlaceId, Registered
from issuance.stock.service import StockService
from issuance.unit import Unit

router = APIRouter(prefix="/stock")
Reading = Annotated[Page, page_for(Act.STOCK_READ)]
Moving = Annotated[Page, page_for(Act.STOCK_MOVE)]
KINDS = ("blank", "pre_printed", "finished", "spoiled")
_TRANSFERS = ("sent", "short", "received", "settled")
_NUMBERS = ("free", "reserved", "used", "locked", "void")
_CHOICES = 500


async def place_choices(unit: Unit) -> list[PlaceView]:
    """Open places of the clerk's scope."""
    found = await MovementService(unit).places(PageRequest(_CHOICES))
    return [place for place in found.items if place.state == "open"]


def cards_in(text: str) -> list[str]:
    """Reset information typed or scanned, one a line or between blanks and commas."""
    return text.upper().replace(",", " ").split()


@router.get("")
async def show(page: Reading, asked: PageQuery) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        places = await MovementService(unit).places(rows_of(asked))
        standing = await BalanceService(unit).standing([place.id for place in places.items])
        pools = await StockService(unit).pools()
    return page.show(
        "stock.html",
        places=places.items,
        lying=standing.lying,
        balance=standing,
        numbers=pools,
        kinds=KINDS,
        following=following("/stock", places.next_cursor),
    )


@router.get("/movements")
async def movements(page: Reading, asked: PageQuery, place: Annotated[PlaceId | None, Query()] = None) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        found = await MovementService(unit).movements(place, rows_of(asked))
        names = await _names(unit)
    return page.show(
        "stock_movements.html",
        rows=found.items,
        names=names,
        place=place,
        following=following("/stock/movements", found.next_cursor, place=place),
    )


async def _names(unit: Unit) -> dict[str, str]:
    """Of the places of the clerk's scope; another region's has no name here but its id."""
    found = await MovementService(unit).places(PageRequest(_CHOICES))
    return {place.id: place.name for place in found.items}


# -- transfers --------------------------------------------------------------------------------------------------------


@router.get("/transfers")
async def transfers(page: Reading, asked: PageQuery, state: str = "sent") -> Response:
    state = state if state in _TRANSFERS else "sent"
    async with page.desk.unit(is_reading=True) as unit:
        found = await MovementService(unit).transfers(state, rows_of(asked))
        names = await _names(unit)
    known = words(page.language)["stock"]
    return page.show(
        "stock_transfers.html",
        rows=found.items,
        names=names,
        state=state,
        tabs=tabs("/stock/transfers", "state", state, [(code, known[f"transfer_{code}"]) for code in _TRANSFERS]),
        following=following("/stock/transfers", found.next_cursor, state=state),
    )


@router.get("/transfers/{transfer_id}")
async def transfer(transfer_id: HexId, page: Reading) -> Response:
    return await _transfer(page, transfer_id)


async def _transfer(page: Page, transfer_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        found = await MovementService(unit).transfer(transfer_id)
        names = await _names(unit)
    return page.show("stock_transfer.html", transfer=found, names=names, **context)


@router.post("/transfers/{transfer_id}/{word}")
async def answer(transfer_id: HexId, word: Literal["receive", "settle"], page: Moving) -> Response:
    form = await Form.of(page.request)

    def read() -> Receipt | Settlement:
        if word == "settle":
            return parse(Settlement, form.nested("version", "outcome", "reason"))
        cards = {"cards": cards_in(form.get("cards"))} if "cards" in form else {}
        return parse(Receipt, form.nested("version") | cards)

    async def run(unit: Unit, order: Receipt | Settlement) -> TransferView:
        service = MovementService(unit)
        if isinstance(order, Receipt):
            return await service.receive(transfer_id, order)
        return await service.settle(transfer_id, order)

    done = await attempt(page, form, f"transfer.{word}:{transfer_id}", read, TransferView, run)
    if isinstance(done, Refusal):
        return await _transfer(page, transfer_id, form=form, refusal=done)
    return page.go(f"/stock/transfers/{transfer_id}", said=f"stock.said_{done.state}")


# -- card numbers -----------------------------------------------------------------------------------------------------


@router.get("/numbers")
async def numbers(page: Reading, asked: PageQuery, state: str = "locked") -> Response:
    return await _numbers(page, asked, state)


async def _numbers(page: Page, asked: PageRequest, state: str, **context: Any) -> Response:
    state = state if state in _NUMBERS else "locked"
    async with page.desk.unit(is_reading=True) as unit:
        pools = await StockService(unit).pools()
        found = await StockService(unit).numbers(None, state, rows_of(asked))
    known = words(page.language)["stock"]
    return page.show(
        "stock_numbers.html",
        counts=pools,
        rows=found.items,
        state=state,
        needs_second=page.desk.needs_second(Act.NUMBER_CHANGE, page.viewer.region),
        tabs=tabs("/stock/numbers", "state", state, [(code, known[f"number_{code}"]) for code in _NUMBERS]),
        following=following("/stock/numbers", found.next_cursor, state=state),
        **context,
    )


@router.post("/numbers/range")
async def add_range(page: Annotated[Page, page_for(Act.STOCK_DELIVER)]) -> Response:
    form = await Form.of(page.request)

    def read() -> NumberRange:
        return parse(NumberRange, form.nested("region", "body_from", "count"))

    async def run(unit: Unit, order: NumberRange) -> Registered:
        return await StockService(unit).add_numbers(order)

    done = await attempt(page, form, "card-numbers", read, Registered, run)
    if isinstance(done, Refusal):
        return await _numbers(page, PageRequest(), "free", form=form, refusal=done)
    return page.go("/stock/numbers", said="stock.said_numbers")


@router.post("/numbers/change")
async def change_numbers(page: Annotated[Page, page_for(Act.NUMBER_CHANGE)]) -> Response:
    form = await Form.of(page.request)

    def read() -> NumberChange:
        return parse(NumberChange, form.nested("act", "reason") | {"numbers": cards_in(form.get("numbers"))})

    async def run(unit: Unit, order: NumberChange) -> Done:
        return await by_two(unit, Act.NUMBER_CHANGE, order, order.reason)

    done = await attempt(page, form, "card-number-changes", read, Done, run)
    if isinstance(done, Refusal):
        return await _numbers(page, PageRequest(), "locked", form=form, refusal=done)
    return page.go("/stock/numbers", said="stock.said_asked" if done.is_asked else "stock.said_numbers")


async def by_two(unit: Unit, act: Act, order: BaseModel, reason: str) -> Done:
    """Done at once, or asked for where the region's rules want a second clerk."""
    answer = await ApprovalService(unit).perform(act, order.model_dump(mode="json"), reason)
    return Done(is_asked=isinstance(answer, ApprovalView))


# -- the balance of a day ---------------------------------------------------------------------------------------------


@router.get("/balance")
async def balance(page: Reading, asked: PageQuery, day: date | None = None) -> Response:
    return await _balance(page, asked, day or page.desk.today)


async def _balance(page: Page, asked: PageRequest, day: date, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        places = await MovementService(unit).places(rows_of(asked))
        refusal = context.pop("refusal", None)
        try:
            report = await BalanceService(unit).of([place.id for place in places.items], day)
        except Exception as error:
            refusal, report = page.refusal(error), BalanceView(day=day, is_zero=True, in_transit=0, lines=[])
        names = {place.id: place.name for place in places.items}
    return page.show(
        "stock_balance.html",
        report=report,
        names=names,
        may_close=day < page.desk.today and page.viewer.may(Act.STOCK_COUNT),
        today=page.desk.today,
        refusal=refusal,
        following=following("/stock/balance", places.next_cursor, day=day.isoformat()),
        **context,
    )


@router.post("/balance/{day}/close")
async def close_day(day: date, page: Annotated[Page, page_for(Act.STOCK_COUNT)]) -> Response:
    form = await Form.of(page.request)

    async def run(unit: Unit, _order: Done) -> DayClosed:
        return DayClosed(day=day, counts=await BalanceService(unit).close(day))

    done = await attempt(page, form, f"day:{day}", Done, DayClosed, run)
    if isinstance(done, Refusal):
        return await _balance(page, PageRequest(), day, form=form, refusal=done)
    return page.go("/stock/balance", said="stock.said_day")
