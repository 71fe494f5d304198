"""How the acts that may need two clerks are done: what they take, what they are about, what carries them out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from issuance.cards.commands import CardCommands
from issuance.cards.life_cycle import LifeCycle, subject_of
from issuance.cards.repository import CardRepository
from issuance.cards.schemas import CardNumber, CardOrder, HolderEnd
from issuance.clerks.acts import Act
from issuance.clerks.errands import ticket_in
from issuance.clerks.schemas import ClerkBinding, OfficePassword
from issuance.clerks.service import ClerkService
from issuance.offices.service import OfficeService
from issuance.problems import ProblemError
from issuance.stock.ledger import StockLedger
from issuance.stock.movement_schemas import DestroyOrder
from issuance.stock.movements import MovementService
from issuance.stock.repository import CardNumberRepository
from issuance.stock.schemas import NumberChange
from issuance.stock.service import StockService
from issuance.unit import Unit


class CardCancel(CardOrder):
    card_number: CardNumber


class CardHolderEnd(HolderEnd):
    card_number: CardNumber


@dataclass(frozen=True, slots=True)
class About:
    """What an act is about. `others`: regions that have a say beside `region`, since the act reaches into them."""

    subject: str
    region: str
    others: frozenset[str] = frozenset()

    @property
    def regions(self) -> frozenset[str]:
        return self.others | {self.region}


@dataclass(frozen=True, slots=True)
class Runner:
    """`about` raises NOT_FOUND for what the asking clerk does not serve."""

    body: type[BaseModel]
    about: Callable[[Unit, Any], Awaitable[About]]
    run: Callable[[Unit, Any], Awaitable[BaseModel]]


async def _card(unit: Unit, body: CardCancel) -> About:
    row = await LifeCycle(unit).card(body.card_number, is_locking=False)
    return About(subject_of(row), row.region)


async def _holder(unit: Unit, body: CardHolderEnd) -> About:
    """Wherever the person has or had a card: no region makes another one for who died."""
    row = await LifeCycle(unit).card(body.card_number, is_locking=False)
    return About(subject_of(row), row.region, await CardRepository(unit.session).regions_of(row.person_id))


async def _cancel(unit: Unit, body: CardCancel) -> BaseModel:
    return await CardCommands(unit).act(body.card_number, "cancel", _without_number(CardOrder, body))


async def _end_holder(unit: Unit, body: CardHolderEnd) -> BaseModel:
    return await CardCommands(unit).end_holder(body.card_number, _without_number(HolderEnd, body))


def _without_number(kind: type[Any], body: BaseModel) -> Any:
    return kind(**body.model_dump(exclude={"card_number"}))


async def _place(unit: Unit, body: DestroyOrder) -> About:
    row = await StockLedger(unit).place(body.place_id, "")
    return About(f"place:{row.id}", row.region)


async def _destroy(unit: Unit, body: DestroyOrder) -> BaseModel:
    return await MovementService(unit).destroy(body)


async def _numbers(unit: Unit, body: NumberChange) -> About:
    """Raises CONFLICT for numbers under several rule packs: one of them may want two clerks where another does not."""
    first = min(body.numbers)
    rows = await CardNumberRepository(unit.session).rows(sorted(set(body.numbers)))
    if first not in rows:
        raise ProblemError("NOT_FOUND", f"number {first} is not in the pool")
    if len({unit.services.rules.pack(row.region).region for row in rows.values()}) > 1:
        raise ProblemError("CONFLICT", "numbers of several regions; ask for each region", subject=f"number:{first}")
    return About(f"number:{first}", rows[first].region)


async def _change_numbers(unit: Unit, body: NumberChange) -> BaseModel:
    return await StockService(unit).change_numbers(body)


async def _clerk(unit: Unit, body: ClerkBinding) -> About:
    """Raises ScanOverError for a card that somebody else had scanned, or for another clerk."""
    ticket = ticket_in(unit.services, body.ticket)
    row = await ClerkService(unit).bindable(ticket, body.login, asked_by=unit.by)
    return About(f"clerk:{row.id}", row.region)


async def _bind(unit: Unit, body: ClerkBinding) -> BaseModel:
    ticket = ticket_in(unit.services, body.ticket, is_waiting=True)
    return await ClerkService(unit).bind(ticket, body.login)


async def _office(unit: Unit, body: OfficePassword) -> About:
    """Raises CONFLICT where the asking clerk would be locked out."""
    row = await OfficeService(unit).row(body.office_id)
    if not body.takes_password:
        await ClerkService(unit).demand_bound(unit.by)
    return About(f"office:{row.id}", row.region)


async def _set_password_use(unit: Unit, body: OfficePassword) -> BaseModel:
    return await OfficeService(unit).set_password_use(body.office_id, takes_password=body.takes_password)


RUNNERS: dict[Act, Runner] = {
    Act.CARD_CANCEL: Runner(CardCancel, _card, _cancel),
    Act.HOLDER_END: Runner(CardHolderEnd, _holder, _end_holder),
    Act.STOCK_DESTROY: Runner(DestroyOrder, _place, _destroy),
    Act.NUMBER_CHANGE: Runner(NumberChange, _numbers, _change_numbers),
    Act.CLERK_BIND: Runner(ClerkBinding, _clerk, _bind),
    Act.OFFICE_PASSWORD: Runner(OfficePassword, _office, _set_password_use),
}
