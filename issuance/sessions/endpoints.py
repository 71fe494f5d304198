"""`/v1/card-sessions`; the messages are those of `cardlib.wire`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, status

from cardlib.wire import BatchResponses, PrintReport, SessionReply, SessionStart
from issuance.sessions.service import CardSessionService
from issuance.unit import TerminalUnit

router = APIRouter(prefix="/v1/card-sessions", tags=["card sessions"])

_EXAMPLE_ID = "7c1d8d0a4f5e4c0d9f1b2a3c4d5e6f70"
_BATCH = {
    "batch": {
        "session_id": _EXAMPLE_ID,
        "sequence": 1,
        "commands": [{"apdu": "80F2000009", "expect": ["9000", "61xx"], "is_secret": False}],
        "step": 1,
        "steps": 0,
        "text_zh": "读取卡片状态",
        "text_en": "Reading the card's state",
    },
    "outcome": None,
}
_OUTCOME = {
    "batch": None,
    "outcome": {
        "session_id": _EXAMPLE_ID,
        "status": "done",
        "failure": None,
        "detail": "",
        "result": {"card_number": "A00000011", "ecard_no": "5f0c2b7e9a1d4c3f8e6b7a9d0c1e2f30", "name": "测*甲"},
    },
}


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Begin a card session; answers with the first commands",
    responses={201: {"content": {"application/json": {"example": _BATCH}}}},
)
async def start(request: SessionStart, unit: TerminalUnit) -> SessionReply:
    return await CardSessionService(unit).start(request)


@router.post(
    "/{session_id}/responses",
    summary="Hand in the card's answers; answers with the next commands or the outcome",
    responses={200: {"content": {"application/json": {"example": _OUTCOME}}}},
)
async def answer(
    session_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")], message: BatchResponses, unit: TerminalUnit
) -> SessionReply:
    return await CardSessionService(unit).answer(session_id, message)


@router.post(
    "/{session_id}/print-reports",
    summary="Say how a print order ended; answers with the outcome",
    responses={200: {"content": {"application/json": {"example": _OUTCOME}}}},
)
async def report_print(
    session_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")], report: PrintReport, unit: TerminalUnit
) -> SessionReply:
    return await CardSessionService(unit).report_print(session_id, report)
