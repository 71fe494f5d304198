"""`/v1/relying-parties`: whom people can log in to, kept by operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, status

from issuance.clients.schemas import ClientId
from issuance.login.relying_parties import (
    PartyKeys,
    RegisteredParty,
    RelyingPartyRegistration,
    RelyingPartyService,
    RelyingPartyView,
)
from issuance.unit import OperatorUnit

router = APIRouter(prefix="/v1/relying-parties", tags=["login"])


@router.post("", status_code=status.HTTP_201_CREATED, summary="Register a system that people log in to")
async def register(registration: RelyingPartyRegistration, unit: OperatorUnit) -> RegisteredParty:
    return await RelyingPartyService(unit).register(registration)


@router.get("", summary="List the systems that people log in to")
async def list_parties(unit: OperatorUnit) -> list[RelyingPartyView]:
    return await RelyingPartyService(unit).list()


@router.put("/{client_id}/keys", summary="Replace the public keys of a system")
async def replace_keys(client_id: Annotated[ClientId, Path()], keys: PartyKeys, unit: OperatorUnit) -> RelyingPartyView:
    return await RelyingPartyService(unit).replace_keys(client_id, keys)


@router.post("/{client_id}/suspend", summary="Refuse a system, its codes and tokens from now on")
async def suspend(client_id: Annotated[ClientId, Path()], unit: OperatorUnit) -> RelyingPartyView:
    return await RelyingPartyService(unit).suspend(client_id)
