"""`/v1/terminals`: terminals as machines. A registration is the one request here that nobody signs as a client."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response, status

from cardlib.terminal_state import DiagnosisUpload, Heartbeat, Orders, Received, Registered, RegistrationRequest
from issuance.clerks.login import shortened
from issuance.clients.schemas import ClientId
from issuance.terminals.fleet import FleetService
from issuance.terminals.fleet_schemas import (
    DiagnosisOrder,
    Invitation,
    InvitationView,
    LockOrder,
    TerminalAccount,
    TerminalStateView,
)
from issuance.terminals.registrations import RegistrationService, invite
from issuance.unit import OperatorUnit, RecordedOperatorUnit, TerminalUnit, services_of

router = APIRouter(prefix="/v1/terminals", tags=["terminals"])
Terminal = Annotated[ClientId, Path()]
_ZIP = "application/zip"


@router.post(
    "/invitations", status_code=status.HTTP_201_CREATED, summary="Make the one-time code that registers one terminal"
)
async def make_invitation(invitation: Invitation, unit: OperatorUnit) -> InvitationView:
    return await invite(unit, invitation)


@router.post(
    "/registrations",
    status_code=status.HTTP_201_CREATED,
    summary="Register a terminal's own key by a one-time code; the same code and key again get the same answer",
)
async def register(registration: RegistrationRequest, request: Request) -> Registered:
    address = request.client.host if request.client is not None else ""
    return await RegistrationService(services_of(request)).register(registration, shortened(address))


@router.post("/heartbeats", summary="How the calling terminal is; the answer says what it is to do")
async def heartbeat(beat: Heartbeat, unit: TerminalUnit) -> Orders:
    return await FleetService(unit).take(beat)


@router.post("/diagnoses", summary="The diagnosis bundle that an order asked for")
async def diagnosis(upload: DiagnosisUpload, unit: TerminalUnit) -> Received:
    await FleetService(unit).take_diagnosis(upload)
    return Received()


@router.get("/states", summary="Terminals with their state, in the order of their ids")
async def states(
    unit: OperatorUnit,
    after: Annotated[str, Query(max_length=64, description="The last id of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> list[TerminalStateView]:
    return await FleetService(unit).states(after, limit)


@router.get("/{client_id}", summary="One terminal: last heartbeat, last changes of state, lock, diagnosis")
async def account(client_id: Terminal, unit: OperatorUnit) -> TerminalAccount:
    return await FleetService(unit).account(client_id)


@router.post("/{client_id}/lock", summary="Have a terminal refuse card work from its next heartbeat on")
async def lock(client_id: Terminal, order: LockOrder, unit: OperatorUnit) -> TerminalStateView:
    return await FleetService(unit).lock(client_id, order)


@router.post("/{client_id}/unlock", summary="Let a terminal work again from its next heartbeat on")
async def unlock(client_id: Terminal, unit: OperatorUnit) -> TerminalStateView:
    return await FleetService(unit).unlock(client_id)


@router.post("/{client_id}/diagnosis-orders", summary="Ask a terminal for a diagnosis bundle")
async def order_diagnosis(client_id: Terminal, unit: OperatorUnit) -> DiagnosisOrder:
    return await FleetService(unit).order_diagnosis(client_id)


@router.get(
    "/{client_id}/diagnosis",
    summary="The last diagnosis bundle of a terminal",
    response_class=Response,
    responses={200: {"content": {_ZIP: {"schema": {"type": "string", "format": "binary"}, "example": "PK"}}}},
)
async def read_diagnosis(client_id: Terminal, unit: RecordedOperatorUnit) -> Response:
    return Response(await FleetService(unit).diagnosis(client_id), media_type=_ZIP)
