"""`POST /ecard/v1/qrcode/valid` as programs in the field call it, and the same inside the bus's encrypted envelope."""

from __future__ import annotations

import secrets
from typing import Final, Literal

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from cardlib.failures import describe
from issuance.clients.auth import act_of, caller_of
from issuance.clients.models import ClientRow
from issuance.clients.repository import ClientRepository
from issuance.clients.schemas import ClientId, Role
from issuance.codes.bus_call import (
    FAILED,
    OK,
    BusCall,
    Envelope,
    EnvelopeAnswer,
    Wire,
    sealed_keys,
    unproved,
    unsealed_keys,
)
from issuance.codes.envelope import BusCipher, BusKeys
from issuance.codes.models import BusPartnerRow
from issuance.codes.schemas import Scene
from issuance.codes.spending import CodeSpending, Presented
from issuance.login import channels
from issuance.problems import ProblemError
from issuance.services import Services
from issuance.unit import Desk, OperatorUnit, VerifierDesk, services_of

router = APIRouter(tags=["codes in the field's interface"])
API_NAME: Final = "qrcode_valid_encrypt"
SCENES: Final = {"01": Scene.IDENTITY, "02": Scene.PAYMENT, "03": Scene.IDENTITY, "04": Scene.IDENTITY}
"""busiType 01 业务查询 (identity), 02 缴费支付, 03 其他, 04 异地就医."""
_CODE = "OC1.3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


class QrCodeValid(Wire):
    """Fields of the field's programs; more are ignored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"qrCode": _CODE, "busiType": "01"}]})

    qrCode: str = Field(min_length=1, max_length=128)  # noqa: N815
    busiType: Literal["01", "02", "03", "04"]  # noqa: N815


class QrCodeAnswer(Wire):
    """`msgCode` 000000: accepted. 700: refused, `result.code` is the failure; a refused code is not tried again."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "msgCode": OK,
                    "msg": "成功",
                    "result": {"esscNo": "5f0c2b7e9a1d4c3f8e6b7a9d0c1e2f30", "signLevel": "1", "name": "测*甲"},
                }
            ]
        }
    )

    msgCode: str  # noqa: N815
    msg: str
    result: dict[str, str]


class BusPartnerRequest(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"cipher": "sm4-cbc"}]})

    cipher: BusCipher = Field(description="aes-ecb only for partners whose programs know nothing else: it is weak")


