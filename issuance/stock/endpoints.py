"""`/v1/blanks`, `/v1/card-numbers`, `/v1/stock`."""

from __future__ import annotations

from fastapi import APIRouter, status

from issuance.stock.schemas import BlankDelivery, NumberRange, Registered, StockView
from issuance.stock.service import StockService
from issuance.unit import OperatorUnit

router = APIRouter(prefix="/v1", tags=["stock"])


@router.post("/blanks", status_code=status.HTTP_201_CREATED, summary="Register a delivery of blank cards")
async def deliver_blanks(delivery: BlankDelivery, unit: OperatorUnit) -> Registered:
    return await StockService(unit).deliver(delivery)


@router.post("/card-numbers", status_code=status.HTTP_201_CREATED, summary="Put card numbers into the pool")
async def add_card_numbers(numbers: NumberRange, unit: OperatorUnit) -> Registered:
    return await StockService(unit).add_numbers(numbers)


@router.get("/stock", summary="Count blanks and card numbers by state")
async def view_stock(unit: OperatorUnit) -> StockView:
    return await StockService(unit).view()
