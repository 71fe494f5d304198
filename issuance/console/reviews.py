"""Applications that wait for another clerk's look, longest waiting first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter
from sqlalchemy import select
from starlette.responses import Response

from issuance.applications.models import ApplicationRow
from issuance.clerks.acts import Act
from issuance.console.holders import Holder, holder_of
from issuance.console.page import ROOT, Page, page_for
from issuance.paging import PageQuery, PageRequest
from issuance.persons.models import PersonRow
from issuance.reviews.models import ReviewRow
from issuance.reviews.service import Reviews
from issuance.unit import Unit

router = APIRouter(prefix="/reviews")
_ROWS = 20


@dataclass(frozen=True, slots=True)
class Waiting:
    review: ReviewRow
    kind: str
    holder: Holder


@router.get("")
async def show(page: Annotated[Page, page_for(Act.APPLICATION_REVIEW)], asked: PageQuery) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        reviews, cursor = await Reviews(unit).waiting(PageRequest(_ROWS, asked.cursor))
        rows = await _with_holders(unit, reviews)
    following = f"{ROOT}/reviews?cursor={cursor}" if cursor else ""
    return page.show("reviews.html", rows=rows, following=following, now=page.desk.services.clock())


async def _with_holders(unit: Unit, reviews: list[ReviewRow]) -> list[Waiting]:
    ids = [review.application_id for review in reviews]
    found = await unit.session.scalars(select(ApplicationRow).where(ApplicationRow.id.in_(ids)))
    applications = {row.id: row for row in found}
    persons = [row.person_id for row in applications.values()]
    await unit.session.scalars(select(PersonRow).where(PersonRow.id.in_(persons)))  # into the session, for holder_of
    return [
        Waiting(
            review,
            applications[review.application_id].kind,
            await holder_of(unit, applications[review.application_id].person_id),
        )
        for review in reviews
        if review.application_id in applications
    ]
