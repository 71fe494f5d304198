"""How the platform behind a family of codes is asked whose code one is: one protocol over signed HTTP.

`POST {address}/v1/translations` with `Question`; the answer repeats the number of the question. The platform spends the
code with its answer; the national number of the electronic card (esscNo) stands between the two sides, nothing else
about the holder does. Addresses come from the settings, never from a code.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Final, Protocol

import httpx
from pydantic import BaseModel, Field, ValidationError

from cardlib.client_auth import ClientAuth, ClientKey
from issuance.bounded import bounded_post
from issuance.clock import Clock
from issuance.identity.adapters import is_private
from issuance.logs import get_logger
from issuance.recognition.families import Family, families
from issuance.settings import Settings

PATH: Final = "/v1/translations"
MAX_REPLY_BYTES: Final = 4096
log = get_logger("issuance.recognition")


class Outcome(StrEnum):
    """`unavailable`: there is no answer; every other word is the platform's own."""

    HOLDER = "holder"
    UNKNOWN = "unknown"
    USED = "used"
    EXPIRED = "expired"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


class Translation(BaseModel):
    """`essc_no`: the national number of the holder's electronic card, there when the outcome is `holder`."""

    outcome: Outcome
    essc_no: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")


UNAVAILABLE: Final = Translation(outcome=Outcome.UNAVAILABLE)


class _Reply(Translation):
    request_id: str


class PlatformAddressError(ValueError):
    """A platform cannot be asked: no such family, no key, or an address that shows codes to the network."""

    failure: ClassVar[str] = "INPUT_INVALID"


class CodePlatform(Protocol):
    async def ask(self, family: Family, code: str, scene: str) -> Translation:
        """Never raises: what is no answer is UNAVAILABLE."""
        ...

    async def close(self) -> None: ...


class HttpCodePlatform:
    """Raises PlatformAddressError for plain HTTP over a network."""

    def __init__(
        self,
        url: str,
        key: ClientKey,
        clock: Clock,
        *,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not is_private(url):
            raise PlatformAddressError("a code platform needs https, or an address of this machine")
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            base_url=url,
            auth=ClientAuth(key, lambda: clock().timestamp()),
            timeout=timeout_s,
            transport=transport,
            trust_env=False,
        )

    async def ask(self, family: Family, code: str, scene: str) -> Translation:
        request_id = secrets.token_hex(16)
        question = {"request_id": request_id, "family": family.name, "code": code, "scene": scene}
        question |= {"business_type": family.business_type} if family.business_type else {}
        try:
            answer = await bounded_post(
                self._client, PATH, question, most_bytes=MAX_REPLY_BYTES, within_s=self._timeout_s
            )
            reply = _Reply.model_validate_json(answer)
            if not secrets.compare_digest(reply.request_id.encode(), request_id.encode()):
                raise ValueError("the reply belongs to another request")
            if (reply.outcome is Outcome.HOLDER) != (reply.essc_no is not None):
                raise ValueError("a holder without number, or a number without holder")
        except (httpx.HTTPError, ValueError, ValidationError) as error:
            log.warning("code_platform_unavailable", family=family.name, error=type(error).__name__)
            return UNAVAILABLE
        return Translation(outcome=reply.outcome, essc_no=reply.essc_no)

    async def close(self) -> None:
        await self._client.aclose()


def code_platforms(settings: Settings, clock: Clock) -> Mapping[str, CodePlatform]:
    """Those that the settings name, by family. Raises PlatformAddressError and ClientKeyError."""
    if not settings.code_platforms:
        return MappingProxyType({})
    if settings.code_platforms_key_path is None:
        raise PlatformAddressError("code platforms need a client key file")
    unknown = sorted(name for name in settings.code_platforms if not _is_asked(name))
    if unknown:
        raise PlatformAddressError(f"no family of codes whose platform is asked: {', '.join(unknown)}")
    key = ClientKey.load(settings.code_platforms_key_path)
    return MappingProxyType(
        {
            name: HttpCodePlatform(url, key, clock, timeout_s=settings.code_platforms_timeout_s)
            for name, url in settings.code_platforms.items()
        }
    )


def _is_asked(name: str) -> bool:
    return name in families() and families()[name].is_asked
