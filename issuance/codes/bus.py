"""`POST /ecard/v1/qrcode/valid` as programs in the field call it, and the same inside the bus's encrypted envelope."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from cardlib.failures import describe
from hsm.primitives import default_engine
from issuance.audit.refusals import record_refusal
from issuance.clients.auth import act_of, caller_of
from issuance.clients.models import ClientRow
from issuance.clients.repository import ClientRepository
from issuance.clients.schemas import ClientId, Role
from issuance.codes.envelope import (
    MAX_SECURITY,
    SIGNATURE_HEADER,
    SIGNED_HEADERS,
    VERSION,
    BusCipher,
    BusKeys,
    EnvelopeError,
)
from issuance.codes.models import BusPartnerRow
from issuance.codes.schemas import Scene
from issuance.codes.spending import CodeSpending, Presented
from issuance.input_rules import field_error
from issuance.problems import ProblemError, bad_input
from issuance.sealing import Sealer
from issuance.services import Services
from issuance.unit import Desk, OperatorUnit, VerifierDesk, services_of

router = APIRouter(tags=["codes in the field's interface"])
WINDOW_S: Final = 300
API_NAME: Final = "qrcode_valid_encrypt"
OK: Final = "000000"
FAILED: Final = "700"
SCENES: Final = {"01": Scene.IDENTITY, "02": Scene.PAYMENT, "03": Scene.IDENTITY, "04": Scene.IDENTITY}
"""busiType 01 业务查询 (identity), 02 缴费支付, 03 其他, 04 异地就医."""
_TIMESTAMP: Final = re.compile(r"[0-9]{13}")
_CODE = "OC1.3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class QrCodeValid(_Wire):
    """Fields of the field's programs; more are ignored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"qrCode": _CODE, "busiType": "01"}]})

    qrCode: str = Field(min_length=1, max_length=128)  # noqa: N815
    busiType: Literal["01", "02", "03", "04"]  # noqa: N815


class QrCodeAnswer(_Wire):
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


class Envelope(_Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"security": "jRmJ…"}]})

    security: str = Field(min_length=1, max_length=MAX_SECURITY)


class EnvelopeAnswer(_Wire):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"msgCode": OK, "msg": "成功", "result": {"encrypt": "jRmJ…"}}]}
    )

    msgCode: str  # noqa: N815
    msg: str
    result: dict[str, str]


class BusPartnerRequest(_Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"cipher": "sm4-cbc"}]})

    cipher: BusCipher = Field(description="aes-ecb only for partners whose programs know nothing else: it is weak")


class BusPartner(_Wire):
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


@router.post("/ecard/v1/bus", summary="The same in the bus's encrypted envelope, signed in its headers")
async def bus(envelope: Envelope, request: Request) -> EnvelopeAnswer:
    services = services_of(request)
    desk, keys = await _partner(services, request, envelope)
    async with desk.ahead():
        try:
            asked = QrCodeValid.model_validate(keys.decrypted(envelope.security))
        except (EnvelopeError, ValidationError):
            raise bad_input(field_error("body.security", "value")) from None
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
            sealed_keys=_sealed(unit.services.sealer, keys, access_key),
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


async def _partner(services: Services, request: Request, envelope: Envelope) -> tuple[Desk, BusKeys]:
    """Whose keys signed this request just now, and for the first time.

    Raises CLIENT_UNKNOWN, REQUEST_EXPIRED, REQUEST_REPLAYED, NOT_FOUND for another service of the bus,
    CLIENT_FORBIDDEN, ONE_TIME_UNAVAILABLE.
    """
    fields = {name: request.headers.get(name, "") for name in SIGNED_HEADERS}
    signature = request.headers.get(SIGNATURE_HEADER, "")
    async with services.database.look() as session:
        row = await session.scalar(
            select(BusPartnerRow).where(BusPartnerRow.access_key == fields["_api_access_key"][:32])
        )
    client = None if row is None else await services.clients.find(row.client_id)
    keys = None if row is None else _unsealed(services.sealer, row)
    signed = fields | {"security": envelope.security}
    if client is None or client.status != "active" or keys is None or not keys.is_signed(signed, signature):
        raise await _unproved(services, request, client)
    request.state.client_id = client.id
    desk = Desk(services, caller_of(client), act_of(request), (Role.VERIFIER,))
    async with desk.ahead():
        _demand_now(fields, services.clock())
        digest = default_engine().sm3(signature.encode()).hex()
        if not await services.one_time.put(f"bus:{client.id}:{digest}", b"", 2 * WINDOW_S):
            raise ProblemError("REQUEST_REPLAYED", "this request has been sent before")
    return desk, keys


async def _unproved(services: Services, request: Request, client: ClientRow | None) -> ProblemError:
    """With an audit entry, within `services.unproved` a minute."""
    refusal, now = ProblemError("CLIENT_UNKNOWN", "no partner of the bus signed this"), services.clock()
    name = "" if client is None else client.id
    if services.unproved.allows(name, now):
        await record_refusal(
            services,
            refusal,
            at=now,
            actor=name,
            clerk="",
            act=act_of(request),
            region=None if client is None else client.region,
            detail={"is_proved": False},
        )
    return refusal


def _demand_now(fields: Mapping[str, str], now: datetime) -> None:
    stamp = fields["_api_timestamp"]
    if not _TIMESTAMP.fullmatch(stamp) or abs(int(stamp) / 1000 - now.timestamp()) > WINDOW_S:
        raise ProblemError("REQUEST_EXPIRED", f"_api_timestamp is not within {WINDOW_S} seconds")
    if (fields["_api_name"], fields["_api_version"]) != (API_NAME, VERSION):
        raise ProblemError("NOT_FOUND", "the bus has no such service here")


async def _verifier(session: AsyncSession, client_id: str) -> ClientRow:
    client = await ClientRepository(session).get(client_id)
    if client is None or Role.VERIFIER not in client.roles:
        raise ProblemError("NOT_FOUND", "no such verifier", subject=f"client:{client_id}")
    return client


def _sealed(sealer: Sealer, keys: BusKeys, access_key: str) -> bytes:
    return sealer.seal([keys.key.hex(), keys.secret], f"bus_partners:{access_key}")


def _unsealed(sealer: Sealer, row: BusPartnerRow) -> BusKeys:
    opened: list[Any] = sealer.unseal(row.sealed_keys, f"bus_partners:{row.access_key}")
    cipher: BusCipher = "aes-ecb" if row.cipher == "aes-ecb" else "sm4-cbc"
    return BusKeys(cipher, bytes.fromhex(opened[0]), opened[1])
