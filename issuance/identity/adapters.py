"""How the population register is asked: one protocol, over HTTP or, for invented people, in this process."""

from __future__ import annotations

import ipaddress
import secrets
from enum import StrEnum
from typing import ClassVar, Protocol
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, Field, ValidationError

from cardlib.client_auth import ClientAuth, ClientKey
from issuance.logs import get_logger
from issuance.persons.schemas import PersonData
from issuance.settings import Settings

PATH = "/v1/identity-checks"
MAX_REPLY_BYTES = 4096
_INVENTED_REGION = "99"
log = get_logger("issuance.identity")


class IdentityOutcome(StrEnum):
    """`unavailable`: there is no answer yet; every other word is the register's own."""

    MATCHES = "matches"
    MISMATCH = "mismatch"
    DECEASED = "deceased"
    UNKNOWN = "unknown"
    UNAVAILABLE = "unavailable"


class IdentityAnswer(BaseModel):
    """`reference` finds the check in the register's own books."""

    outcome: IdentityOutcome
    reference: str = Field(default="", max_length=64, pattern=r"^[A-Za-z0-9._-]*$")


UNAVAILABLE = IdentityAnswer(outcome=IdentityOutcome.UNAVAILABLE)


class IdentityAddressError(ValueError):
    """The register cannot be asked: no key, or an address that carries personal data in the clear over a network."""

    failure: ClassVar[str] = "INPUT_INVALID"


class IdentityCheck(Protocol):
    async def ask(self, person: PersonData) -> IdentityAnswer:
        """Never raises: what is no answer is UNAVAILABLE."""
        ...

    async def close(self) -> None: ...


class InventedPeople:
    """Knows that people with numbers of region 99, which no citizen has, are as they say; of others nothing."""

    async def ask(self, person: PersonData) -> IdentityAnswer:
        if person.social_security_number.startswith(_INVENTED_REGION):
            return IdentityAnswer(outcome=IdentityOutcome.MATCHES, reference="invented")
        return UNAVAILABLE

    async def close(self) -> None:
        return None


class _Reply(IdentityAnswer):
    """The reply repeats the number of its request: an answer that belongs to another one counts for nothing."""

    request_id: str


class HttpIdentityCheck:
    """The public-security service over signed HTTP. Raises IdentityAddressError for plain HTTP over a network."""

    def __init__(
        self, url: str, key: ClientKey, *, timeout_s: float, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        if not is_private(url):
            raise IdentityAddressError("the identity service needs https, or an address of this machine")
        self._client = httpx.AsyncClient(
            base_url=url, auth=ClientAuth(key), timeout=timeout_s, transport=transport, trust_env=False
        )

    async def ask(self, person: PersonData) -> IdentityAnswer:
        request_id = secrets.token_hex(16)
        question = person.model_dump(include={"name", "social_security_number", "sex", "birth_date"})
        try:
            answer = await self._client.post(PATH, json={"request_id": request_id, **question})
            if answer.status_code != httpx.codes.OK or len(answer.content) > MAX_REPLY_BYTES:
                raise ValueError(f"status {answer.status_code}")
            reply = _Reply.model_validate_json(answer.content)
            if not secrets.compare_digest(reply.request_id.encode(), request_id.encode()):
                raise ValueError("the reply belongs to another request")
        except (httpx.HTTPError, ValueError, ValidationError) as error:
            log.warning("identity_unavailable", error=type(error).__name__)
            return UNAVAILABLE
        return IdentityAnswer(outcome=reply.outcome, reference=reply.reference)

    async def close(self) -> None:
        await self._client.aclose()


def identity_check(settings: Settings) -> IdentityCheck:
    """The register that the settings name. Raises IdentityAddressError and ClientKeyError."""
    if settings.identity_url is None:
        return InventedPeople()
    if settings.identity_key_path is None:
        raise IdentityAddressError("the identity service needs a client key file")
    key = ClientKey.load(settings.identity_key_path)
    return HttpIdentityCheck(settings.identity_url, key, timeout_s=settings.identity_timeout_s)


def is_private(url: str) -> bool:
    """Whether what is sent there can be read on no network: https, or an address of this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    try:
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.scheme == "http" and parts.hostname == "localhost"
