"""`/v1/progress`: open to everybody. The question is a body, so that neither number gets into an address or a log."""

from __future__ import annotations

from fastapi import APIRouter, Request

from issuance.clerks.login import shortened
from issuance.progress.schemas import Progress, ProgressQuestion
from issuance.progress.service import ProgressService
from issuance.unit import services_of

router = APIRouter(prefix="/v1/progress", tags=["progress"])


@router.post("", summary="How far an application is, by receipt number and check; without logging in")
async def progress(question: ProgressQuestion, request: Request) -> Progress:
    address = request.client.host if request.client is not None else ""
    return await ProgressService(services_of(request)).ask(question, shortened(address))
