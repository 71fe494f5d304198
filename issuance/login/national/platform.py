"""The national platform's scan protocol as a client speaks it: make a code and ask for its outcome, or hand the
browser over.

Trusted is what comes over the connection that this side opened to the configured address, and what bears the signature
of the keys that both sides hold; of either only `esscNo` is read, never a name or a number of a person.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import urlencode

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hsm.primitives import default_engine
from issuance.bounded import bounded_post
from issuance.clock import CHINA, Clock
from issuance.codes.envelope import SIGNATURE_HEADER, VERSION, BusKeys, EnvelopeError
from issuance.identity.adapters import is_private
from issuance.logs import get_logger
from issuance.settings import Settings

CREATE: Final = "qrcode_channel_encrypt"
QUERY: Final = "qrcode_channel_query_encrypt"
HAND_OVER: Final = "auth_login"
OK: Final = "000000"
PENDING: Final = "700"
MAX_REPLY_BYTES: Final = 16_384
WINDOW: Final = timedelta(minutes=1)
"""Of an answer that the browser brings; the field's programs take ten minutes and the same answer twice."""
_STAMP: Final = "%Y%m%d%H%M%S"
log = get_logger("issuance.login")


class NationalUnavailableError(Exception):
    """No answer, or none that is one."""

    failure: ClassVar[str] = "LOGIN_NATIONAL_UNAVAILABLE"


class NationalAnswerError(Exception):
    """What the browser brought is no answer of the platform to this log-in."""

    failure: ClassVar[str] = "LOGIN_NATIONAL_REFUSED"


class NationalSettingsError(ValueError):
    """The platform cannot be asked as the settings have it."""

    failure: ClassVar[str] = "INPUT_INVALID"


@dataclass(frozen=True, slots=True)
class PlatformKeys:
    """`bus`: what both sides hold."""

    access_key: str
    bus: BusKeys = field(repr=False)


@dataclass(frozen=True, slots=True)
class Named:
    """`digest`: SM3 of the answer as it came. `state` is empty where the platform was asked directly."""

    essc_no: str
    digest: bytes
    state: str = ""


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    msgCode: str = Field(max_length=16)  # noqa: N815
    result: dict[str, Any] | None = None


class _Holder(BaseModel):
    """Whatever else is said about the person is not looked at."""

    model_config = ConfigDict(extra="ignore")

    esscNo: str = Field(pattern=r"^[0-9A-Za-z]{1,32}$")  # noqa: N815
    state: str = Field(default="", max_length=64)


class _Created(BaseModel):
    model_config = ConfigDict(extra="ignore")

    qrCode: str = Field(pattern=r"^[ -~]{1,300}$")  # noqa: N815


ReplyT = TypeVar("ReplyT", _Holder, _Created)


