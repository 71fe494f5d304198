"""Applications: taking them, showing where they stand, writing off and rejecting."""

from __future__ import annotations

import uuid
from typing import Any

from issuance.applications.checks import card_class_for, checked
from issuance.applications.models import ApplicationRow
from issuance.applications.repository import ApplicationRepository
from issuance.applications.saga import IssuanceSaga
from issuance.applications.schemas import (
    ApplicationKind,
    ApplicationRequest,
    ApplicationState,
    ApplicationView,
    Channel,
    Step,
    StepStatus,
    StepView,
    WriteOff,
)
from issuance.cards.repository import CardRepository
from issuance.clock import china_date
from issuance.ecards.repository import EcardRepository
from issuance.identity.adapters import IdentityAnswer, IdentityOutcome
from issuance.persons.repository import PersonRepository
from issuance.persons.schemas import Guardian, PersonView
from issuance.persons.service import masked
from issuance.photos.service import PhotoService
from issuance.problems import ProblemError
from issuance.progress.receipts import new_receipt_number
from issuance.reviews.service import Reviews
from issuance.sessions.repository import SessionRepository
from issuance.unit import Unit

IDENTITY_FAILURES = {
    IdentityOutcome.MISMATCH: "IDENTITY_MISMATCH",
    IdentityOutcome.UNKNOWN: "IDENTITY_UNKNOWN",
    IdentityOutcome.DECEASED: "IDENTITY_DECEASED",
}


