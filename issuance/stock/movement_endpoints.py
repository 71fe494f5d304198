"""`/v1/stock/…`: places, transfers, what ends a card, stocktake, ledger and daily balance."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response, status

from cardlib.wire import HexId
from issuance.clients.schemas import Region
from issuance.clock import china_date
from issuance.idempotency import RequiredKey, once
from issuance.paging import Page, PageQuery
from issuance.stock.balance import BalanceService
from issuance.stock.movement_schemas import (
    BalanceView,
    ClosePlace,
    DayClosed,
    DestroyOrder,
    Moved,
    MovementView,
    PlaceRequest,
    PlaceView,
    Receipt,
    ReturnOrder,
    Settlement,
    SpoilOrder,
    StocktakeOrder,
    StocktakeView,
    TransferRequest,
    TransferView,
)
from issuance.stock.movements import MovementService
from issuance.stock.schemas import PlaceId
from issuance.unit import OperatorUnit

router = APIRouter(prefix="/v1/stock", tags=["stock movements"])
PlacePath = Annotated[PlaceId, Path()]
TransferPath = Annotated[HexId, Path()]


@router.post("/places", status_code=status.HTTP_201_CREATED, summary="Register a depot or an outlet")
async def add_place(request: PlaceRequest, unit: OperatorUnit, key: RequiredKey, response: Response) -> PlaceView:
    async def make() -> PlaceView:
        return await MovementService(unit).add_place(request)

    return await once(unit, response, "places", key, request, PlaceView, make)


@router.get("/places", summary="List depots and outlets")
async def list_places(unit: OperatorUnit, page: PageQuery) -> Page[PlaceView]:
    return await MovementService(unit).places(page)


@router.post("/places/{place_id}/close", summary="Close an empty place")
async def close_place(
    place_id: PlacePath, order: ClosePlace, unit: OperatorUnit, key: RequiredKey, response: Response
) -> PlaceView:
    async def make() -> PlaceView:
        return await MovementService(unit).close_place(place_id, order)

    return await once(unit, response, f"close:{place_id}", key, order, PlaceView, make)


@router.post("/transfers", status_code=status.HTTP_201_CREATED, summary="Send cards to another place")
async def send(request: TransferRequest, unit: OperatorUnit, key: RequiredKey, response: Response) -> TransferView:
    async def make() -> TransferView:
        return await MovementService(unit).send(request)

    return await once(unit, response, "transfers", key, request, TransferView, make)


@router.get("/transfers", summary="List transfers, newest first")
async def list_transfers(
    unit: OperatorUnit,
    page: PageQuery,
    state: Annotated[Literal["sent", "received", "short", "settled"] | None, Query()] = None,
) -> Page[TransferView]:
    return await MovementService(unit).transfers(state, page)


@router.post("/transfers/{transfer_id}/receipt", summary="Confirm what arrived")
async def receive(
    transfer_id: TransferPath, receipt: Receipt, unit: OperatorUnit, key: RequiredKey, response: Response
) -> TransferView:
    async def make() -> TransferView:
        return await MovementService(unit).receive(transfer_id, receipt)

    return await once(unit, response, f"receipt:{transfer_id}", key, receipt, TransferView, make)


@router.post("/transfers/{transfer_id}/settlement", summary="Say what became of cards that did not arrive")
async def settle(
    transfer_id: TransferPath, order: Settlement, unit: OperatorUnit, key: RequiredKey, response: Response
) -> TransferView:
    async def make() -> TransferView:
        return await MovementService(unit).settle(transfer_id, order)

    return await once(unit, response, f"settlement:{transfer_id}", key, order, TransferView, make)


@router.post("/spoils", summary="Set cards of a place aside as spoiled")
async def spoil(order: SpoilOrder, unit: OperatorUnit, key: RequiredKey, response: Response) -> Moved:
    async def make() -> Moved:
        return await MovementService(unit).spoil(order)

    return await once(unit, response, "spoils", key, order, Moved, make)


@router.post("/destructions", summary="Record that spoiled cards were destroyed before two witnesses")
async def destroy(order: DestroyOrder, unit: OperatorUnit, key: RequiredKey, response: Response) -> Moved:
    async def make() -> Moved:
        return await MovementService(unit).destroy(order)

    return await once(unit, response, "destructions", key, order, Moved, make)


@router.post("/returns", summary="Take cards back that holders gave up")
async def give_back(order: ReturnOrder, unit: OperatorUnit, key: RequiredKey, response: Response) -> Moved:
    async def make() -> Moved:
        return await MovementService(unit).give_back(order)

    return await once(unit, response, "returns", key, order, Moved, make)


@router.post("/stocktakes", summary="Compare what was found at a place with the books")
async def take_stock(order: StocktakeOrder, unit: OperatorUnit, key: RequiredKey, response: Response) -> StocktakeView:
    async def make() -> StocktakeView:
        return await MovementService(unit).take_stock(order)

    return await once(unit, response, "stocktakes", key, order, StocktakeView, make)


@router.get("/movements", summary="Read the ledger, newest first")
async def list_movements(
    unit: OperatorUnit, page: PageQuery, place_id: Annotated[PlaceId | None, Query()] = None
) -> Page[MovementView]:
    return await MovementService(unit).movements(place_id, page)


@router.post("/days/{day}/close", summary="Keep the counts of a day that is over")
async def close_day(day: Annotated[date, Path()], unit: OperatorUnit) -> DayClosed:
    return DayClosed(day=day, counts=await BalanceService(unit).close(day))


@router.get("/balance", summary="Balance of one day by place and kind, with the cards that differ")
async def balance(
    unit: OperatorUnit,
    day: Annotated[date | None, Query(description="Date in China, today without one")] = None,
    place_id: Annotated[PlaceId | None, Query()] = None,
    region: Annotated[Region | None, Query()] = None,
) -> BalanceView:
    return await BalanceService(unit).report(day or china_date(unit.now), place_id=place_id, region=region)
