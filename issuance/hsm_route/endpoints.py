"""`/v1/hsm`: the security-module route; the messages are those of `cardlib.hsm_wire`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, status

from cardlib.hsm_wire import BasicStep, CardStep, DebitAnswer, DebitOutcome, DebitView, StepAnswer
from issuance.hsm_route.service import NUMBERS_FROM, HsmRouteService
from issuance.unit import AttendedTerminalUnit, RecordedCounterUnit, TerminalUnit

router = APIRouter(prefix="/v1/hsm", tags=["security module"])
_MAX_NUMBER = 0xFFFFFFFF


@router.post("/basic-information", summary="pKey for iReadCardBas_HSM_Step2")
async def basic_information(request: BasicStep, unit: TerminalUnit) -> StepAnswer:
    return await HsmRouteService(unit).basic_information(request)


@router.post("/authentications", summary="pKey for Step2 of reading, writing, PIN reload and unblock")
async def authentication(request: CardStep, unit: TerminalUnit) -> StepAnswer:
    return await HsmRouteService(unit).authentication(request)


@router.post("/pin-commands", summary="pKey for Step3 of PIN reload and unblock: the secured command")
async def pin_command(request: CardStep, unit: AttendedTerminalUnit) -> StepAnswer:
    return await HsmRouteService(unit).pin_command(request)


@router.post(
    "/debits",
    status_code=status.HTTP_201_CREATED,
    summary="Order a settlement: pKey for iDoDebit_HSM_Step2; the same request finds the same order",
)
async def debit(request: CardStep, unit: TerminalUnit) -> DebitAnswer:
    return await HsmRouteService(unit).debit(request)


@router.post("/debits/{number}/outcome", summary="Say what became of a settlement; MAC2 and TAC prove it done")
async def end(
    number: Annotated[int, Path(ge=NUMBERS_FROM, le=_MAX_NUMBER)], outcome: DebitOutcome, unit: TerminalUnit
) -> DebitView:
    return await HsmRouteService(unit).end(number, outcome)


@router.get("/debits", summary="List settlement orders, newest first: a terminal's own, an operator's region")
async def list_debits(
    unit: RecordedCounterUnit,
    state: Annotated[Literal["open", "done", "logged", "void", "unresolved"] | None, Query()] = None,
    before: Annotated[
        int | None, Query(ge=NUMBERS_FROM, le=_MAX_NUMBER, description="Orders below this number")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> list[DebitView]:
    return await HsmRouteService(unit).list(state, before, limit)
