"""The instant-issue saga: which state follows which, and the record of every step (R2.8, ecard_and_business §4.4).

Each transition is persisted with the request that causes it; nothing is kept in memory between two requests. What
fails leaves a stuck step with reason, owner and deadline, and the same application goes on from there.
"""

from __future__ import annotations

from datetime import timedelta

from issuance.applications.models import ApplicationRow
from issuance.applications.repository import ApplicationRepository
from issuance.applications.schemas import ApplicationState, Step, StepStatus
from issuance.cards.service import CardService
from issuance.clock import add_years, china_date
from issuance.ecards.service import EcardService
from issuance.problems import ProblemError
from issuance.stock.service import StockService
from issuance.unit import Unit

_S = ApplicationState
_NEXT: dict[ApplicationState, frozenset[ApplicationState]] = {
    _S.SUBMITTED: frozenset({_S.CHECKED, _S.REJECTED}),
    _S.CHECKED: frozenset({_S.RESERVED, _S.REJECTED}),
    _S.RESERVED: frozenset({_S.PERSONALIZED, _S.CHECKED, _S.WRITTEN_OFF}),
    _S.PERSONALIZED: frozenset({_S.VERIFIED, _S.CHECKED, _S.WRITTEN_OFF}),
    _S.VERIFIED: frozenset({_S.ENABLED, _S.CHECKED, _S.WRITTEN_OFF}),
    _S.ENABLED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.WRITTEN_OFF: frozenset(),
}


class IssuanceSaga:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._applications = ApplicationRepository(unit.session)
        self._stock = StockService(unit)

    async def submit(self, row: ApplicationRow) -> None:
        """Record the application and its checks, which have passed."""
        await self._step(row, Step.APPLY, StepStatus.DONE)
        self.move(row, _S.CHECKED)
        await self._step(row, Step.CHECK, StepStatus.DONE)

    async def reserve(self, row: ApplicationRow, reset_information: str) -> None:
        """Bind blank, number and dates, once; the same blank again changes nothing, another one is refused."""
        if row.reset_information is not None:
            if row.reset_information != reset_information:
                raise ProblemError(
                    "CARD_MISMATCH",
                    "re-insert the card this application began with, or write it off",
                    subject=f"blank:{reset_information}",
                    application_id=row.id,
                )
            return
        if row.state != _S.CHECKED:
            raise ProblemError("APPLICATION_STATE", f"the application is {row.state}", application_id=row.id)
        pack = self._unit.services.rules.pack(row.region)
        row.card_number = await self._stock.reserve(row.id, row.region, row.generation, reset_information)
        row.reset_information = reset_information
        row.issue_date = china_date(self._unit.now)
        row.expiry_date = add_years(row.issue_date, pack.validity_years)
        self.move(row, _S.RESERVED)
        await self._step(row, Step.RESERVE, StepStatus.DONE)
        await self._unit.audit(
            "stock.reserve",
            f"blank:{reset_information}",
            application_id=row.id,
            region=row.region,
            detail={"card_number": row.card_number},
        )

    async def start_personalizing(self, row: ApplicationRow) -> None:
        """A terminal that is never heard of again leaves this step, with its owner and deadline."""
        await self._step(row, Step.PERSONALIZE, StepStatus.STARTED, is_owned=True)

    async def stick(self, row: ApplicationRow, reason: str, detail: str) -> None:
        """The card session failed; the application waits for its owner."""
        await self._step(
            row,
            Step.PERSONALIZE,
            StepStatus.STUCK,
            detail=detail,
            reason=reason,
            is_owned=True,
        )

    async def enable(self, row: ApplicationRow, identification_code: str) -> str:
        """The card was written and read back: issue it and its electronic card. Returns the ecard number."""
        if row.card_number is None or row.reset_information is None:
            raise ProblemError("APPLICATION_STATE", "no card is bound to the application", application_id=row.id)
        self.move(row, _S.PERSONALIZED)
        await self._step(row, Step.PERSONALIZE, StepStatus.DONE)
        self.move(row, _S.VERIFIED)
        await self._step(row, Step.READ_BACK, StepStatus.DONE)
        await self._stock.use(row.id, row.reset_information, row.card_number)
        card = await CardService(self._unit).enable(row, identification_code)
        self.move(row, _S.ENABLED)
        await self._step(row, Step.ENABLE, StepStatus.DONE)
        ecard_no = await EcardService(self._unit).create(card)
        await self._step(row, Step.ECARD, StepStatus.DONE)
        return ecard_no

    async def write_off(self, row: ApplicationRow, reset_information: str, reason: str, *, is_final: bool) -> None:
        """Give up the card in hand: blank spoiled, number void. Raises CARD_MISMATCH when another is bound."""
        if row.card_number is None or row.reset_information is None or not _NEXT[_S(row.state)]:
            raise ProblemError("APPLICATION_STATE", "there is no card to write off", application_id=row.id)
        blank, number = row.reset_information, row.card_number
        if blank != reset_information:
            raise ProblemError(
                "CARD_MISMATCH",
                "another card is bound to the application now",
                subject=f"blank:{reset_information}",
                application_id=row.id,
            )
        await self._stock.write_off(blank, number, reason)
        self.move(row, _S.WRITTEN_OFF if is_final else _S.CHECKED)
        row.reset_information = row.card_number = row.issue_date = row.expiry_date = None
        await self._step(row, Step.WRITE_OFF, StepStatus.UNDONE, detail=f"{number} {blank}", reason=reason[:64])
        await self._unit.audit(
            "application.write_off",
            f"blank:{blank}",
            application_id=row.id,
            region=row.region,
            detail={"card_number": number, "reason": reason, "is_final": is_final},
        )

    async def reject(self, row: ApplicationRow, reason: str) -> None:
        """Refuse an application that has no card yet."""
        self.move(row, _S.REJECTED)
        await self._step(row, Step.REJECT, StepStatus.FAILED, reason=reason[:64])
        await self._unit.audit(
            "application.reject",
            f"application:{row.id}",
            region=row.region,
            application_id=row.id,
            detail={"reason": reason},
        )

    def move(self, row: ApplicationRow, state: ApplicationState) -> None:
        """Raises APPLICATION_STATE when `state` does not follow the present one."""
        if state not in _NEXT[_S(row.state)]:
            raise ProblemError(
                "APPLICATION_STATE", f"the application is {row.state}, it cannot become {state}", application_id=row.id
            )
        row.state = state.value
        row.updated_at = self._unit.now

    async def _step(
        self,
        row: ApplicationRow,
        step: Step,
        status: StepStatus,
        *,
        detail: str = "",
        reason: str | None = None,
        is_owned: bool = False,
    ) -> None:
        """`is_owned`: the caller is answerable for what happens next, until the deadline."""
        unit = self._unit
        row.updated_at = unit.now
        await self._applications.add_step(
            row.id,
            step,
            status,
            self._unit.now,
            detail=detail,
            reason=reason,
            owner=(unit.caller.clerk or unit.caller.client_id) if is_owned else None,
            deadline=unit.now + timedelta(hours=unit.services.settings.stuck_deadline_h) if is_owned else None,
        )
