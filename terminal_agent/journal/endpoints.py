"""`GET /v1/journal`: what waits for the centre, and why."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request

from terminal_agent.endpoints import _agent, _problems
from terminal_agent.journal.views import JournalView, view_of

router = APIRouter(responses=_problems("default"), tags=["journal"])


@router.get("/v1/journal", summary="What this terminal keeps for the centre, what waits, since when and why")
async def journal(request: Request) -> JournalView:
    desk = _agent(request).journal
    return await asyncio.to_thread(view_of, desk)
