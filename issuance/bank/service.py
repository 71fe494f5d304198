"""The bank's notices, and reading reconciliations."""

from __future__ import annotations

from typing import Literal

from issuance.bank.accounts import Accounts, key_of
from issuance.bank.models import BankNoticeRow, ReconciliationRow
from issuance.bank.receiver import QUERY
from issuance.bank.repository import AccountRepository, ReconciliationRepository
from issuance.bank.schemas import BankNotice, DifferenceView, NoticeResult, ReconciliationView
from issuance.cards.life_cycle import LifeCycle, subject_of
from issuance.cards.machine import AccountState, machines
from issuance.paging import Page, PageRequest
from issuance.problems import ProblemError
from issuance.unit import Unit

Result = Literal["done", "already", "queried"]


class BankService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._accounts = AccountRepository(unit.session)
        self._reconciliations = ReconciliationRepository(unit.session)

    async def take(self, notice: BankNotice) -> NoticeResult:
        """Take over an event, each notice once. Raises NOT_FOUND for a card without account, CONFLICT."""
        card = await LifeCycle(self._unit).card(notice.card_number, place="body.card_number")
        account = await self._accounts.get(card.card_number, is_locking=True)
        if account is None:
            raise ProblemError("NOT_FOUND", "this card has no account", subject=subject_of(card))
        kept = await self._accounts.notice(notice.notice_id, self._unit.caller.client_id)
        if kept is not None:
            if (kept.card_number, kept.event) != (card.card_number, notice.event):
                raise ProblemError("CONFLICT", "this notice_id was used for another event", subject=subject_of(card))
            return NoticeResult(result="already", state=AccountState(account.state))
        transition = machines().transition("financial", notice.event)
        result: Result = "done"
        if account.state == transition.target:
            result = "already"
        elif account.state not in transition.sources or await Accounts(self._unit).is_in_flight(card.card_number):
            result = "queried"
            body = {"card_number": card.card_number}
            await self._unit.send(QUERY, key_of(card.card_number), body, region=card.region)
        else:
            accounts = Accounts(self._unit)
            await accounts.change(card, account, notice.event, tells_bank=False, reason="bank_notice")
            await accounts.align(card, account)
        await self._accounts.add_notice(
            BankNoticeRow(
                notice_id=notice.notice_id,
                client_id=self._unit.caller.client_id,
                card_number=card.card_number,
                event=notice.event,
                result=result,
                at=self._unit.now,
            )
        )
        await self._unit.audit(
            "bank.notice", subject_of(card), region=card.region, outcome=result, detail={"event": notice.event}
        )
        return NoticeResult(result=result, state=AccountState(account.state))

    async def reconciliations(self, page: PageRequest) -> Page[ReconciliationView]:
        rows, cursor = await self._reconciliations.find(page)
        return Page(items=[view_of(row) for row in rows], next_cursor=cursor)

    async def differences(self, reconciliation_id: int, page: PageRequest) -> Page[DifferenceView]:
        """Of the regions this caller serves, and cards that are nobody's."""
        prefix = self._unit.caller.region_prefix
        rows, cursor = await self._reconciliations.differences(reconciliation_id, page, region_prefix=prefix)
        views = [
            DifferenceView(
                id=row.id,
                card_number=row.card_number,
                region=row.region,
                ours=row.ours,
                theirs=row.theirs,
                resolution=row.resolution,
                at=row.at,
            )
            for row in rows
        ]
        return Page(items=views, next_cursor=cursor)


def view_of(row: ReconciliationRow) -> ReconciliationView:
    return ReconciliationView(
        id=row.id,
        day=row.day,
        state=row.state,  # type: ignore[arg-type]  # the table's constraint names the same words
        reason=row.reason,
        compared=row.compared,
        differences=row.differences,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
