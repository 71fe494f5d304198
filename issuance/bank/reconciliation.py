"""The daily reconciliation (对账): every account here against the bank's statement, and how each difference ended.

The statement is a walk through the bank's books while life goes on, so a card on which it differs is asked about singly
before anything is done, and left alone while something about it is on its way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

from issuance.bank.accounts import Accounts, resolution_of
from issuance.bank.link import PAGE, BankAccount, BankClosedError, BankLink, BankSilentError
from issuance.bank.models import AccountRow, DifferenceRow, ReconciliationRow
from issuance.bank.repository import AccountRepository, ReconciliationRepository
from issuance.cards.machine import AccountState
from issuance.cards.repository import CardRepository
from issuance.clock import CHINA
from issuance.logs import get_logger
from issuance.problems import ProblemError
from issuance.scope import EVERYWHERE
from issuance.unit import Desk, system_unit

if TYPE_CHECKING:
    from issuance.services import Services

LEASE = timedelta(hours=1)
RETRY = timedelta(minutes=10)
log = get_logger("issuance.bank")


async def reconcile_daily(services: Services) -> int:
    """The job: from the configured hour on, once a day for all replicas together; returns the differences found."""
    if services.bank is None:
        return 0
    now = services.clock().astimezone(CHINA)
    if now.hour < services.settings.reconcile_hour:
        return 0
    async with services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
        if await ReconciliationRepository(session).is_done(now.date()):
            return 0
    run = await reconcile(services, services.bank, now.date())
    return 0 if run is None else run.differences


async def reconcile_now(desk: Desk, reason: str) -> ReconciliationRow:
    """Compare the accounts of the caller's regions because somebody asks for it.

    Raises SERVICE_UNREACHABLE, CONFLICT.
    """
    bank = desk.services.bank
    if bank is None:
        raise ProblemError("SERVICE_UNREACHABLE", "no bank is connected to this centre")
    async with desk.unit() as unit:
        await unit.audit("bank.reconcile", "bank", region=desk.caller.region, detail={"reason": reason})
    run = await reconcile(desk.services, bank, regions=desk.caller.region_prefix)
    if run is None:
        raise ProblemError("CONFLICT", "another comparison is being made")
    return run


async def reconcile(
    services: Services, bank: BankLink, day: date | None = None, *, regions: str = ""
) -> ReconciliationRow | None:
    """Compare and resolve; None when another replica has this day. A run that broke off is begun anew.

    `regions`: what the regions of the cards begin with. A card of nobody is of none.
    """
    async with services.database.transaction(scope=EVERYWHERE) as session:
        begun = await ReconciliationRepository(session).begin(day, services.clock(), LEASE)
    if begun is None:
        return None
    run = _Run(services, bank, begun, regions)
    try:
        await run.compare()
    except (BankSilentError, BankClosedError) as error:
        return await run.end("failed", type(error).__name__)
    return await run.end("done", None)


class _Run:
    def __init__(self, services: Services, bank: BankLink, begun: ReconciliationRow, regions: str) -> None:
        self._services = services
        self._bank = bank
        self._regions = regions
        self._id = begun.id
        self.compared = 0
        self.differences = 0

    async def compare(self) -> None:
        """Both lists in order of card numbers, side by side."""
        theirs = _stepped(self._theirs())
        their = await anext(theirs, None)
        async for account in self._ours():
            while their is not None and their.card_number < account.card_number:
                await self._differ(their.card_number)
                their = await anext(theirs, None)
            found = None
            if their is not None and their.card_number == account.card_number:
                found, their = their, await anext(theirs, None)
            self.compared += account.region.startswith(self._regions)
            if resolution_of(account, found)[0] != "agree":
                await self._differ(account.card_number)
        while their is not None:
            await self._differ(their.card_number)
            their = await anext(theirs, None)

    async def end(self, state: str, reason: str | None) -> ReconciliationRow:
        now = self._services.clock()
        async with self._services.database.transaction(scope=EVERYWHERE) as session:
            row = await ReconciliationRepository(session).get(self._id)
            row.state, row.reason, row.ended_at = state, reason, now
            row.compared, row.differences = self.compared, self.differences
            row.lease_until = now + RETRY
        log.info("reconciled", state=state, compared=self.compared, differences=self.differences)
        return row

    async def _differ(self, card_number: str) -> None:
        """Ask again, then resolve; recorded unless the two agree by now."""
        async with self._services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
            seen = await AccountRepository(session).get(card_number)
            known = seen or await CardRepository(session).get(card_number)
        if not ("" if known is None else known.region).startswith(self._regions):
            return
        theirs = await self._bank.account(card_number)
        async with system_unit(self._services) as unit:
            accounts = Accounts(unit)
            card = await CardRepository(unit.session).get(card_number, is_locking=True)
            account = await AccountRepository(unit.session).get(card_number, is_locking=True)
            row = DifferenceRow(
                reconciliation_id=self._id,
                card_number=card_number,
                region="" if card is None else card.region,
                ours=AccountState.NONE.value if account is None else account.state,
                theirs=AccountState.NONE.value if theirs is None else theirs.state,
                at=unit.now,
            )
            if card is None or account is None:
                row.resolution = "unknown_card"
            elif await accounts.is_in_flight(card_number) or _moved(seen, account):
                row.resolution = "in_flight"
            else:
                resolution, kind = resolution_of(account, theirs)
                if resolution == "agree":
                    return
                row.resolution = resolution if kind is None else f"{resolution}:{kind}"
                if kind is not None:
                    await accounts.resend(card, account, kind)
                elif theirs is not None:
                    await accounts.adopt(card, account, theirs)
                    await accounts.align(card, account)
            self.differences += 1
            await ReconciliationRepository(unit.session).add_difference(row)
            await unit.audit(
                "bank.difference",
                f"card:{card_number}",
                region=row.region or None,
                detail={"ours": row.ours, "theirs": row.theirs, "resolution": row.resolution},
            )

    async def _ours(self) -> AsyncIterator[AccountRow]:
        last = ""
        while True:
            async with self._services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
                rows = await AccountRepository(session).after(last, PAGE)
            for row in rows:
                yield row
            if not rows:
                return
            last = rows[-1].card_number

    async def _theirs(self) -> AsyncIterator[BankAccount]:
        last = ""
        while accounts := await self._bank.statement(last):
            for account in accounts:
                yield account
            last = accounts[-1].card_number


async def _stepped(accounts: AsyncIterator[BankAccount]) -> AsyncIterator[BankAccount]:
    """Raises BankSilentError when the statement is not in order, which would go on for ever."""
    last = ""
    async for account in accounts:
        if account.card_number <= last:
            raise BankSilentError("the statement is not in order of card numbers")
        last = account.card_number
        yield account


def _moved(seen: AccountRow | None, now: AccountRow) -> bool:
    """Whether the account changed while the bank was asked."""
    return seen is None or (seen.state, seen.operation_id) != (now.state, now.operation_id)
