"""`/v1/self-service`: what kiosks ask. Everything about a person is in bodies, none of it in addresses."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status

from issuance.applications.schemas import ApplicationView
from issuance.clients.schemas import Role
from issuance.codes.schemas import IssuedCode
from issuance.idempotency import RequiredKey, once
from issuance.self_service import log_ins
from issuance.self_service.desk import KioskDesk
from issuance.self_service.holders import Holders
from issuance.self_service.records import Records
from issuance.self_service.schemas import (
    CardChoice,
    HolderQuestion,
    HolderView,
    KioskContinuation,
    KioskLogIn,
    KioskOrder,
    KioskResult,
    KioskSuccession,
    LogInLook,
    LogInQuestion,
    Offer,
    RecordsPage,
    RecordsQuestion,
)
from issuance.unit import Desk, TerminalUnit, desk_for

router = APIRouter(prefix="/v1/self-service", tags=["self-service"])
TerminalDesk = Annotated[Desk, Depends(desk_for(Role.TERMINAL))]


@router.get("", summary="What the centre offers at kiosks, whoever stands there")
async def offer(desk: TerminalDesk) -> Offer:
    return Offer(
        log_in=await log_ins.is_offered(desk.services),
        sign_up_url=desk.services.settings.ecard_sign_up_url,
        region=desk.caller.region,
    )


@router.post("/holders", summary="Who stands at the kiosk, and what that person may see and do there now")
async def holders(question: HolderQuestion, unit: TerminalUnit) -> HolderView:
    return await Holders(unit).known(question)


@router.post("/acts", summary="Enable, report lost or release the own card")
async def act(order: KioskOrder, unit: TerminalUnit, key: RequiredKey, response: Response) -> KioskResult:
    desk = KioskDesk(unit, order.visit)

    async def make() -> KioskResult:
        return await desk.act(order)

    return await once(unit, response, f"kiosk.{order.act}", key, order, KioskResult, make)


@router.post("/successions", status_code=status.HTTP_201_CREATED, summary="Apply for a card in place of the own one")
async def succeed(order: KioskSuccession, unit: TerminalUnit, key: RequiredKey, response: Response) -> ApplicationView:
    desk = KioskDesk(unit, order.visit)

    async def make() -> ApplicationView:
        return await desk.succeed(order)

    return await once(unit, response, f"kiosk.{order.act}", key, order, ApplicationView, make)


@router.post("/continuations", summary="Go on here with the person's application that was taken in elsewhere")
async def go_on(order: KioskContinuation, unit: TerminalUnit) -> ApplicationView:
    return await KioskDesk(unit, order.visit).go_on(order.application_id)


@router.post("/records", summary="The person's own records: uses of the cards, who looked, what was done")
async def records(question: RecordsQuestion, unit: TerminalUnit) -> RecordsPage:
    return await Records(unit, KioskDesk(unit, question.visit)).page(question)


@router.post("/codes", status_code=status.HTTP_201_CREATED, summary="An identity code to be shown at the kiosk, once")
async def code(choice: CardChoice, unit: TerminalUnit) -> IssuedCode:
    return await KioskDesk(unit, choice.visit).code(choice.card)


@router.post(
    "/log-ins", status_code=status.HTTP_201_CREATED, summary="A code for the phone of whoever stands at the kiosk"
)
async def log_in(desk: TerminalDesk, request: Request) -> KioskLogIn:
    return await log_ins.begin(desk, request.client.host if request.client is not None else "")


@router.post("/log-ins/look", summary="How far that is; once it is approved, who it is")
async def look(question: LogInQuestion, desk: TerminalDesk) -> LogInLook:
    return await log_ins.look(desk, question)
