"""What offices and holders ask for: loss, release, cancelling, replacement, renewal, changes of the holder's data."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from issuance.applications.checks import check_codes
from issuance.applications.models import ApplicationRow
from issuance.applications.payments import Payments
from issuance.applications.schemas import ApplicationKind, ApplicationRequest, ApplicationState, ApplicationView
from issuance.applications.service import ApplicationService
from issuance.bank.accounts import Accounts
from issuance.cards.guards import Objection
from issuance.cards.history import History
from issuance.cards.life_cycle import LifeCycle, subject_of
from issuance.cards.machine import CardState
from issuance.cards.models import CardRow, PersonEndRow, RewriteRow, SuccessionRow
from issuance.cards.repository import CardRepository
from issuance.cards.schemas import (
    CardOrder,
    CardResult,
    HolderChange,
    HolderEnd,
    LossOrder,
    RenewalOrder,
    ReplacementOrder,
    SuccessionOrder,
)
from issuance.cards.service import CardService
from issuance.clock import china_date
from issuance.identity.adapters import IdentityAnswer, IdentityOutcome
from issuance.persons.checks import PersonChecker
from issuance.persons.repository import PersonRepository
from issuance.problems import ProblemError, bad_input
from issuance.unit import Unit

_LOSSES = {"temporary": "lose_temporarily", "formal": "lose"}


class CardCommands:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._cards = CardRepository(unit.session)
        self._cycle = LifeCycle(unit)
        self._history = History(unit)
        self._persons = PersonRepository(unit.session, unit.services.sealer)

    async def act(self, number: str, act: str, order: CardOrder) -> CardResult:
        """A plain transition. Raises CARD_STATE, CONFLICT."""
        row = await self._cycle.card(number)
        return await self._result(row, await self._do(row, act, order))

    async def lose(self, number: str, order: LossOrder) -> CardResult:
        return await self.act(number, _LOSSES[order.kind], order)

    async def release(self, number: str, order: CardOrder) -> CardResult:
        """Of a temporary loss, or a formal one where the region lifts it."""
        row = await self._cycle.card(number)
        act = "lift" if row.state == CardState.LOST else "release"
        return await self._result(row, await self._do(row, act, order))

    async def open_account(self, number: str, order: CardOrder) -> CardResult:
        """Ask the bank for an account. Raises CARD_STATE for a card that is not in use."""
        row = await self._cycle.card(number)
        if self._unit.services.bank is None:
            raise ProblemError("SERVICE_UNREACHABLE", "no bank is connected to this centre", subject=subject_of(row))
        await self._cycle.check_version(row, order.version)
        if row.state != CardState.NORMAL:
            raise await self._cycle.refuse_state(row, "不能开户", "cannot open an account")
        is_done = await Accounts(self._unit).open(row)
        if is_done:
            await self._unit.audit("account.open", subject_of(row), region=row.region)
        return await self._result(row, is_done)

    # -- the card that follows ----------------------------------------------------------------------------------

    async def replace(self, number: str, order: ReplacementOrder) -> ApplicationView:
        """补换卡. Raises CARD_STATE, CONFLICT, and what an application raises."""
        return await self._succeed(
            number, order, ApplicationKind.REPLACEMENT, order.cause, keeps_number=order.keeps_number
        )

    async def renew(self, number: str, order: RenewalOrder) -> ApplicationView:
        return await self._succeed(number, order, ApplicationKind.RENEWAL, "renewal", keeps_number=order.keeps_number)

    async def _succeed(
        self, number: str, order: SuccessionOrder, kind: ApplicationKind, cause: str, *, keeps_number: bool
    ) -> ApplicationView:
        seen = await self._cycle.card(number, is_locking=False)
        application = await self._apply(seen, order, kind)
        row = await self._cycle.card(number)
        await self._cycle.check_version(row, order.version)
        await self._demand_successible(row, cause, keeps_number=keeps_number)
        fee_fen = self.fee_fen(row, cause)
        await self._cards.add_succession(
            SuccessionRow(
                application_id=application.id,
                card_number=row.card_number,
                reason=cause,
                keeps_number=keeps_number,
                fee_fen=fee_fen,
                asked_at=self._unit.now,
                asked_by=self._unit.by,
            )
        )
        if application.state == ApplicationState.CHECKED:  # else the saga asks when it is
            asked_for = await self._unit.session.get_one(ApplicationRow, application.id)
            await Payments(self._unit).ask(asked_for, fee_fen)
        detail = {"application": application.id, "keeps_number": keeps_number, "fee_fen": fee_fen}
        await self._history.record(row, "social", kind.value, row.state, row.state, reason=cause, detail=detail)
        await self._unit.audit(
            f"card.{kind.value}", subject_of(row), region=row.region, application_id=application.id, detail=detail
        )
        return application

    async def _apply(self, row: CardRow, order: SuccessionOrder, kind: ApplicationKind) -> ApplicationView:
        """Who the holder is was found out for the card that is there."""
        applications = ApplicationService(self._unit)
        items = order.items
        if items is None:
            old = await self._unit.session.get_one(ApplicationRow, row.application_id)
            items = applications.items(old)
        request = ApplicationRequest(
            region=row.region,
            person=await self._persons.data(row.person_id),
            items=items,
            **order.model_dump(
                include={"generation", "channel", "accepted_region", "delivery", "guardian", "agent", "photo_id"}
            ),
        )
        known = IdentityAnswer(outcome=IdentityOutcome.MATCHES, reference=f"card-{row.card_number}")
        return await applications.apply(request, known, kind=kind, replaces=row.card_number)

    async def _demand_successible(self, row: CardRow, cause: str, *, keeps_number: bool) -> None:
        objection = self.succession_objection(row, cause, keeps_number=keeps_number)
        if objection is not None:
            raise await self._cycle.refuse_state(row, *objection.with_rule())

    def succession_objection(self, row: CardRow, cause: str, *, keeps_number: bool = False) -> Objection | None:
        """Why no card may take this one's place; None when one may."""
        rules, today = self._unit.rules(row.region), china_date(self._unit.now)
        if row.state == CardState.CANCELLED:
            return Objection("", "已注销的卡不能补换", "a cancelled card is not replaced")
        if cause == "lost" and row.state != CardState.LOST:
            return Objection("", "遗失补卡须先正式挂失", "a lost card is reported lost formally first")
        if cause != "lost" and row.state in (CardState.LOST, CardState.TEMPORARILY_LOST):
            return Objection("", "挂失的卡按遗失补卡办理", "a card reported lost is replaced as lost")
        if keeps_number and not rules.reissue_keeps_number:
            return Objection("reissue_keeps_number", "本地区不能同号换卡", "the number is not kept here")
        opens = row.expiry_date - timedelta(days=rules.renewal_window_days)
        if cause == "renewal" and today < opens:
            return Objection("renewal_window_days", f"{opens} 起才能到期换卡", f"renewal opens on {opens}")
        return None

    def fee_fen(self, row: CardRow, cause: str) -> int:
        """Of the region; a card of bad quality is replaced for nothing."""
        fees = self._unit.rules(row.region).fees_fen
        by_cause = {"lost": fees.replacement_lost, "damaged": fees.replacement_damaged, "renewal": fees.renewal}
        return by_cause.get(cause, 0)

    # -- the holder ---------------------------------------------------------------------------------------------

    async def change_holder(self, number: str, order: HolderChange) -> CardResult:
        """Take over new data; what differs from the chip is written at its next visit. Raises INPUT_INVALID."""
        seen = await self._cycle.card(number, is_locking=False)
        old = await self._persons.data(seen.person_id)
        checker = PersonChecker(china_date(self._unit.now))
        person = checker.person(old.model_copy(update=order.changes()), "body")
        check_codes(person, seen.generation, checker, "body")
        if checker.errors:
            raise bad_input(*checker.errors)
        await self._persons.put(person, self._unit.now)
        row = await self._cycle.card(number)
        changes = {
            name: getattr(person, name) for name in order.changes() if getattr(person, name) != getattr(old, name)
        }
        if not changes:
            return await self._result(row, False)
        await self._cycle.check_version(row, order.version)
        if row.state == CardState.CANCELLED:
            raise await self._cycle.refuse_state(row, "已注销的卡不能变更", "nothing is changed on a cancelled card")
        await self._ask_rewrite(row, changes)
        detail = {"fields": sorted(changes)}
        await self._history.record(row, "chip", "change", row.state, row.state, reason=order.reason, detail=detail)
        await self._unit.audit(
            "card.change", subject_of(row), region=row.region, application_id=row.application_id, detail=detail
        )
        return await self._result(row, True)

    async def end_holder(self, number: str, order: HolderEnd) -> CardResult:
        """Death, or leaving for good: the card ends on both sides; for who died none is made any more.

        Raises CONFLICT while a card of this person is being made.
        """
        seen = await self._cycle.card(number, is_locking=False)
        await self._persons.lock(seen.person_id)
        open_id = await self._cards.open_succession(seen.card_number)
        if open_id is not None:
            raise ProblemError(
                "CONFLICT",
                f"补换卡申请 {open_id} 正在办理，先退回或作废 / reject or write off application {open_id} first",
                subject=subject_of(seen),
                application_id=open_id,
            )
        row = await self._cycle.card(number)
        is_done = await self._cycle.do(row, "end", reason=order.cause, version=order.version)
        end = PersonEndRow(person_id=row.person_id, reason=order.cause, at=self._unit.now, by=self._unit.by)
        await self._cards.end_person(end)
        await self._cards.drop_rewrite(row.card_number)
        return await self._result(row, is_done)

    async def _ask_rewrite(self, row: CardRow, changes: dict[str, str]) -> None:
        sealer, context = self._unit.services.sealer, rewrite_context(row.card_number)
        earlier = await self._cards.rewrite(row.card_number)
        if earlier is not None:
            changes = sealer.unseal(earlier.sealed_changes, context) | changes
        await self._cards.put_rewrite(
            RewriteRow(
                card_number=row.card_number,
                sealed_changes=sealer.seal(changes, context),
                asked_at=self._unit.now,
                asked_by=self._unit.by,
            )
        )

    async def _do(self, row: CardRow, act: str, order: CardOrder) -> bool:
        return await self._cycle.do(row, act, reason=order.reason, version=order.version)

    async def _result(self, row: CardRow, is_done: bool) -> CardResult:
        result: Literal["done", "already"] = "done" if is_done else "already"
        card = await CardService(self._unit).view_of(row)
        return CardResult(result=result, code="00" if is_done else "01", card=card)


def rewrite_context(card_number: str) -> str:
    return f"card_rewrites:{card_number}"
