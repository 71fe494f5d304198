"""`/v1/photos`."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response, status

from cardlib.wire import HexId
from issuance.clients.schemas import Region
from issuance.idempotency import RequiredKey, once
from issuance.photos.check import check_day, check_photo
from issuance.photos.face import face_finder
from issuance.photos.schemas import Confirmation, PhotoOrder, PhotoView
from issuance.photos.service import PhotoService
from issuance.problems import bad_input
from issuance.self_service.applicants import VisitText, demand_visit
from issuance.unit import AttendedUnit, CounterDesk, CounterUnit, RecordedAttendedUnit

router = APIRouter(prefix="/v1/photos", tags=["photos"])
JPEG = "image/jpeg"
_PICTURE = {"schema": {"type": "string", "format": "binary"}}


async def picture(request: Request) -> bytes:
    """The request's body as it is."""
    return await request.body()


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Check a photo against the region's profile and keep it; a photo that does not fit is refused with reasons",
    openapi_extra={"requestBody": {"required": True, "content": {JPEG: _PICTURE}}},
)
async def upload(
    desk: CounterDesk,
    key: RequiredKey,
    response: Response,
    jpeg: Annotated[bytes, Depends(picture)],
    region: Annotated[Region, Query(description="The issuing region, whose profile applies")],
    taken_on: Annotated[date, Query(description="Day the photo was taken")],
    accepted_region: Annotated[Region | None, Query(description="Where it is handed in, if elsewhere")] = None,
    visit: VisitText = None,
) -> PhotoView:
    order = PhotoOrder(
        region=region, accepted_region=accepted_region, taken_on=taken_on, digest=hashlib.sha256(jpeg).hexdigest()
    )
    async with desk.unit(is_reading=True) as unit:
        await demand_visit(unit, visit)
        profile = desk.rules(region).photo
    report = await asyncio.to_thread(check_photo, jpeg, profile, face_finder())
    errors = [*report.errors, *check_day(taken_on, desk.today, profile)]
    async with desk.unit() as unit:

        async def make() -> PhotoView:
            if errors:
                raise bad_input(*errors, failure="PHOTO_REJECTED")
            return await PhotoService(unit).store(order, jpeg, report)

        return await once(unit, response, "photos", key, order, PhotoView, make)


@router.get("/{photo_id}", summary="Show what was measured of a photo")
async def view(photo_id: HexId, unit: AttendedUnit) -> PhotoView:
    return await PhotoService(unit).view(photo_id)


@router.get(
    "/{photo_id}/image",
    summary="Give the photo itself; every look is recorded",
    response_class=Response,
    responses={200: {"content": {JPEG: _PICTURE | {"example": "FFD8FFE0…"}}}},
)
async def image(photo_id: HexId, unit: RecordedAttendedUnit) -> Response:
    return Response(await PhotoService(unit).jpeg(photo_id), media_type=JPEG, headers={"Cache-Control": "no-store"})


@router.post("/{photo_id}/confirm", summary="Say, having looked, whether the face of a photo is good")
async def confirm(
    photo_id: HexId,
    word: Confirmation,
    key: RequiredKey,
    unit: CounterUnit,
    response: Response,
    visit: VisitText = None,
) -> PhotoView:
    await demand_visit(unit, visit, photo_id=photo_id)

    async def make() -> PhotoView:
        return await PhotoService(unit).confirm(photo_id, is_face_good=word.is_face_good)

    return await once(unit, response, f"photo-confirm:{photo_id}", key, word, PhotoView, make)
