"""`/v1/applications/stuck` and the next action of a case."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from issuance.applications.case_schemas import NextAction, NextActionOrder, StuckCase
from issuance.applications.cases import StuckCases
from issuance.applications.schemas import ApplicationId, ApplicationView
from issuance.clients.schemas import Region
from issuance.idempotency import RequiredKey, once
from issuance.identity.service import check_again, record_answer
from issuance.paging import Page, PageQuery
from issuance.unit import AttendedDesk, AttendedUnit

router = APIRouter(prefix="/v1/applications", tags=["applications"])


@router.get("/stuck", summary="List the cases that wait for a person, the nearest deadline first")
async def stuck(
    unit: AttendedUnit,
    page: PageQuery,
    region: Annotated[Region | None, Query(description="Issuing region")] = None,
    owner: Annotated[str | None, Query(max_length=64, pattern=r"^[!-~]+$", description="Whose cases")] = None,
) -> Page[StuckCase]:
    return await StuckCases(unit).find(page, region=region, owner=owner)


@router.post("/{application_id}/next-action", summary="Do what a stuck case needs, by default what helps mostly")
async def next_action(
    application_id: ApplicationId, order: NextActionOrder, key: RequiredKey, desk: AttendedDesk, response: Response
) -> ApplicationView:
    answer = None
    if order.action in (None, NextAction.ASK_REGISTER):  # asked of those that wait for the register, and no other
        answer = await check_again(desk, application_id)
    async with desk.unit() as unit:

        async def make() -> ApplicationView:
            view = await StuckCases(unit).act(application_id, order)
            return view if answer is None else await record_answer(unit, application_id, answer)

        return await once(unit, response, f"next:{application_id}", key, order, ApplicationView, make)
