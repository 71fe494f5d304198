"""`/v1/relying-parties/{client_id}/channel`: relying parties that speak the field's interface, kept by operators."""

from __future__ import annotations

import secrets
from typing import Annotated, Final

from fastapi import APIRouter, Path, status
from pydantic import ConfigDict, Field, JsonValue
from sqlalchemy import delete

from cardlib.wire import Message
from issuance.clients.schemas import ClientId
from issuance.codes.bus_call import sealed_keys
from issuance.codes.envelope import BusCipher, BusKeys
from issuance.database import add_unless_taken
from issuance.login.channels import context_of
from issuance.login.ministry_models import LoginChannelRow
from issuance.login.models import RelyingPartyRow
from issuance.login.relying_parties import CHANNEL_GRANT, RelyingPartyRepository
from issuance.problems import ProblemError
from issuance.unit import OperatorUnit, Unit

router = APIRouter(prefix="/v1/relying-parties/{client_id}/channel", tags=["login"])
PartyId = Annotated[ClientId, Path()]
_NUMBERS: Final[dict[str, JsonValue]] = {"channel_no": "1000000001", "access_no": "2000000001", "cipher": "sm4-cbc"}


class ChannelRequest(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [_NUMBERS]})

    channel_no: str = Field(pattern="^[0-9]{10}$", description="channelNo of its requests")
    access_no: str = Field(pattern="^[0-9]{10}$", description="accessNo (地方接入编号) of its requests")
    cipher: BusCipher = Field(
        default="sm4-cbc", description="aes-ecb only for systems whose programs know nothing else: it is weak"
    )


class ChannelKeys(Message):
    """Told once; the centre keeps the keys sealed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_NUMBERS | {"access_key": "a" * 32, "key": "0" * 32, "secret": "invented"}]}
    )

    channel_no: str
    access_no: str
    cipher: BusCipher
    access_key: str
    key: str = Field(description="16 bytes in hex", repr=False)
    secret: str = Field(repr=False)


@router.post("", status_code=status.HTTP_201_CREATED, summary="Let a relying party speak the field's scan log-in")
async def register(client_id: PartyId, request: ChannelRequest, unit: OperatorUnit) -> ChannelKeys:
    """New keys each time; those before are void."""
    party = await _party(unit, client_id)
    if CHANNEL_GRANT not in party.grant_types:
        raise ProblemError("CONFLICT", "not registered for the field's interface", subject=_subject(client_id))
    keys, access_key = BusKeys.new(request.cipher), secrets.token_hex(16)
    await unit.session.execute(delete(LoginChannelRow).where(LoginChannelRow.client_id == party.id))
    row = LoginChannelRow(
        client_id=party.id,
        channel_no=request.channel_no,
        access_no=request.access_no,
        access_key=access_key,
        cipher=request.cipher,
        sealed_keys=sealed_keys(unit.services.sealer, keys, context_of(party.id)),
        created_at=unit.now,
    )
    if not await add_unless_taken(unit.session, row):
        raise ProblemError("CONFLICT", "another channel has these numbers", subject=_subject(client_id))
    detail = {"channel_no": row.channel_no, "access_no": row.access_no, "cipher": row.cipher}
    await unit.audit("login.channel.register", _subject(client_id), region=party.region, detail=detail)
    return ChannelKeys(**request.model_dump(), access_key=access_key, key=keys.key.hex(), secret=keys.secret)


@router.delete("", status_code=status.HTTP_204_NO_CONTENT, summary="Take the field's scan log-in away from it")
async def remove(client_id: PartyId, unit: OperatorUnit) -> None:
    party = await _party(unit, client_id)
    await unit.session.execute(delete(LoginChannelRow).where(LoginChannelRow.client_id == party.id))
    await unit.audit("login.channel.remove", _subject(client_id), region=party.region)


async def _party(unit: Unit, client_id: str) -> RelyingPartyRow:
    party = await RelyingPartyRepository(unit.session).get(client_id)
    if party is None:
        raise ProblemError("NOT_FOUND", "no such relying party", subject=_subject(client_id))
    return party


def _subject(client_id: str) -> str:
    return f"relying-party:{client_id}"
