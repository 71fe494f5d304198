"""`/v1/applications`."""

from __future__ import annotations

from fastapi import APIRouter, Response, status

from issuance.applications.schemas import (
    ApplicationId,
    ApplicationRequest,
    ApplicationView,
    PhotoChoice,
    Reason,
    WriteOff,
)
from issuance.applications.service import ApplicationService
from issuance.idempotency import OptionalKey, RequiredKey, once
from issuance.identity.service import ask_register, check_again, record_answer
from issuance.self_service.applicants import VisitText, demand_applicant, demand_begun, demand_in_hands
from issuance.unit import (
    AttendedDesk,
    AttendedUnit,
    CounterDesk,
    CounterUnit,
    OperatorUnit,
    RecordedCounterUnit,
)

router = APIRouter(prefix="/v1/applications", tags=["applications"])


@router.post("", status_code=status.HTTP_201_CREATED, summary="Apply for a card")
async def apply(
    request: ApplicationRequest,
    key: RequiredKey,
    desk: CounterDesk,
    response: Response,
    visit: VisitText = None,
) -> ApplicationView:
    await demand_applicant(desk, visit, request)
    identity = await ask_register(desk, request)
    async with desk.unit() as unit:

        async def make() -> ApplicationView:
            return await ApplicationService(unit).apply(request, identity)

        return await once(unit, response, "applications", key, request, ApplicationView, make)


@router.get("/{application_id}", summary="Show where an application stands")
async def view(application_id: ApplicationId, unit: RecordedCounterUnit) -> ApplicationView:
    await demand_in_hands(unit, application_id, is_locking=False)
    return await ApplicationService(unit).view(application_id)


@router.post("/{application_id}/photo", summary="Choose the photo while no card is bound")
async def choose_photo(
    application_id: ApplicationId, choice: PhotoChoice, key: RequiredKey, unit: AttendedUnit, response: Response
) -> ApplicationView:
    async def make() -> ApplicationView:
        return await ApplicationService(unit).choose_photo(application_id, choice.photo_id)

    return await once(unit, response, f"photo:{application_id}", key, choice, ApplicationView, make)


@router.post("/{application_id}/identity-check", summary="Ask the register again about an application that waits")
async def identity_check(application_id: ApplicationId, desk: AttendedDesk) -> ApplicationView:
    answer = await check_again(desk, application_id)
    async with desk.unit() as unit:
        return await record_answer(unit, application_id, answer)


@router.post("/{application_id}/write-off", summary="Write off the card in hand: blank spoiled, number void")
async def write_off(
    application_id: ApplicationId, order: WriteOff, key: RequiredKey, unit: CounterUnit, response: Response
) -> ApplicationView:
    await demand_begun(unit, application_id, order.reset_information)

    async def make() -> ApplicationView:
        return await ApplicationService(unit).write_off(application_id, order)

    return await once(unit, response, f"write-off:{application_id}", key, order, ApplicationView, make)


@router.post("/{application_id}/reject", summary="Refuse an application that has no card yet")
async def reject(
    application_id: ApplicationId, order: Reason, unit: OperatorUnit, response: Response, key: OptionalKey = None
) -> ApplicationView:
    async def make() -> ApplicationView:
        return await ApplicationService(unit).reject(application_id, order.reason)

    return await once(unit, response, f"reject:{application_id}", key, order, ApplicationView, make)
