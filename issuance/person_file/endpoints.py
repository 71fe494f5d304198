"""`/v1/person-files`. A POST: reading is recorded with the reason it is sent with."""

from __future__ import annotations

from fastapi import APIRouter

from issuance.person_file.schemas import FileOrder, PersonFile
from issuance.person_file.service import PersonFileService
from issuance.unit import OperatorUnit

router = APIRouter(prefix="/v1/person-files", tags=["person file"])


@router.post("", summary="Everything about one holder in one view, masked; recorded with the reason")
async def read(order: FileOrder, unit: OperatorUnit) -> PersonFile:
    return await PersonFileService(unit).read(order)
