"""The instant-issue saga: which state follows which, and the record of every step (R2.8, ecard_and_business §4.4).

Each transition is persisted with the request that causes it; nothing is kept in memory between two requests. What
fails leaves a stuck step with reason, owner and deadline, and the same application goes on from there. A step that was
done before is done: asked again, it changes nothing and says so.
"""

from __future__ import annotations

import uuid

from issuance.applications.journal import Journal
from issuance.applications.models import ApplicationRow, ReturnRow
from issuance.applications.payments import Payments
from issuance.applications.repository import ApplicationRepository
from issuance.applications.schemas import ApplicationKind, ApplicationState, Step, StepStatus
from issuance.cards.models import CardRow
from issuance.cards.repository import CardRepository
from issuance.cards.service import CardService
from issuance.clock import add_years, china_date
from issuance.ecards.repository import EcardRepository
from issuance.ecards.service import EcardService
from issuance.problems import ProblemError
from issuance.reviews.service import Reviews
from issuance.sessions.repository import SessionRepository
from issuance.stock.service import StockService
from issuance.unit import Unit

_S = ApplicationState
_FIRST_CARDS = (ApplicationKind.NEW.value, ApplicationKind.NEWBORN.value)
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
        self._journal = Journal(unit)
        self._payments = Payments(unit)
        self._stock = StockService(unit)

    async def submit(self, row: ApplicationRow, reference: str) -> None:
        """Record the application and its checks, which have passed; `reference` finds the identity check."""
        await self._journal.step(row, Step.APPLY, StepStatus.DONE)
        await self._checked(row, reference)

    async def submit_waiting(self, row: ApplicationRow, hours: int) -> None:
        """Record an application whose identity check has no answer: it stays SUBMITTED, somebody owns the wait."""
        await self._journal.step(row, Step.APPLY, StepStatus.DONE)
        await self._journal.step(row, Step.IDENTITY, StepStatus.STUCK, reason="IDENTITY_UNAVAILABLE", hours=hours)

    async def identity_found(self, row: ApplicationRow, reference: str) -> None:
        """The register has answered that it is this person."""
        await self._journal.step(row, Step.IDENTITY, StepStatus.DONE)
        await self._checked(row, reference)

    async def _checked(self, row: ApplicationRow, reference: str) -> None:
        self.move(row, _S.CHECKED)
        await self._journal.step(row, Step.CHECK, StepStatus.DONE, detail=f"identity {reference}" if reference else "")
        await self._payments.ask(row, await self._fee(row))

    async def _fee(self, row: ApplicationRow) -> int:
        """In fen. That of a card that follows another one is known from when it was asked for."""
        if row.kind in _FIRST_CARDS:
            return self._unit.rules(row.region).fees_fen.new
        succession = await CardRepository(self._unit.session).succession(row.id)
        return 0 if succession is None else succession.fee_fen

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
        await self._payments.demand(row)
        await Reviews(self._unit).demand(row)
        kept = await self._kept_number(row)
        row.card_number = await self._stock.reserve(row.id, row.region, row.generation, reset_information, number=kept)
        row.reset_information = reset_information
        row.issue_date = china_date(self._unit.now)
        years = self._unit.rules(row.region).validity(row.card_class)
        row.expiry_date = add_years(row.issue_date, years)
        self.move(row, _S.RESERVED)
        await self._journal.step(row, Step.RESERVE, StepStatus.DONE)
        await self._unit.audit(
            "stock.reserve",
            f"blank:{reset_information}",
            application_id=row.id,
            region=row.region,
            detail={"card_number": row.card_number},
        )

    async def start_personalizing(self, row: ApplicationRow) -> None:
        """The card's data are gathered. A terminal never heard of again leaves this step, with owner and deadline."""
        await self._journal.step(row, Step.CARD_DATA, StepStatus.DONE)
        await self._journal.step(row, Step.PERSONALIZE, StepStatus.STARTED)

    async def stick(self, row: ApplicationRow, step: Step, reason: str, detail: str) -> None:
        """The step failed; the application waits for its owner."""
        await self._journal.step(row, step, StepStatus.STUCK, detail=detail, reason=reason)

    # -- with the card written --------------------------------------------------------------------------------------

    async def written(
        self, row: ApplicationRow, identification_code: str, key_version: int, *, can_print: bool
    ) -> ReturnRow:
        """The card took all data and was read back: keep what it says of itself before anything else is tried."""
        reset, number = _bound(row)
        self.move(row, _S.PERSONALIZED)
        await self._journal.step(row, Step.PERSONALIZE, StepStatus.DONE)
        self.move(row, _S.VERIFIED)
        await self._journal.step(row, Step.READ_BACK, StepStatus.DONE)
        returned = ReturnRow(
            application_id=row.id,
            reset_information=reset,
            card_number=number,
            identification_code=identification_code,
            key_version=key_version,
            print_job=uuid.uuid4().hex,
            print_state="ordered" if can_print else "skipped",
            read_at=self._unit.now,
        )
        self._unit.session.add(returned)
        await self._journal.step(row, Step.PRINT, StepStatus.STARTED if can_print else StepStatus.SKIPPED)
        return returned

    async def returned(self, row: ApplicationRow) -> ReturnRow:
        """Raises APPLICATION_STATE while no card was written and read back."""
        found = await self._unit.session.get(ReturnRow, row.id)
        if found is None or row.state != _S.VERIFIED:
            raise ProblemError("APPLICATION_STATE", f"the application is {row.state}", application_id=row.id)
        return found

    async def printed(self, row: ApplicationRow, returned: ReturnRow, detail: str, *, is_skipped: bool = False) -> None:
        """The face is on the card, or will do without; once."""
        if returned.print_state != "ordered":
            return
        returned.print_state = "skipped" if is_skipped else "printed"
        status = StepStatus.SKIPPED if is_skipped else StepStatus.DONE
        await self._journal.step(row, Step.PRINT, status, detail=detail)

    async def hand_over(self, row: ApplicationRow, returned: ReturnRow) -> str | ProblemError:
        """Return the data, enable the card, clean up: all of it or nothing.

        Returns the number of the electronic card, empty for none, or the refusal that the case is stuck with.
        """
        session, waiting = self._unit.session, len(self._unit.after_commit)
        try:
            async with session.begin_nested():
                return await self._issue(row, returned)
        except ProblemError as error:
            del self._unit.after_commit[waiting:]
            await session.refresh(row)
            await session.refresh(returned)
            await self.stick(row, Step.ENABLE, error.failure, error.detail)
            return error

    async def enable(self, row: ApplicationRow, identification_code: str, key_version: int) -> str:
        """A card that a factory wrote and printed comes to its holder. Raises what keeps it from being issued."""
        returned = await self.written(row, identification_code, key_version, can_print=False)
        return await self._issue(row, returned)

    async def _issue(self, row: ApplicationRow, returned: ReturnRow) -> str:
        self._check_return(row, returned)
        returned.returned_at = self._unit.now
        await self._journal.step(row, Step.RETURN_DATA, StepStatus.DONE)
        kept = await self._kept_number(row)
        await self._stock.use(row.id, returned.reset_information, returned.card_number, is_number_kept=kept is not None)
        card = await CardService(self._unit).enable(row, returned.identification_code, returned.key_version)
        self.move(row, _S.ENABLED)
        await self._journal.step(row, Step.ENABLE, StepStatus.DONE)
        ecard_no = await self._ecard(row, card)
        await SessionRepository(self._unit.session).forget_orders(row.id)
        await self._journal.step(row, Step.CLEAN_UP, StepStatus.DONE)
        return ecard_no

    def _check_return(self, row: ApplicationRow, returned: ReturnRow) -> None:
        """Raises CARD_MISMATCH when what came back is not about the card that was ordered."""
        if (returned.reset_information, returned.card_number) != _bound(row):
            raise ProblemError("CARD_MISMATCH", "what came back is about another card", application_id=row.id)

    # -- giving up --------------------------------------------------------------------------------------------------

    async def cancel_mark(self, row: ApplicationRow) -> None:
        """Give back a card nothing was written to, and its number. Raises APPLICATION_STATE where that is unsure."""
        reset, number = _bound(row)
        sessions = SessionRepository(self._unit.session)
        if row.state != _S.RESERVED or await sessions.was_answered(row.id):
            raise ProblemError("APPLICATION_STATE", "it may have been written: write it off", application_id=row.id)
        kept = await self._kept_number(row)
        await self._stock.release(reset, number, is_number_kept=kept is not None)
        self.move(row, _S.CHECKED)
        row.reset_information = row.card_number = row.issue_date = row.expiry_date = None
        await self._journal.step(row, Step.CANCEL_MARK, StepStatus.UNDONE, detail=f"{number} {reset}")
        await self._unit.audit(
            "application.cancel_mark",
            f"blank:{reset}",
            application_id=row.id,
            region=row.region,
            detail={"card_number": number},
        )

    async def write_off(self, row: ApplicationRow, reset_information: str, reason: str, *, is_final: bool) -> None:
        """Give up the card in hand: blank spoiled, number void. Raises CARD_MISMATCH when another is bound."""
        if not _NEXT[_S(row.state)]:
            raise ProblemError("APPLICATION_STATE", f"the application is {row.state}", application_id=row.id)
        blank, number = _bound(row)
        if blank != reset_information:
            raise ProblemError(
                "CARD_MISMATCH",
                "another card is bound to the application now",
                subject=f"blank:{reset_information}",
                application_id=row.id,
            )
        kept = await self._kept_number(row)
        await self._stock.write_off(blank, number, reason, is_number_kept=kept is not None)
        self.move(row, _S.WRITTEN_OFF if is_final else _S.CHECKED)
        row.reset_information = row.card_number = row.issue_date = row.expiry_date = None
        await ApplicationRepository(self._unit.session).leave_batch(row.id)
        returned = await self._unit.session.get(ReturnRow, row.id)
        if returned is not None:
            await self._unit.session.delete(returned)
        await self._journal.step(row, Step.WRITE_OFF, StepStatus.UNDONE, detail=f"{number} {blank}", reason=reason[:64])
        await self._unit.audit(
            "application.write_off",
            f"blank:{blank}",
            application_id=row.id,
            region=row.region,
            detail={"card_number": number, "reason": reason, "is_final": is_final},
        )
        if is_final:
            await self._payments.cancel(row)

    async def _ecard(self, row: ApplicationRow, card: CardRow) -> str:
        """The electronic card that moved here from the card before, else a new one where it was asked for."""
        moved = await EcardRepository(self._unit.session).of_card(card.card_number)
        if moved is not None and moved.state != "cancelled":
            await self._journal.step(row, Step.ECARD, StepStatus.DONE, detail="moved")
            return moved.ecard_no
        if not row.with_ecard:
            await self._journal.step(row, Step.ECARD, StepStatus.SKIPPED)
            return ""
        ecard_no = await EcardService(self._unit).create(card)
        await self._journal.step(row, Step.ECARD, StepStatus.DONE)
        return ecard_no

    async def _kept_number(self, row: ApplicationRow) -> str | None:
        """The number that a same-number replacement (同号换卡) goes on with."""
        succession = await CardRepository(self._unit.session).succession(row.id)
        return succession.card_number if succession is not None and succession.keeps_number else None

    async def reject(self, row: ApplicationRow, reason: str) -> None:
        """Refuse an application that has no card yet."""
        self.move(row, _S.REJECTED)
        await self._journal.step(row, Step.REJECT, StepStatus.FAILED, reason=reason[:64])
        await self._unit.audit(
            "application.reject",
            f"application:{row.id}",
            region=row.region,
            application_id=row.id,
            detail={"reason": reason},
        )
        await self._payments.cancel(row)

    def move(self, row: ApplicationRow, state: ApplicationState) -> None:
        """Raises APPLICATION_STATE when `state` does not follow the present one."""
        if state not in _NEXT[_S(row.state)]:
            raise ProblemError(
                "APPLICATION_STATE", f"the application is {row.state}, it cannot become {state}", application_id=row.id
            )
        row.state = state.value
        row.updated_at = self._unit.now
        row.ended_at = None if _NEXT[state] else self._unit.now


def _bound(row: ApplicationRow) -> tuple[str, str]:
    """Chip and number of the card in hand. Raises APPLICATION_STATE when there is none."""
    if row.card_number is None or row.reset_information is None:
        raise ProblemError("APPLICATION_STATE", "no card is bound to the application", application_id=row.id)
    return row.reset_information, row.card_number
