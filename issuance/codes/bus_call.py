"""A request of the field's service bus: which service it names, whose keys signed it, and that it came just now."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Self, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hsm.primitives import default_engine
from issuance.audit.refusals import record_refusal
from issuance.clients.auth import act_of
from issuance.codes.envelope import (
    MAX_SECURITY,
    SIGNATURE_HEADER,
    SIGNED_HEADERS,
    VERSION,
    BusCipher,
    BusKeys,
    EnvelopeError,
)
from issuance.input_rules import field_error
from issuance.problems import ProblemError, bad_input
from issuance.sealing import Sealer
from issuance.services import Services

WINDOW_S: Final = 300
OK: Final = "000000"
FAILED: Final = "700"
_TIMESTAMP: Final = re.compile(r"[0-9]{13}")
Asked = TypeVar("Asked", bound=BaseModel)


class Wire(BaseModel):
    """Fields keep the field's names; what is more is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Envelope(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"security": "jRmJ…"}]})

    security: str = Field(min_length=1, max_length=MAX_SECURITY)


class EnvelopeAnswer(Wire):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"msgCode": OK, "msg": "成功", "result": {"encrypt": "jRmJ…"}}]}
    )

    msgCode: str  # noqa: N815
    msg: str
    result: dict[str, str]


@dataclass(frozen=True, slots=True)
class BusCall:
    """Nothing in it is proved until `is_signed_by` and `demand_fresh` have said so."""

    service: str
    access_key: str
    version: str
    timestamp: str
    security: str = field(repr=False)
    signature: str = field(repr=False)

    @classmethod
    def of(cls, request: Request, envelope: Envelope) -> Self:
        access_key, service, timestamp, version = (request.headers.get(name, "") for name in SIGNED_HEADERS)
        signature = request.headers.get(SIGNATURE_HEADER, "")
        return cls(service, access_key, version, timestamp, envelope.security, signature)

    def is_signed_by(self, keys: BusKeys | None) -> bool:
        values = (self.access_key, self.service, self.timestamp, self.version)
        signed = dict(zip(SIGNED_HEADERS, values, strict=True)) | {"security": self.security}
        return keys is not None and keys.is_signed(signed, self.signature)

    async def demand_fresh(
        self, services: Services, who: str, *, served: frozenset[str], window_s: int = WINDOW_S
    ) -> None:
        """Raises REQUEST_EXPIRED, NOT_FOUND for another service than those, REQUEST_REPLAYED, ONE_TIME_UNAVAILABLE."""
        is_time = _TIMESTAMP.fullmatch(self.timestamp)
        if not is_time or abs(int(self.timestamp) / 1000 - services.clock().timestamp()) > window_s:
            raise ProblemError("REQUEST_EXPIRED", f"_api_timestamp is not within {window_s} seconds")
        if self.service not in served or self.version != VERSION:
            raise ProblemError("NOT_FOUND", "the bus has no such service here")
        digest = default_engine().sm3(self.signature.encode()).hex()
        if not await services.one_time.put(f"bus:{who}:{digest}", b"", 2 * window_s):
            raise ProblemError("REQUEST_REPLAYED", "this request has been sent before")

    def opened(self, keys: BusKeys, model: type[Asked]) -> Asked:
        """Raises INPUT_INVALID."""
        try:
            return model.model_validate(keys.decrypted(self.security))
        except (EnvelopeError, ValidationError):
            raise bad_input(field_error("body.security", "value")) from None


async def unproved(services: Services, request: Request, who: str, region: str | None) -> ProblemError:
    """CLIENT_UNKNOWN, with an audit entry within `services.unproved` a minute. `who` is empty for nobody known."""
    refusal, now = ProblemError("CLIENT_UNKNOWN", "no partner of the bus signed this"), services.clock()
    if services.unproved.allows(who, now):
        await record_refusal(
            services,
            refusal,
            at=now,
            actor=who,
            clerk="",
            act=act_of(request),
            region=region,
            detail={"is_proved": False},
        )
    return refusal


def sealed_keys(sealer: Sealer, keys: BusKeys, context: str) -> bytes:
    return sealer.seal([keys.key.hex(), keys.secret], context)


def unsealed_keys(sealer: Sealer, cipher: str, sealed: bytes, context: str) -> BusKeys:
    key, secret = sealer.unseal(sealed, context)
    known: BusCipher = "aes-ecb" if cipher == "aes-ecb" else "sm4-cbc"
    return BusKeys(known, bytes.fromhex(key), secret)