class NationalPlatform:
    """Raises NationalSettingsError for what would show a log-in to the network. `page` is where browsers are handed
    over to, None where only the code is offered; `name` is what the platform's app shows."""

    def __init__(self, settings: Settings, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        url, page = settings.login_national_url or "", settings.login_national_page
        if not is_private(url) or (page is not None and not is_private(page)):
            raise NationalSettingsError("the national platform needs https, or an address of this machine")
        if not settings.login_national_channel or not settings.login_national_access:
            raise NationalSettingsError("the national platform needs channelNo and accessNo")
        self.page = page
        self._url = url
        self._own = {"channelNo": settings.login_national_channel, "accessNo": settings.login_national_access}
        self.name = settings.login_national_name
        self._clock = clock
        self._timeout_s = settings.login_national_timeout_s
        self._client = httpx.AsyncClient(
            timeout=settings.login_national_timeout_s, transport=transport, trust_env=False, follow_redirects=False
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def code(self, keys: PlatformKeys) -> str:
        """What the page draws. Raises NationalUnavailableError."""
        opened = await self._ask(keys, CREATE, self._own | {"systemName": self.name})
        if opened is None:
            raise NationalUnavailableError("the platform makes no code")
        return _checked(_Created, opened[0]).qrCode

    async def holder(self, keys: PlatformKeys, code: str) -> Named | None:
        """Who confirmed the code, None as long as nobody has. Raises NationalUnavailableError."""
        opened = await self._ask(keys, QUERY, self._own | {"qrCode": code})
        if opened is None:
            return None
        return Named(_checked(_Holder, opened[0]).esscNo, opened[1])

    def hand_over(self, keys: PlatformKeys, back: str, state: str) -> str:
        """Where the browser goes, to come back to `back`; the platform repeats `state` in its encrypted answer."""
        asked = self._own | {"systemName": self.name, "returnUrl": back, "state": state}
        fields = {
            "_api_name": HAND_OVER,
            "_api_access_id": keys.access_key,
            "_api_timestamp": stamp_of(self._clock()),
            "security": keys.bus.encrypted(asked),
        }
        return f"{self.page}?{urlencode(fields | {SIGNATURE_HEADER: keys.bus.signature(fields)})}"

    def returned(self, keys: PlatformKeys, query: Mapping[str, str]) -> Named:
        """Of what the browser brought; nothing is decrypted that was not signed. Raises NationalAnswerError."""
        signed = {name: query.get(name, "") for name in ("result", "_api_timestamp", "security")}
        is_ours = hmac.compare_digest(query.get("ak", "").encode(), keys.access_key.encode())
        if not keys.bus.is_signed(signed, query.get(SIGNATURE_HEADER, "")) or not is_ours:
            raise NationalAnswerError("not signed by the platform")
        if not _is_now(signed["_api_timestamp"], self._clock()):
            raise NationalAnswerError("not of this minute")
        if signed["result"] != "0":
            raise NationalAnswerError("the platform says no")
        try:
            holder = _Holder.model_validate(keys.bus.decrypted(signed["security"]))
        except (EnvelopeError, ValidationError):
            raise NationalAnswerError("not an answer") from None
        return Named(holder.esscNo, default_engine().sm3(signed["security"].encode()), holder.state)

    async def _ask(
        self, keys: PlatformKeys, service: str, asked: Mapping[str, str]
    ) -> tuple[dict[str, Any], bytes] | None:
        """What the answer holds and its SM3; None for "not yet"."""
        security = keys.bus.encrypted(asked)
        fields = {
            "_api_access_key": keys.access_key,
            "_api_name": service,
            "_api_timestamp": str(round(self._clock().timestamp() * 1000)),
            "_api_version": VERSION,
        }
        headers = fields | {SIGNATURE_HEADER: keys.bus.signature(fields | {"security": security})}
        try:
            answer = await bounded_post(
                self._client,
                self._url,
                {"security": security},
                most_bytes=MAX_REPLY_BYTES,
                within_s=self._timeout_s,
                headers=headers,
            )
            reply = _Reply.model_validate_json(answer)
            if reply.msgCode == PENDING and service == QUERY:
                return None
            encrypted = (reply.result or {}).get("encrypt")
            if reply.msgCode != OK or not isinstance(encrypted, str):
                raise ValueError(f"msgCode {reply.msgCode}")
            return keys.bus.decrypted(encrypted), default_engine().sm3(encrypted.encode())
        except (httpx.HTTPError, ValueError, EnvelopeError) as error:
            log.warning("national_platform_unavailable", service=service, error=type(error).__name__)
            raise NationalUnavailableError("no answer that is one") from None


def stamp_of(moment: datetime) -> str:
    return f"{moment.astimezone(CHINA):{_STAMP}}"


def _is_now(stamp: str, now: datetime) -> bool:
    try:
        told = datetime.strptime(stamp, _STAMP).replace(tzinfo=CHINA)
    except ValueError:
        return False
    return abs(now - told) <= WINDOW


def _checked(model: type[ReplyT], opened: dict[str, Any]) -> ReplyT:
    """Raises NationalUnavailableError."""
    try:
        return model.model_validate(opened)
    except ValidationError:
        raise NationalUnavailableError("the answer has another form") from None
