"""`/v1/cards` and `/v1/found-cards`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Depends, Header, Path, Query, Response, status
from pydantic import BaseModel

from issuance.applications.schemas import ApplicationView
from issuance.cards.commands import CardCommands
from issuance.cards.found import FoundCards
from issuance.cards.schemas import (
    CardEvent,
    CardNumber,
    CardOrder,
    CardResult,
    CardState,
    CardSummary,
    CardView,
    FoundCard,
    FoundCardView,
    HolderChange,
    HolderEnd,
    LossOrder,
    RenewalOrder,
    ReplacementOrder,
)
from issuance.cards.service import CardService
from issuance.database import MAX_ID
from issuance.idempotency import RequiredKey, once
from issuance.input_rules import field_error
from issuance.paging import Page, PageQuery
from issuance.problems import bad_input
from issuance.unit import AttendedUnit, OperatorUnit, RecordedAttendedUnit, Unit

router = APIRouter(tags=["cards"])

Number = Annotated[CardNumber, Path(description="卡号, with or without hyphen")]
FoundId = Annotated[int, Path(ge=1, le=MAX_ID)]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", pattern=r'^"[1-9][0-9]{0,8}"$', description='The card\'s ETag as seen, such as "3"'),
]
Order = TypeVar("Order", bound=CardOrder)
Answer = TypeVar("Answer", bound=BaseModel)
CARD, FOUND = "/v1/cards/{card_number}", "/v1/found-cards"


# -- looking ----------------------------------------------------------------------------------------------------------


@router.get("/v1/cards", summary="List the cards of the regions served, by card number")
async def find(
    unit: RecordedAttendedUnit,
    page: PageQuery,
    state: Annotated[
        list[CardState] | None, Query(max_length=6, description="卡应用状态; several may be given")
    ] = None,
    expires_until: Annotated[date | None, Query(description="Cards that expire on this day or before")] = None,
    rewrite_pending: Annotated[bool | None, Query(description="Whether the chip is to be rewritten")] = None,
) -> Page[CardSummary]:
    return await CardService(unit).find(page, states=state or [], expires_until=expires_until, rewrite=rewrite_pending)


@router.get(CARD, summary="Show a card, its holder masked; the ETag is its version")
async def view(card_number: Number, unit: RecordedAttendedUnit, response: Response) -> CardView:
    card = await CardService(unit).view(card_number)
    response.headers["ETag"] = f'"{card.version}"'
    return card


@router.get(f"{CARD}/history", summary="What happened to a card, newest first")
async def history(card_number: Number, unit: RecordedAttendedUnit, page: PageQuery) -> Page[CardEvent]:
    return await CardService(unit).history(card_number, page)


# -- the life of a card -----------------------------------------------------------------------------------------------


class CardCall:
    """Path, key and version of a command to one card; a repeated one gets its first answer."""

    def __init__(self, card_number: Number, key: RequiredKey, response: Response, seen: IfMatch = None) -> None:
        self._number = card_number
        self._key = key
        self._response = response
        self._seen = seen

    async def act(self, unit: Unit, act: str, order: CardOrder) -> CardResult:
        return await self.run(unit, act, order, lambda commands, number, seen: commands.act(number, act, seen))

    async def run(
        self, unit: Unit, act: str, order: Order, command: Callable[[CardCommands, str, Order], Awaitable[CardResult]]
    ) -> CardResult:
        result = await self._once(unit, act, order, CardResult, command)
        self._response.headers["ETag"] = f'"{result.card.version}"'
        return result

    async def succeed(
        self,
        unit: Unit,
        act: str,
        order: Order,
        command: Callable[[CardCommands, str, Order], Awaitable[ApplicationView]],
    ) -> ApplicationView:
        return await self._once(unit, act, order, ApplicationView, command)

    async def _once(
        self,
        unit: Unit,
        act: str,
        order: Order,
        answer_type: type[Answer],
        command: Callable[[CardCommands, str, Order], Awaitable[Answer]],
    ) -> Answer:
        order = _seen(order, self._seen)

        async def make() -> Answer:
            return await command(CardCommands(unit), self._number, order)

        scope = f"card.{act}:{self._number}"
        return await once(unit, self._response, scope, self._key, order, answer_type, make)


def _seen(order: Order, etag: str | None) -> Order:
    """`If-Match` stands for the field `version`. Raises INPUT_INVALID when both are given and differ."""
    if etag is None:
        return order
    version = int(etag.strip('"'))
    if order.version not in (None, version):
        raise bad_input(field_error("header.If-Match", "version_differs"))
    return order.model_copy(update={"version": version})


Call = Annotated[CardCall, Depends()]


@router.post(f"{CARD}/enable", summary="Enable the social security side (启用): 封存 to 正常")
async def enable(order: CardOrder, call: Call, unit: AttendedUnit) -> CardResult:
    return await call.act(unit, "enable", order)


@router.post(f"{CARD}/loss", summary="Report a loss (挂失), temporary or formal; account and electronic card follow")
async def lose(order: LossOrder, call: Call, unit: AttendedUnit) -> CardResult:
    return await call.run(unit, "loss", order, CardCommands.lose)


@router.post(f"{CARD}/release", summary="Release a loss (解挂), as far as the region's rules allow")
async def release(order: CardOrder, call: Call, unit: AttendedUnit) -> CardResult:
    return await call.run(unit, "release", order, CardCommands.release)


@router.post(f"{CARD}/lock", summary="Lock the application of a card (应用锁定)")
async def lock(order: CardOrder, call: Call, unit: OperatorUnit) -> CardResult:
    return await call.act(unit, "lock", order)


@router.post(f"{CARD}/unlock", summary="Unlock the application of a card")
async def unlock(order: CardOrder, call: Call, unit: OperatorUnit) -> CardResult:
    return await call.act(unit, "unlock", order)


@router.post(f"{CARD}/cancel", summary="Cancel a card for good (注销); the account is closed")
async def cancel(order: CardOrder, call: Call, unit: AttendedUnit) -> CardResult:
    return await call.act(unit, "cancel", order)


@router.post(f"{CARD}/holder-end", summary="The holder died or left for good: both sides of the card end")
async def end_holder(order: HolderEnd, call: Call, unit: OperatorUnit) -> CardResult:
    return await call.run(unit, "end", order, CardCommands.end_holder)


@router.post(f"{CARD}/holder", summary="Change the holder's data (信息变更); the chip follows at its next visit")
async def change_holder(order: HolderChange, call: Call, unit: AttendedUnit) -> CardResult:
    return await call.run(unit, "holder", order, CardCommands.change_holder)


@router.post(f"{CARD}/account", summary="Ask the bank for an account (金融账户) for this card")
async def open_account(order: CardOrder, call: Call, unit: AttendedUnit) -> CardResult:
    return await call.run(unit, "account", order, CardCommands.open_account)


@router.post(
    f"{CARD}/replacements", status_code=status.HTTP_201_CREATED, summary="Replace a lost, damaged or bad card (补换卡)"
)
async def replace(order: ReplacementOrder, call: Call, unit: AttendedUnit) -> ApplicationView:
    return await call.succeed(unit, "replace", order, CardCommands.replace)


@router.post(f"{CARD}/renewals", status_code=status.HTTP_201_CREATED, summary="Renew a card about to expire (到期换卡)")
async def renew(order: RenewalOrder, call: Call, unit: AttendedUnit) -> ApplicationView:
    return await call.succeed(unit, "renew", order, CardCommands.renew)


# -- found cards ------------------------------------------------------------------------------------------------------


@router.post(
    FOUND, status_code=status.HTTP_201_CREATED, summary="Register a card that was handed in; its holder is told"
)
async def register_found(found: FoundCard, key: RequiredKey, unit: AttendedUnit, response: Response) -> FoundCardView:
    async def make() -> FoundCardView:
        return await FoundCards(unit).register(found)

    return await once(unit, response, "found", key, found, FoundCardView, make)


@router.get(FOUND, summary="List found cards of the regions served")
async def list_found(
    unit: AttendedUnit,
    page: PageQuery,
    state: Literal["kept", "returned", "destroyed"] | None = None,
    overdue: Annotated[bool | None, Query(description="Kept longer than they have to be")] = None,
) -> Page[FoundCardView]:
    return await FoundCards(unit).find(page, state=state, is_overdue=overdue)


@router.post(f"{FOUND}/{{found_id}}/hand-back", summary="The holder has fetched a found card")
async def hand_back(found_id: FoundId, key: RequiredKey, unit: AttendedUnit, response: Response) -> FoundCardView:
    return await _end_found(unit, response, found_id, "returned", key)


@router.post(
    f"{FOUND}/{{found_id}}/destroy", summary="A found card that nobody fetches, or that is lost, was destroyed"
)
async def destroy(found_id: FoundId, key: RequiredKey, unit: AttendedUnit, response: Response) -> FoundCardView:
    return await _end_found(unit, response, found_id, "destroyed", key)


async def _end_found(
    unit: Unit, response: Response, found_id: int, how: Literal["returned", "destroyed"], key: str
) -> FoundCardView:
    async def make() -> FoundCardView:
        return await FoundCards(unit).end(found_id, how)

    nothing = CardOrder()
    return await once(unit, response, f"found.{how}:{found_id}", key, nothing, FoundCardView, make)
