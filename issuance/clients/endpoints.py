"""`/v1/clients`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, status

from issuance.clients.schemas import ClientId, ClientRegistration, ClientView
from issuance.clients.service import ClientService
from issuance.unit import OperatorUnit

router = APIRouter(prefix="/v1/clients", tags=["clients"])


@router.post("", status_code=status.HTTP_201_CREATED, summary="Register a terminal, wallet, verifier or operator")
async def register(registration: ClientRegistration, unit: OperatorUnit) -> ClientView:
    return await ClientService(unit).register(registration)


@router.get("", summary="List registered clients")
async def list_clients(unit: OperatorUnit) -> list[ClientView]:
    return await ClientService(unit).list()


@router.post("/{client_id}/suspend", summary="Refuse a client from now on")
async def suspend(client_id: Annotated[ClientId, Path()], unit: OperatorUnit) -> ClientView:
    return await ClientService(unit).suspend(client_id)
