"""Joint applications for newborns: taken at once, applied for as soon as name and number are registered."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, time, timedelta

from cardlib.identity import mask_name
from issuance.applications.schemas import ApplicationKind
from issuance.applications.service import ApplicationService
from issuance.clock import CHINA, china_date
from issuance.identity.adapters import UNAVAILABLE, IdentityAnswer
from issuance.newborns.checks import application_of, check_newborn, check_registration, missing, registered
from issuance.newborns.models import NewbornRow
from issuance.newborns.repository import NewbornRepository
from issuance.newborns.schemas import NewbornRequest, NewbornView, Registration
from issuance.persons.checks import parse_date
from issuance.problems import ProblemError, bad_input
from issuance.progress.receipts import new_receipt_number
from issuance.rules import RuleError
from issuance.unit import Desk, Unit


async def ask_for_child(desk: Desk, request: NewbornRequest) -> IdentityAnswer:
    """What the register says about the child, when name and number are known and nothing will be refused."""
    try:
        desk.caller.demand_region(request.accepted_region or request.region)
        is_good = not check_newborn(request, desk.rules(request.region), desk.today)
    except (ProblemError, RuleError):
        return UNAVAILABLE
    return await _ask(desk, request) if is_good else UNAVAILABLE


async def ask_for_registered(desk: Desk, newborn_id: str, registration: Registration) -> IdentityAnswer:
    """What the register says about the child, when name and number are those of this joint application."""
    async with desk.unit(is_reading=True) as unit:
        service = NewbornService(unit)
        request = service.request(await service.row(newborn_id))
    if check_registration(request, registration, desk.today):
        return UNAVAILABLE
    return await _ask(desk, registered(request, registration))


async def _ask(desk: Desk, request: NewbornRequest) -> IdentityAnswer:
    application = application_of(request)
    return UNAVAILABLE if application is None else await desk.services.identity.ask(application.person)


class NewbornService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._newborns = NewbornRepository(unit.session, unit.services.sealer)

    async def submit(self, request: NewbornRequest, identity: IdentityAnswer) -> NewbornView:
        """Raises INPUT_INVALID, CONFLICT when the birth certificate was handed in before, and what `apply` raises."""
        unit = self._unit
        rules = unit.rules(request.region)
        unit.caller.demand_region(request.accepted_region or request.region)
        errors = check_newborn(request, rules, china_date(unit.now))
        if errors:
            raise bad_input(*errors)
        days = rules.newborn_name_days
        born = parse_date(request.child.birth_date) or unit.now.date()
        row = NewbornRow(
            id=uuid.uuid4().hex,
            region=request.region,
            accepted_region=request.accepted_region,
            state="waiting",
            receipt_number=new_receipt_number(unit.now),
            deadline=datetime.combine(born + timedelta(days=days + 1), time.min, CHINA).astimezone(UTC),
            created_by=unit.caller.client_id,
            created_at=unit.now,
            updated_at=unit.now,
        )
        if not await self._newborns.add(row, request):
            raise ProblemError("CONFLICT", "this birth certificate has been handed in")
        await self._audit(row, "newborn.submit")
        await self._apply(row, request, identity)
        return self._view(row)

    async def register(self, newborn_id: str, registration: Registration, identity: IdentityAnswer) -> NewbornView:
        """Name and number of the child. Raises INPUT_INVALID, and APPLICATION_STATE when they are known."""
        row = await self.row(newborn_id, is_locking=True)
        if row.state != "waiting":
            raise ProblemError("APPLICATION_STATE", "the child is registered", application_id=row.application_id)
        errors = check_registration(self.request(row), registration, china_date(self._unit.now))
        if errors:
            raise bad_input(*errors)
        request = registered(self.request(row), registration)
        self._newborns.seal(row, request)
        await self._audit(row, "newborn.register")
        await self._apply(row, request, identity)
        return self._view(row)

    async def view(self, newborn_id: str) -> NewbornView:
        row = await self.row(newborn_id)
        await self._audit(row, "newborn.read")
        return self._view(row)

    async def row(self, newborn_id: str, *, is_locking: bool = False) -> NewbornRow:
        """Raises NOT_FOUND."""
        row = await self._newborns.get(newborn_id, is_locking=is_locking)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such joint application", subject=f"newborn:{newborn_id}")
        return row

    def request(self, row: NewbornRow) -> NewbornRequest:
        return self._newborns.request(row)

    async def _apply(self, row: NewbornRow, request: NewbornRequest, identity: IdentityAnswer) -> None:
        application = application_of(request)
        if application is not None:
            made = await ApplicationService(self._unit).apply(
                application,
                identity,
                kind=ApplicationKind.NEWBORN,
                is_accepted=True,
                receipt_number=row.receipt_number,
            )
            row.state, row.application_id = "applied", made.id
        row.updated_at = self._unit.now
        await self._unit.session.flush()

    async def _audit(self, row: NewbornRow, act: str) -> None:
        await self._unit.audit(act, f"newborn:{row.id}", region=row.region, application_id=row.application_id)

    def _view(self, row: NewbornRow) -> NewbornView:
        request = self.request(row)
        child = request.child
        return NewbornView(
            id=row.id,
            region=row.region,
            receipt_number=row.receipt_number,
            state="waiting" if row.state == "waiting" else "applied",
            missing=missing(request),
            name=None if child.name is None else mask_name(child.name),
            birth_date=child.birth_date,
            application_id=row.application_id,
            owner=row.created_by,
            deadline=row.deadline,
            is_overdue=row.state == "waiting" and self._unit.now >= row.deadline,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
