"""`/v1/bank`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, status

from issuance.bank.reconciliation import reconcile_now
from issuance.bank.schemas import BankNotice, DifferenceView, NoticeResult, ReconciliationOrder, ReconciliationView
from issuance.bank.service import BankService, view_of
from issuance.database import MAX_ID
from issuance.paging import Page, PageQuery
from issuance.problems import ProblemError
from issuance.unit import BankUnit, OperatorDesk, OperatorUnit

router = APIRouter(prefix="/v1/bank", tags=["bank"])


@router.post("/notices", summary="The bank tells what happened to an account: activated, lost, frozen, closed")
async def notice(notice: BankNotice, unit: BankUnit) -> NoticeResult:
    return await BankService(unit).take(notice)


@router.get("/reconciliations", summary="Comparisons with the bank, newest first")
async def reconciliations(unit: OperatorUnit, page: PageQuery) -> Page[ReconciliationView]:
    return await BankService(unit).reconciliations(page)


@router.post(
    "/reconciliations", status_code=status.HTTP_201_CREATED, summary="Compare all accounts with the bank's now"
)
async def compare_now(order: ReconciliationOrder, desk: OperatorDesk) -> ReconciliationView:
    """In transactions of its own, one for each difference; asked for twice it compares twice."""
    async with desk.ahead():
        if desk.caller.region is not None:
            raise ProblemError("CLIENT_FORBIDDEN", "all accounts are compared, not those of one region")
        run = await reconcile_now(desk, order.reason)
    return view_of(run)


@router.get("/reconciliations/{reconciliation_id}/differences", summary="On which cards the two differed, and the end")
async def differences(
    reconciliation_id: Annotated[int, Path(ge=1, le=MAX_ID)], unit: OperatorUnit, page: PageQuery
) -> Page[DifferenceView]:
    return await BankService(unit).differences(reconciliation_id, page)
