"""`/v1/terminals`: records that terminals kept, and how the books of both sides compare."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path, Query

from cardlib.terminal_records import RecordBatch, RecordsTaken
from issuance.clients.schemas import ClientId
from issuance.terminals.reconciliation import ReconciliationService
from issuance.terminals.schemas import Reconciliation, TerminalView
from issuance.terminals.service import TerminalRecordService
from issuance.unit import CounterUnit, OperatorUnit, TerminalUnit

router = APIRouter(prefix="/v1/terminals", tags=["terminals"])


@router.post("/records", summary="Take in what a terminal kept; the same records sent again change nothing")
async def take(batch: RecordBatch, unit: TerminalUnit) -> RecordsTaken:
    return await TerminalRecordService(unit).take(batch)


@router.get("", summary="Terminals that have sent records, with what is outstanding and what was refused")
async def terminals(unit: OperatorUnit) -> list[TerminalView]:
    return await ReconciliationService(unit).terminals()


@router.get("/{client_id}/reconciliation", summary="A terminal's day in both sides' books")
async def reconciliation(
    client_id: Annotated[ClientId, Path()],
    day: Annotated[date, Query(description="In China")],
    unit: CounterUnit,
) -> Reconciliation:
    return await ReconciliationService(unit).of_day(client_id, day)
