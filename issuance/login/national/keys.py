"""What this centre and the national platform share: given by an operator, kept sealed by the key service."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, status
from pydantic import ConfigDict, Field
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from cardlib.wire import Message
from issuance.codes.bus_call import sealed_keys, unsealed_keys
from issuance.codes.envelope import BusCipher, BusKeys
from issuance.login.ministry_models import UpstreamKeysRow
from issuance.login.national.platform import PlatformKeys
from issuance.problems import ProblemError
from issuance.services import Services
from issuance.unit import OperatorUnit, Unit

router = APIRouter(prefix="/v1/login-upstreams/national/keys", tags=["login"])
UPSTREAM: Final = "national"
_CONTEXT: Final = f"login_upstream_keys:{UPSTREAM}"
_SUBJECT: Final = f"login-upstream:{UPSTREAM}"


class NationalKeys(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"access_key": "a" * 32, "cipher": "sm4-cbc", "key": "0" * 32, "secret": "invented"}]
        }
    )

    access_key: str = Field(pattern=r"^[!-~]{1,64}$", description="_api_access_key, and `ak` of what browsers bring")
    cipher: BusCipher
    key: str = Field(pattern="^[0-9a-f]{32}$", description="16 bytes in hex", repr=False)
    secret: str = Field(pattern=r"^[!-~]{1,128}$", description="Of the signature", repr=False)


@router.put("", status_code=status.HTTP_204_NO_CONTENT, summary="Take the keys that the national platform gave")
async def put(keys: NationalKeys, unit: OperatorUnit) -> None:
    """Those before are void."""
    _demand_nation(unit)
    bus = BusKeys(keys.cipher, bytes.fromhex(keys.key), keys.secret)
    await unit.session.execute(delete(UpstreamKeysRow).where(UpstreamKeysRow.upstream == UPSTREAM))
    unit.session.add(
        UpstreamKeysRow(
            upstream=UPSTREAM,
            access_key=keys.access_key,
            cipher=keys.cipher,
            sealed_keys=sealed_keys(unit.services.sealer, bus, _CONTEXT),
            updated_at=unit.now,
        )
    )
    await unit.audit("login.upstream.keys", _SUBJECT, region=None, detail={"cipher": keys.cipher})


@router.delete("", status_code=status.HTTP_204_NO_CONTENT, summary="Forget the keys; nobody logs in by it any more")
async def remove(unit: OperatorUnit) -> None:
    _demand_nation(unit)
    await unit.session.execute(delete(UpstreamKeysRow).where(UpstreamKeysRow.upstream == UPSTREAM))
    await unit.audit("login.upstream.keys_end", _SUBJECT, region=None)


async def keys_of(session: AsyncSession, services: Services) -> PlatformKeys | None:
    row = await session.get(UpstreamKeysRow, UPSTREAM)
    if row is None:
        return None
    return PlatformKeys(row.access_key, unsealed_keys(services.sealer, row.cipher, row.sealed_keys, _CONTEXT))


def _demand_nation(unit: Unit) -> None:
    if unit.caller.region is not None:
        raise ProblemError("CLIENT_FORBIDDEN", "people of every region log in by it")
