"""`/v1/blanks`, `/v1/card-numbers`, `/v1/stock`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response, status

from issuance.clients.schemas import Region
from issuance.idempotency import OptionalKey, RequiredKey, once
from issuance.paging import Page, PageQuery
from issuance.stock.schemas import (
    BlankDelivery,
    NumberChange,
    NumberChanged,
    NumberRange,
    NumberView,
    Registered,
    StockView,
)
from issuance.stock.service import StockService
from issuance.unit import OperatorUnit

router = APIRouter(prefix="/v1", tags=["stock"])


@router.post("/blanks", status_code=status.HTTP_201_CREATED, summary="Register a delivery of blank cards")
async def deliver_blanks(
    delivery: BlankDelivery, unit: OperatorUnit, response: Response, key: OptionalKey = None
) -> Registered:
    async def make() -> Registered:
        return await StockService(unit).deliver(delivery)

    return await once(unit, response, "blanks", key, delivery, Registered, make)


@router.post("/card-numbers", status_code=status.HTTP_201_CREATED, summary="Put card numbers into the pool")
async def add_card_numbers(
    numbers: NumberRange, unit: OperatorUnit, response: Response, key: OptionalKey = None
) -> Registered:
    async def make() -> Registered:
        return await StockService(unit).add_numbers(numbers)

    return await once(unit, response, "card-numbers", key, numbers, Registered, make)


@router.get("/card-numbers", summary="List card numbers")
async def list_card_numbers(
    unit: OperatorUnit,
    page: PageQuery,
    region: Annotated[Region | None, Query()] = None,
    state: Annotated[Literal["free", "reserved", "used", "locked", "void"] | None, Query()] = None,
) -> Page[NumberView]:
    return await StockService(unit).numbers(region, state, page)


@router.post("/card-numbers/changes", summary="Lock, unlock or void card numbers")
async def change_card_numbers(
    change: NumberChange, unit: OperatorUnit, key: RequiredKey, response: Response
) -> NumberChanged:
    async def make() -> NumberChanged:
        return await StockService(unit).change_numbers(change)

    return await once(unit, response, "card-number-changes", key, change, NumberChanged, make)


@router.get("/stock", summary="Count blanks and card numbers by state")
async def view_stock(unit: OperatorUnit) -> StockView:
    return await StockService(unit).view()
