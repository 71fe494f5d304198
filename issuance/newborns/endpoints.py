"""`/v1/newborns`."""

from __future__ import annotations

from fastapi import APIRouter, Response, status

from issuance.idempotency import RequiredKey, once
from issuance.newborns.schemas import NewbornId, NewbornRequest, NewbornView, Registration
from issuance.newborns.service import NewbornService, ask_for_child, ask_for_registered
from issuance.unit import AttendedDesk, RecordedAttendedUnit

router = APIRouter(prefix="/v1/newborns", tags=["newborns"])


@router.post("", status_code=status.HTTP_201_CREATED, summary="Hand in the joint application for a newborn")
async def submit(request: NewbornRequest, key: RequiredKey, desk: AttendedDesk, response: Response) -> NewbornView:
    identity = await ask_for_child(desk, request)
    async with desk.unit() as unit:

        async def make() -> NewbornView:
            return await NewbornService(unit).submit(request, identity)

        return await once(unit, response, "newborns", key, request, NewbornView, make)


@router.get("/{newborn_id}", summary="Show what a joint application waits for")
async def view(newborn_id: NewbornId, unit: RecordedAttendedUnit) -> NewbornView:
    return await NewbornService(unit).view(newborn_id)


@router.post("/{newborn_id}/registration", summary="Register the child's name and number; the card is applied for")
async def register(
    newborn_id: NewbornId, registration: Registration, key: RequiredKey, desk: AttendedDesk, response: Response
) -> NewbornView:
    identity = await ask_for_registered(desk, newborn_id, registration)
    async with desk.unit() as unit:

        async def make() -> NewbornView:
            return await NewbornService(unit).register(newborn_id, registration, identity)

        return await once(unit, response, f"newborn:{newborn_id}", key, registration, NewbornView, make)
