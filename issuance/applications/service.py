"""Applications: taking them, showing where they stand, writing off and rejecting."""

from __future__ import annotations

import uuid
from typing import Any

from issuance.applications.checks import card_class_for, check_card_data, check_person
from issuance.applications.models import ApplicationRow
from issuance.applications.repository import ApplicationRepository
from issuance.applications.saga import IssuanceSaga
from issuance.applications.schemas import (
    ApplicationRequest,
    ApplicationState,
    ApplicationView,
    Step,
    StepStatus,
    StepView,
    WriteOff,
)
from issuance.cards.repository import CardRepository
from issuance.clock import china_date
from issuance.ecards.repository import EcardRepository
from issuance.persons.repository import PersonRepository
from issuance.persons.service import masked
from issuance.problems import ProblemError
from issuance.sessions.repository import SessionRepository
from issuance.unit import Unit


class ApplicationService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._applications = ApplicationRepository(unit.session)
        self._persons = PersonRepository(unit.session, unit.services.sealer)
        self._saga = IssuanceSaga(unit)

    async def apply(self, request: ApplicationRequest) -> ApplicationView:
        """Check and record. Raises INPUT_INVALID, REGION_UNKNOWN, ALREADY_ISSUED, CONFLICT."""
        pack = self._unit.services.rules.pack(request.region)
        self._unit.caller.demand_region(request.region)
        today = china_date(self._unit.now)
        person = check_person(request.person, today)
        check_card_data(request)
        owner = await self._persons.put(person, self._unit.now)
        await self._refuse_second_card(owner.id)
        row = ApplicationRow(
            id=uuid.uuid4().hex,
            person_id=owner.id,
            region=request.region,
            generation=request.generation,
            card_class=card_class_for(request, pack, today),
            state=ApplicationState.SUBMITTED.value,
            sealed_items=b"",
            created_by=self._unit.caller.client_id,
            created_at=self._unit.now,
            updated_at=self._unit.now,
        )
        row.sealed_items = self._unit.services.sealer.seal(request.items, _items_context(row.id))
        if not await self._applications.add(row):
            await self._refuse_second_card(owner.id)
            raise ProblemError("CONFLICT", "an application of this person is being handled")
        await self._saga.submit(row)
        await self._unit.audit(
            "application.submit",
            f"application:{row.id}",
            application_id=row.id,
            region=row.region,
            detail={"region": row.region, "generation": row.generation},
        )
        return await self._view(row)

    async def view(self, application_id: str) -> ApplicationView:
        row = await self.row(application_id, is_locking=False)
        await self._unit.audit("application.read", f"application:{row.id}", region=row.region, application_id=row.id)
        return await self._view(row)

    async def write_off(self, application_id: str, order: WriteOff) -> ApplicationView:
        row = await self.row(application_id)
        await self._saga.write_off(row, order.reset_information, order.reason, is_final=order.is_final)
        ended = await SessionRepository(self._unit.session).supersede(
            self._unit.now, application_id=row.id, reset_information=order.reset_information
        )
        self._unit.after_commit.append(lambda: self._unit.services.runners.drop(ended))
        return await self._view(row)

    async def reject(self, application_id: str, reason: str) -> ApplicationView:
        row = await self.row(application_id)
        await self._saga.reject(row, reason)
        return await self._view(row)

    async def row(self, application_id: str, *, is_locking: bool = True) -> ApplicationRow:
        """The application, if it exists in a region this caller serves."""
        row = await self._applications.get(application_id, is_locking=is_locking)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such application", application_id=application_id)
        self._unit.caller.demand_region(row.region, subject=f"application:{row.id}")
        return row

    def items(self, row: ApplicationRow) -> dict[str, dict[str, Any]]:
        items: dict[str, dict[str, Any]] = self._unit.services.sealer.unseal(row.sealed_items, _items_context(row.id))
        return items

    async def _refuse_second_card(self, person_id: str) -> None:
        """One open application and one live card per person.

        In this order: an application that is no longer open because its card was issued meanwhile shows that card.
        """
        open_id = await self._applications.open_of(person_id)
        if open_id is not None:
            raise ProblemError("CONFLICT", f"application {open_id} of this person is open", application_id=open_id)
        card = await CardRepository(self._unit.session).live_of(person_id)
        if card is not None:
            raise ProblemError("ALREADY_ISSUED", "this person has a card", subject=f"card:{card.card_number}")

    async def _view(self, row: ApplicationRow) -> ApplicationView:
        ecard = None
        if row.state == ApplicationState.ENABLED and row.card_number is not None:
            ecard = await EcardRepository(self._unit.session).of_card(row.card_number)
        return ApplicationView(
            id=row.id,
            state=ApplicationState(row.state),
            region=row.region,
            generation=row.generation,
            card_class=row.card_class,
            person=masked(await self._persons.data(row.person_id)),
            reset_information=row.reset_information,
            card_number=row.card_number,
            issue_date=row.issue_date,
            expiry_date=row.expiry_date,
            ecard_no=None if ecard is None else ecard.ecard_no,
            created_at=row.created_at,
            updated_at=row.updated_at,
            steps=[
                StepView(
                    step=Step(step.step),
                    status=StepStatus(step.status),
                    at=step.at,
                    detail=step.detail,
                    reason=step.reason,
                    owner=step.owner,
                    deadline=step.deadline,
                )
                for step in await self._applications.steps(row.id)
            ],
        )


def _items_context(application_id: str) -> str:
    return f"applications.items:{application_id}"
