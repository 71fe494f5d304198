"""`/v1/login-denials`: who may not log in, kept by operators while the service runs."""

from __future__ import annotations

from fastapi import APIRouter, status

from issuance.login.denials import Denial, DenialEntry, DenialService, NewDenial
from issuance.unit import OperatorUnit

router = APIRouter(prefix="/v1/login-denials", tags=["login"])


@router.post("", status_code=status.HTTP_201_CREATED, summary="Let nobody log in from a network or to a system")
async def deny(wanted: NewDenial, unit: OperatorUnit) -> Denial:
    return await DenialService(unit).add(wanted)


@router.get("", summary="List the networks and systems that are denied, beside those of the settings")
async def list_denials(unit: OperatorUnit) -> list[Denial]:
    return await DenialService(unit).list()


@router.post("/remove", summary="Take an entry off the deny list")
async def remove(denied: DenialEntry, unit: OperatorUnit) -> Denial:
    return await DenialService(unit).remove(denied.entry)