class ApplicationService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._applications = ApplicationRepository(unit.session)
        self._persons = PersonRepository(unit.session, unit.services.sealer)
        self._saga = IssuanceSaga(unit)

    async def apply(
        self,
        request: ApplicationRequest,
        identity: IdentityAnswer,
        *,
        kind: ApplicationKind = ApplicationKind.NEW,
        replaces: str | None = None,
        is_accepted: bool = False,
        receipt_number: str | None = None,
    ) -> ApplicationView:
        """Check and record.

        `identity` was asked before the transaction (`ask_register`). `replaces` names the live card that the new one
        follows; the caller has seen to it that it may. `is_accepted`: a region accepted the request earlier,
        `receipt_number` was given out for it then. Raises INPUT_INVALID, REGION_UNKNOWN, ALREADY_ISSUED, CONFLICT and
        IDENTITY_*.
        """
        if not is_accepted:
            self._unit.caller.demand_region(request.accepted_region or request.region)
        person = checked(request, self._unit.rules(request.region), china_date(self._unit.now))
        if identity.outcome in IDENTITY_FAILURES:
            raise ProblemError(IDENTITY_FAILURES[identity.outcome], f"identity check {identity.reference}".strip())
        owner = await self._persons.put(person, self._unit.now)
        await self._refuse_dead(owner.id)
        await self._refuse_second_card(owner.id, replaces)
        if request.photo_id is not None:
            await PhotoService(self._unit).take(request.photo_id, owner.id, request.region)
        row = self._row(request, owner.id, kind, receipt_number or new_receipt_number(self._unit.now))
        if not await self._applications.add(row):
            await self._refuse_second_card(owner.id, replaces)
            raise ProblemError("CONFLICT", "an application of this person is being handled")
        if identity.outcome is IdentityOutcome.MATCHES:
            await self._saga.submit(row, identity.reference)
        else:
            await self._saga.submit_waiting(row, self._unit.rules(row.region).identity_wait_hours)
        detail = {"generation": row.generation, "kind": row.kind, "channel": row.channel}
        await self._audit(row, "application.submit", detail | {"identity": identity.outcome.value})
        return await self._view(row)

    def _row(
        self, request: ApplicationRequest, person_id: str, kind: ApplicationKind, receipt_number: str
    ) -> ApplicationRow:
        unit = self._unit
        application_id = uuid.uuid4().hex
        is_elsewhere = request.accepted_region not in (None, request.region)
        parties = request.model_dump(mode="json", include={"guardian", "agent", "delivery"})
        sealer = unit.services.sealer
        return ApplicationRow(
            id=application_id,
            person_id=person_id,
            region=request.region,
            office=unit.caller.office or None,
            receipt_number=receipt_number,
            generation=request.generation,
            card_class=card_class_for(request, unit.rules(request.region), china_date(unit.now)),
            state=ApplicationState.SUBMITTED.value,
            sealed_items=sealer.seal(request.items, items_context(application_id)),
            kind=kind.value,
            channel=request.channel.value,
            accepted_region=request.accepted_region if is_elsewhere else None,
            delivery=request.delivery.way,
            with_ecard=request.with_ecard,
            photo_id=request.photo_id,
            sealed_parties=sealer.seal(parties, parties_context(application_id)),
            created_by=unit.caller.client_id,
            created_at=unit.now,
            updated_at=unit.now,
        )

    async def hear_register(self, application_id: str, answer: IdentityAnswer) -> bool:
        """What the population register says about a waiting application; False when nothing came of it."""
        row = await self.row(application_id)
        if row.state != ApplicationState.SUBMITTED:
            return False
        if answer.outcome is IdentityOutcome.UNAVAILABLE:
            row.updated_at = self._unit.now
            return False
        if answer.outcome is IdentityOutcome.MATCHES:
            await self._saga.identity_found(row, answer.reference)
        else:
            await self._saga.reject(row, IDENTITY_FAILURES[answer.outcome])
        await self._audit(row, "application.identity", {"identity": answer.outcome.value})
        return True

    async def choose_photo(self, application_id: str, photo_id: str) -> ApplicationView:
        """Set or exchange the photo while no card is bound; one that was reviewed is reviewed again.

        Raises INPUT_INVALID and APPLICATION_STATE.
        """
        row = await self.row(application_id)
        if row.state not in (ApplicationState.SUBMITTED, ApplicationState.CHECKED):
            raise ProblemError("APPLICATION_STATE", f"the application is {row.state}", application_id=row.id)
        await PhotoService(self._unit).take(photo_id, row.person_id, row.region)
        row.photo_id = photo_id
        row.updated_at = self._unit.now
        is_reopened = await Reviews(self._unit).note_change(row.id)
        await self._audit(row, "application.photo", {"photo_id": photo_id, "is_review_reopened": is_reopened})
        return await self._view(row)

    async def view(self, application_id: str) -> ApplicationView:
        row = await self.row(application_id, is_locking=False)
        await self._audit(row, "application.read", {})
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
        """The application, if this caller serves its region; to look at it, the region that accepted it is enough."""
        row = await self._applications.get(application_id, is_locking=is_locking)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such application", application_id=application_id)
        caller = self._unit.caller
        if is_locking or row.accepted_region is None or not row.accepted_region.startswith(caller.region_prefix):
            caller.demand_region(row.region, subject=f"application:{row.id}")
        return row

    def items(self, row: ApplicationRow) -> dict[str, dict[str, Any]]:
        items: dict[str, dict[str, Any]] = self._unit.services.sealer.unseal(row.sealed_items, items_context(row.id))
        return items

    async def _audit(self, row: ApplicationRow, act: str, detail: dict[str, Any]) -> None:
        """In the books of the issuing region, and of the one that accepted the application."""
        for region in dict.fromkeys((row.region, row.accepted_region or row.region)):
            await self._unit.audit(
                act,
                f"application:{row.id}",
                application_id=row.id,
                region=region,
                detail=detail | {"region": row.region} if detail else {},
            )

    async def _refuse_dead(self, person_id: str) -> None:
        """What an office has recorded holds like the register's word."""
        end = await CardRepository(self._unit.session).person_end(person_id)
        if end is not None and end.reason == "death":
            raise ProblemError("IDENTITY_DECEASED", f"recorded on {end.at.isoformat()} by {end.by}")

    async def _refuse_second_card(self, person_id: str, replaces: str | None) -> None:
        """One open application and one live card per person, but for the card that is being followed.

        In this order: an application that is no longer open because its card was issued meanwhile shows that card.
        """
        open_id = await self._applications.open_of(person_id)
        if open_id is not None:
            raise ProblemError("CONFLICT", f"application {open_id} of this person is open", application_id=open_id)
        card = await CardRepository(self._unit.session).live_of(person_id)
        if card is not None and card.card_number != replaces:
            raise ProblemError("ALREADY_ISSUED", "this person has a card", subject=f"card:{card.card_number}")

    def _guardian(self, row: ApplicationRow) -> PersonView | None:
        if row.sealed_parties is None:
            return None
        parties = self._unit.services.sealer.unseal(row.sealed_parties, parties_context(row.id))
        found = parties["guardian"]
        return None if found is None else masked(Guardian.model_validate(found))

    async def _view(self, row: ApplicationRow) -> ApplicationView:
        ecard = None
        if row.state == ApplicationState.ENABLED and row.card_number is not None:
            ecard = await EcardRepository(self._unit.session).of_card(row.card_number)
        return ApplicationView(
            id=row.id,
            receipt_number=row.receipt_number,
            state=ApplicationState(row.state),
            region=row.region,
            generation=row.generation,
            card_class=row.card_class,
            person=masked(await self._persons.data(row.person_id)),
            kind=ApplicationKind(row.kind),
            channel=Channel(row.channel),
            accepted_region=row.accepted_region or row.region,
            delivery=row.delivery,
            with_ecard=row.with_ecard,
            guardian=self._guardian(row),
            photo_id=row.photo_id,
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


def items_context(application_id: str) -> str:
    return f"applications.items:{application_id}"


def parties_context(application_id: str) -> str:
    return f"applications.parties:{application_id}"
