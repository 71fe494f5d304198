"""`/v1/codes`."""

from __future__ import annotations

from fastapi import APIRouter

from issuance.recognition.schemas import RecognisedCode, RecognitionRequest
from issuance.recognition.service import recognise
from issuance.unit import VerifierDesk

router = APIRouter(prefix="/v1/codes", tags=["codes of every platform"])


@router.post("/recognise", summary="Whose a scanned code is, where it works and, if its platform says so, who holds it")
async def recognise_code(request: RecognitionRequest, desk: VerifierDesk) -> RecognisedCode:
    return await recognise(desk, request)
