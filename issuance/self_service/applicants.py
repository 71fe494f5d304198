"""What a kiosk asks outside `/v1/self-service` on the way to a new card: for the person of its visit, and of
applications that are in its hands. Other callers answer for themselves, with a member of staff."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Header

from cardlib.wire import VISIT_HEADER, KioskVisitText
from issuance.applications.models import ApplicationRow
from issuance.applications.repository import ApplicationRepository
from issuance.applications.schemas import ApplicationRequest, Channel
from issuance.clients.schemas import Role
from issuance.persons.checks import PersonChecker
from issuance.photos.repository import PhotoRepository
from issuance.problems import ProblemError
from issuance.self_service.evidence import KioskAct, demand
from issuance.self_service.repository import KioskRepository
from issuance.self_service.schemas import EXAMPLE_VISIT
from issuance.self_service.visits import KioskVisit, number_index, opened
from issuance.terminals.fleet_repository import is_kiosk
from issuance.unit import Desk, Unit

VisitText = Annotated[
    KioskVisitText | None,
    Header(
        alias=VISIT_HEADER,
        description="Of a kiosk: its visit, as `POST /v1/self-service/holders` told it",
        examples=[EXAMPLE_VISIT],
    ),
]


async def demand_applicant(desk: Desk, text: str | None, request: ApplicationRequest) -> None:
    """Before anybody is asked about the person. Raises EVIDENCE_MISSING, HOLDER_MISMATCH, CLIENT_FORBIDDEN."""
    if Role.TERMINAL not in desk.caller.roles:
        return
    async with desk.unit(is_reading=True) as unit:
        visit = await _visit(unit, text)
        if visit is None:
            return
        number = PersonChecker(desk.today).number(request.person.social_security_number, "body.person")
        if number is None or not hmac.compare_digest(visit.number_index, number_index(unit, number)):
            raise ProblemError("HOLDER_MISMATCH", "the application is another person's")
        if request.channel is not Channel.KIOSK or request.guardian is not None or request.agent is not None:
            raise ProblemError("CLIENT_FORBIDDEN", "at a kiosk people apply for themselves, by channel kiosk")


async def demand_visit(unit: Unit, text: str | None, *, photo_id: str = "") -> None:
    """Of a photo no other than the one that this kiosk handed in. Raises EVIDENCE_MISSING, NOT_FOUND."""
    if await _visit(unit, text) is None or not photo_id:
        return
    photo = await PhotoRepository(unit.session).get(photo_id, is_locking=True)
    if photo is None or photo.created_by != unit.caller.client_id:
        raise ProblemError("NOT_FOUND", "no such photo of this kiosk", subject=f"photo:{photo_id}")


async def demand_in_hands(unit: Unit, application_id: str, *, is_locking: bool = True) -> None:
    """Raises NOT_FOUND for an application that this kiosk neither took in nor was given for its visitor. Locked from
    here on unless it is only looked at: a row that is read before it is locked would stay as it was read."""
    if not await _is_kiosk(unit):
        return
    row = await ApplicationRepository(unit.session).get(application_id, is_locking=is_locking)
    if row is None or not await is_in_hands(unit, row):
        raise ProblemError("NOT_FOUND", "no such application at this kiosk", application_id=application_id)


async def demand_begun(unit: Unit, application_id: str, reset_information: str) -> None:
    """Raises NOT_FOUND for a card that another terminal makes: a kiosk writes off what it has inside."""
    if not await _is_kiosk(unit):
        return
    rows = KioskRepository(unit.session)
    if not await rows.has_begun(application_id, unit.caller.client_id, reset_information):
        raise ProblemError("NOT_FOUND", "no such card at this kiosk", application_id=application_id)


async def is_in_hands(unit: Unit, row: ApplicationRow) -> bool:
    mine = unit.caller.client_id
    return mine in (row.created_by, row.kiosk) or await KioskRepository(unit.session).has_begun(row.id, mine)


async def _visit(unit: Unit, text: str | None) -> KioskVisit | None:
    """None where no kiosk asks."""
    if not await _is_kiosk(unit):
        return None
    visit = opened(unit, text or "")
    demand(KioskAct.APPLY, visit.evidence)
    return visit


async def _is_kiosk(unit: Unit) -> bool:
    return Role.TERMINAL in unit.caller.roles and await is_kiosk(unit.session, unit.caller.client_id)
