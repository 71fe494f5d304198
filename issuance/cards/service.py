"""Cards: born when a personalised card has been read back, shown, listed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from issuance.applications.models import ApplicationRow
from issuance.bank.accounts import Accounts
from issuance.bank.repository import AccountRepository
from issuance.cards.history import History
from issuance.cards.life_cycle import LifeCycle, subject_of
from issuance.cards.machine import STATE_NAMES, AccountState, CardState
from issuance.cards.models import CardEventRow, CardRow, RetiredChipRow, SuccessionRow
from issuance.cards.repository import CardRepository
from issuance.cards.schemas import AccountView, CardEvent, CardSummary, CardView
from issuance.ecards.coupling import EcardCoupling
from issuance.ecards.repository import EcardRepository
from issuance.paging import Page, PageRequest
from issuance.persons.repository import PersonRepository
from issuance.persons.service import masked
from issuance.problems import ProblemError
from issuance.unit import Unit


class CardService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._cards = CardRepository(unit.session)
        self._cycle = LifeCycle(unit)
        self._history = History(unit)

    async def enable(self, application: ApplicationRow, identification_code: str, key_version: int) -> CardRow:
        """Record the card of a reserved application as normal; the one whose place it takes ends in the same moment.

        Raises ALREADY_ISSUED.
        """
        succession = await self._cards.succession(application.id)
        before = None if succession is None else await self._cards.get(succession.card_number, is_locking=True)
        if succession is not None and before is not None and succession.keeps_number:
            return await self._renumber(before, succession, application, identification_code, key_version)
        if succession is not None and before is not None:
            await self._cycle.do(before, "replace", reason=succession.reason, as_system=True)
        row = await self._add(application, identification_code, key_version)
        if before is not None:
            await EcardCoupling(self._unit).move(before, row)
        if self._unit.services.bank is not None:
            await Accounts(self._unit).open(row)
        return row

    async def _add(self, application: ApplicationRow, identification_code: str, key_version: int) -> CardRow:
        row = CardRow(
            card_number=application.card_number,
            application_id=application.id,
            person_id=application.person_id,
            reset_information=application.reset_information,
            identification_code=identification_code,
            region=application.region,
            generation=application.generation,
            key_version=key_version,
            state=CardState.NORMAL.value,
            issue_date=application.issue_date,
            expiry_date=application.expiry_date,
            version=0,
            state_since=self._unit.now,
            state_by=self._unit.by,
            created_at=self._unit.now,
            updated_at=self._unit.now,
        )
        if not await self._cards.add(row):
            raise ProblemError("ALREADY_ISSUED", "this person has a card", application_id=application.id)
        await self._history.record(row, "social", "issue", "", row.state, detail={"application": application.id})
        await self._unit.audit("card.enable", subject_of(row), region=row.region, application_id=application.id)
        return row

    async def _renumber(
        self,
        row: CardRow,
        succession: SuccessionRow,
        application: ApplicationRow,
        identification_code: str,
        key_version: int,
    ) -> CardRow:
        """同号换卡: the number goes on with the new chip, the old chip is served nowhere any more."""
        if application.reset_information is None or application.issue_date is None or application.expiry_date is None:
            raise ProblemError("APPLICATION_STATE", "nothing is reserved", application_id=application.id)
        await self._cards.retire_chip(
            RetiredChipRow(
                reset_information=row.reset_information,
                card_number=row.card_number,
                identification_code=row.identification_code,
                application_id=row.application_id,
                retired_at=self._unit.now,
            )
        )
        row.application_id, row.reset_information = application.id, application.reset_information
        row.identification_code, row.key_version = identification_code, key_version
        row.generation = application.generation
        row.issue_date, row.expiry_date = application.issue_date, application.expiry_date
        await self._cards.drop_rewrite(row.card_number)
        await self._cycle.do(row, "renumber", reason=succession.reason, as_system=True)
        return row

    # -- looking ------------------------------------------------------------------------------------------------

    async def view(self, card_number: str) -> CardView:
        row = await self._cycle.card(card_number, is_locking=False)
        await self._unit.audit("card.read", subject_of(row), region=row.region, application_id=row.application_id)
        return await self.view_of(row)

    async def view_of(self, row: CardRow) -> CardView:
        unit, state = self._unit, CardState(row.state)
        ecard = await EcardRepository(unit.session).of_card(row.card_number)
        person = await PersonRepository(unit.session, unit.services.sealer).data(row.person_id)
        account = await AccountRepository(unit.session).get(row.card_number)
        return CardView(
            card_number=row.card_number,
            state=state,
            state_name=STATE_NAMES[state],
            state_since=row.state_since,
            state_by=row.state_by,
            version=row.version,
            temporary_until=row.temporary_until,
            possible=[transition.act for transition in await self._cycle.possible(row)],
            region=row.region,
            generation=row.generation,
            identification_code=row.identification_code,
            holder=masked(person),
            issue_date=row.issue_date,
            expiry_date=row.expiry_date,
            account=AccountView(state=AccountState.NONE, number=None, since=None)
            if account is None
            else AccountView(
                state=AccountState(account.state), number=Accounts(unit).masked_number(account), since=account.since
            ),
            rewrite_pending=await self._cards.has_rewrite(row.card_number),
            successor_application=await self._cards.open_succession(row.card_number),
            ecard_no=None if ecard is None else ecard.ecard_no,
            ecard_state=None if ecard is None else ecard.state,
        )

    async def find(
        self, page: PageRequest, *, states: Sequence[CardState], expires_until: date | None, rewrite: bool | None
    ) -> Page[CardSummary]:
        rows, cursor = await self._cards.find(
            page,
            region_prefix=self._unit.caller.region_prefix,
            states=states,
            expires_until=expires_until,
            has_rewrite=rewrite,
        )
        await self._unit.audit("card.list", "cards", region=self._unit.caller.region, detail={"count": len(rows)})
        return Page(items=[_summary(row) for row in rows], next_cursor=cursor)

    async def history(self, card_number: str, page: PageRequest) -> Page[CardEvent]:
        row = await self._cycle.card(card_number, is_locking=False)
        rows, cursor = await self._cards.history(row.card_number, page)
        await self._unit.audit("card.history", subject_of(row), region=row.region, application_id=row.application_id)
        return Page(items=[_event(event) for event in rows], next_cursor=cursor)


def _summary(row: CardRow) -> CardSummary:
    return CardSummary(
        card_number=row.card_number,
        state=CardState(row.state),
        version=row.version,
        region=row.region,
        generation=row.generation,
        state_since=row.state_since,
        temporary_until=row.temporary_until,
        expiry_date=row.expiry_date,
    )


def _event(row: CardEventRow) -> CardEvent:
    return CardEvent(
        id=row.id,
        side=row.side,
        act=row.act,
        from_state=row.old_state,
        to_state=row.new_state,
        at=row.at,
        by=row.by,
        client_id=row.client_id,
        reason=row.reason,
        version=row.version,
        detail=row.detail,
    )