class BusPartner(Wire):
    """Told once; the centre keeps the keys sealed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"access_key": "a" * 32, "cipher": "sm4-cbc", "key": "0" * 32, "secret": "invented"}]
        }
    )

    access_key: str
    cipher: BusCipher
    key: str = Field(description="16 bytes in hex")
    secret: str


# -- endpoints --------------------------------------------------------------------------------------------------------


@router.post("/ecard/v1/qrcode/valid", summary="Validate a code, in the field's interface")
async def valid(request: QrCodeValid, desk: VerifierDesk) -> QrCodeAnswer:
    return await _answered(desk, request)


@router.post("/ecard/v1/bus", summary="Codes and scan log-in in the bus's encrypted envelope")
async def bus(envelope: Envelope, request: Request) -> EnvelopeAnswer:
    services, call = services_of(request), BusCall.of(request, envelope)
    if call.service in channels.SERVICES:
        return await channels.answer(services, request, call)
    desk, keys = await _partner(services, request, call)
    async with desk.ahead():
        asked = call.opened(keys, QrCodeValid)
    answer = await _answered(desk, asked)
    return EnvelopeAnswer(msgCode=answer.msgCode, msg=answer.msg, result={"encrypt": keys.encrypted(answer.result)})


@router.post("/v1/clients/{client_id}/bus-keys", status_code=201, summary="Let a verifier speak the envelope")
async def register(client_id: ClientId, request: BusPartnerRequest, unit: OperatorUnit) -> BusPartner:
    """New keys each time; those before are void."""
    client = await _verifier(unit.session, client_id)
    keys, access_key = BusKeys.new(request.cipher), secrets.token_hex(16)
    await unit.session.execute(delete(BusPartnerRow).where(BusPartnerRow.client_id == client.id))
    unit.session.add(
        BusPartnerRow(
            access_key=access_key,
            client_id=client.id,
            cipher=request.cipher,
            sealed_keys=sealed_keys(unit.services.sealer, keys, f"bus_partners:{access_key}"),
            created_at=unit.now,
        )
    )
    await unit.audit("client.bus_keys", f"client:{client.id}", region=client.region, detail={"cipher": request.cipher})
    return BusPartner(access_key=access_key, cipher=request.cipher, key=keys.key.hex(), secret=keys.secret)


@router.delete("/v1/clients/{client_id}/bus-keys", status_code=204, summary="Take the envelope away from a verifier")
async def revoke(client_id: ClientId, unit: OperatorUnit) -> None:
    client = await _verifier(unit.session, client_id)
    await unit.session.execute(delete(BusPartnerRow).where(BusPartnerRow.client_id == client.id))
    await unit.audit("client.bus_keys_end", f"client:{client.id}", region=client.region)


# -- the answer -------------------------------------------------------------------------------------------------------


async def _answered(desk: Desk, request: QrCodeValid) -> QrCodeAnswer:
    """What is wrong with a code is an answer of this interface; whatever is wrong with the caller is a problem."""
    scene = SCENES[request.busiType]
    try:
        async with desk.ahead():
            spending = CodeSpending(desk.services, desk.caller, desk.services.clock())
            spent = await spending.spend(Presented(request.qrCode, scene, f"field.{request.busiType}"))
            values = spending.values(spent, scene)
    except ProblemError as refusal:
        failure = describe(refusal.failure)
        if failure.http_status >= 500 or refusal.failure == "CLIENT_FORBIDDEN":
            raise
        return QrCodeAnswer(msgCode=FAILED, msg=failure.text_zh, result={"code": refusal.failure})
    named = {
        "name": values.get("name") or values.get("name_masked"),
        "idcard": values.get("social_security_number"),
        "aab301": values.get("region"),
        "cardStatus": values.get("card_state"),
    }
    result = {"esscNo": spent.standing.ecard_no, "signLevel": str(spent.standing.level_now)}
    return QrCodeAnswer(msgCode=OK, msg="成功", result=result | {name: value for name, value in named.items() if value})


# -- the envelope's caller --------------------------------------------------------------------------------------------


async def _partner(services: Services, request: Request, call: BusCall) -> tuple[Desk, BusKeys]:
    """Whose keys signed this request just now, and for the first time.

    Raises CLIENT_UNKNOWN, REQUEST_EXPIRED, REQUEST_REPLAYED, NOT_FOUND for another service of the bus,
    CLIENT_FORBIDDEN, ONE_TIME_UNAVAILABLE.
    """
    async with services.database.look() as session:
        row = await session.scalar(select(BusPartnerRow).where(BusPartnerRow.access_key == call.access_key))
    client = None if row is None else await services.clients.find(row.client_id)
    keys = None if row is None else _unsealed(services, row)
    if client is None or client.status != "active" or keys is None or not call.is_signed_by(keys):
        name, region = ("", None) if client is None else (client.id, client.region)
        raise await unproved(services, request, name, region)
    request.state.client_id = client.id
    desk = Desk(services, caller_of(client), act_of(request), (Role.VERIFIER,))
    async with desk.ahead():
        await call.demand_fresh(services, client.id, served=frozenset({API_NAME}))
    return desk, keys


async def _verifier(session: AsyncSession, client_id: str) -> ClientRow:
    client = await ClientRepository(session).get(client_id)
    if client is None or Role.VERIFIER not in client.roles:
        raise ProblemError("NOT_FOUND", "no such verifier", subject=f"client:{client_id}")
    return client


def _unsealed(services: Services, row: BusPartnerRow) -> BusKeys:
    return unsealed_keys(services.sealer, row.cipher, row.sealed_keys, f"bus_partners:{row.access_key}")
