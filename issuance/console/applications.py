"""One application: where it stands, its photo, the other clerk's review, its end; and its receipt."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from cardlib.wire import HexId
from issuance.applications.models import ApplicationRow
from issuance.applications.schemas import ApplicationState, ApplicationView, Reason, StepStatus
from issuance.applications.service import ApplicationService
from issuance.clerks.acts import Act
from issuance.console.forms import Form, parse
from issuance.console.holders import Holder, holder_of, shown_card
from issuance.console.page import Page, page_for
from issuance.idempotency import once
from issuance.photos.check import check_day, check_photo
from issuance.photos.face import face_finder
from issuance.photos.schemas import PhotoOrder, PhotoView
from issuance.photos.service import PhotoService
from issuance.problems import bad_input
from issuance.progress.receipts import grouped
from issuance.reviews.models import ReviewRow
from issuance.reviews.service import Reviews
from issuance.unit import Unit

router = APIRouter(prefix="/applications")
Reading = Annotated[Page, page_for(Act.APPLICATION_READ)]
Collecting = Annotated[Page, page_for(Act.APPLICATION_COLLECT)]
Reviewing = Annotated[Page, page_for(Act.APPLICATION_REVIEW)]
_S = ApplicationState
_PHOTO_OPEN = (_S.SUBMITTED, _S.CHECKED)
_MAKING = (_S.CHECKED, _S.RESERVED, _S.PERSONALIZED, _S.VERIFIED)


@dataclass(frozen=True, slots=True)
class Opened:
    """`photo`: the one chosen; it may still want a clerk's look."""

    view: ApplicationView
    holder: Holder
    review: ReviewRow | None
    photo: PhotoView | None

    @property
    def number(self) -> str:
        return shown_card(self.view.card_number)


class PhotoUpload(BaseModel):
    taken_on: date


async def opened(unit: Unit, application_id: str) -> Opened:
    """Looking at an application is recorded."""
    view = await ApplicationService(unit).view(application_id)
    row = await unit.session.get_one(ApplicationRow, application_id)
    photo = None if view.photo_id is None else await PhotoService(unit).view(view.photo_id)
    return Opened(view, await holder_of(unit, row.person_id), await Reviews(unit).of(application_id), photo)


@router.get("/{application_id}")
async def show(application_id: HexId, page: Reading) -> Response:
    return await _show(page, application_id)


async def _show(page: Page, application_id: str, **context: Any) -> Response:
    async with page.desk.unit() as unit:
        found = await opened(unit, application_id)
    state, review = found.view.state, found.review
    is_ready = review is None or review.state == "accepted"
    stuck = next((step for step in reversed(found.view.steps) if step.status is StepStatus.STUCK), None)
    return page.show(
        "application.html",
        found=found,
        view=found.view,
        grouped=grouped,
        stuck=stuck,
        may_photo=page.viewer.may(Act.APPLICATION_COLLECT) and state in _PHOTO_OPEN,
        may_review=review is not None
        and review.state == "waiting"
        and page.viewer.may(Act.APPLICATION_REVIEW)
        and page.viewer.login not in review.authors,
        may_make=is_ready and state in _MAKING and page.viewer.may(Act.CARD_ISSUE),
        today=page.desk.today,
        **context,
    )


# -- the photo --------------------------------------------------------------------------------------------------------


@router.post("/{application_id}/photo")
async def upload(application_id: HexId, page: Collecting) -> Response:
    """Checked against the region's profile, kept, and chosen unless somebody has to look at the face first."""
    form = await Form.of(page.request)
    jpeg = form.files.get("picture", b"")
    try:
        day = parse(PhotoUpload, form.nested("taken_on")).taken_on
        async with page.desk.unit(is_reading=True) as unit:
            region = (await ApplicationService(unit).row(application_id, is_locking=False)).region
        order = PhotoOrder(region=region, taken_on=day, digest=hashlib.sha256(jpeg).hexdigest())
        profile = page.desk.rules(region).photo
        report = await asyncio.to_thread(check_photo, jpeg, profile, face_finder())
        errors = [*report.errors, *check_day(day, page.desk.today, profile)]
        async with page.desk.unit() as unit:

            async def make() -> PhotoView:
                if errors:
                    raise bad_input(*errors, failure="PHOTO_REJECTED")
                kept = await PhotoService(unit).store(order, jpeg, report)
                if not kept.needs_confirmation:
                    await ApplicationService(unit).choose_photo(application_id, kept.id)
                return kept

            photo = await once(unit, Response(), f"console.photo:{application_id}", form.key, order, PhotoView, make)
    except Exception as error:
        return await _show(page, application_id, form=form, refusal=page.refusal(error))
    if photo.needs_confirmation:
        return page.go(f"/applications/{application_id}/photos/{photo.id}")
    return page.go(f"/applications/{application_id}", said="application.said_photo")


@router.get("/{application_id}/photos/{photo_id}")
async def look(application_id: HexId, photo_id: HexId, page: Collecting) -> Response:
    """The face was not measured here: a clerk looks."""
    async with page.desk.unit() as unit:
        found = await opened(unit, application_id)
        photo = await PhotoService(unit).view(photo_id)
    return page.show("photo.html", found=found, photo=photo)


@router.post("/{application_id}/photos/{photo_id}")
async def confirm(application_id: HexId, photo_id: HexId, page: Collecting) -> Response:
    form = await Form.of(page.request)
    is_good = form.get("word") == "good"
    async with page.desk.unit() as unit:
        await PhotoService(unit).confirm(photo_id, is_face_good=is_good)
        if is_good:
            await ApplicationService(unit).choose_photo(application_id, photo_id)
    said = "application.said_photo" if is_good else "application.said_photo_gone"
    return page.go(f"/applications/{application_id}", said=said)


@router.get("/photos/{photo_id}.jpg")
async def picture(photo_id: HexId, page: Reading) -> Response:
    """Every look is recorded."""
    async with page.desk.unit() as unit:
        jpeg = await PhotoService(unit).jpeg(photo_id)
    return Response(jpeg, media_type="image/jpeg")


# -- the review -------------------------------------------------------------------------------------------------------


@router.post("/{application_id}/review")
async def review(application_id: HexId, page: Reviewing) -> Response:
    """Accepted, or returned with a reason, which ends the application."""
    form = await Form.of(page.request)
    is_accepted = form.get("word") == "accept"
    try:
        why = "" if is_accepted else parse(Reason, form.nested("reason")).reason
        async with page.desk.ahead():
            page.desk.who.demand(Act.APPLICATION_REVIEW if is_accepted else Act.APPLICATION_REJECT)
        async with page.desk.unit() as unit:
            await Reviews(unit).decide(application_id, is_accepted=is_accepted, reason=why)
            if not is_accepted:
                await ApplicationService(unit).reject(application_id, why)
    except Exception as error:
        return await _show(page, application_id, form=form, refusal=page.refusal(error))
    said = "application.said_accepted" if is_accepted else "application.said_returned"
    return page.go(f"/applications/{application_id}", said=said)
