"""Systems that people log in to: registered by an operator, never by themselves."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from cardlib.wire import Message, RegionCode
from issuance.clients.schemas import ClientId
from issuance.database import WITHOUT_NUL, add_unless_taken
from issuance.login.client_keys import public_key_set
from issuance.login.models import RelyingPartyRow
from issuance.problems import ProblemError
from issuance.unit import Unit

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
BACKCHANNEL_GRANT: Final = "urn:openid:params:grant-type:ciba"
CHANNEL_GRANT: Final = "urn:onecard:params:grant-type:channel"
"""The field's scan log-in in the ministry's shape (`issuance.login.channels`)."""
AuthMethod = Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]
GrantType = Literal[
    "authorization_code",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:openid:params:grant-type:ciba",
    "urn:onecard:params:grant-type:channel",
]
Scope = Literal["openid", "profile", "social_security"]
SigningAlgorithm = Literal["ES256", "RS256", "SM2-SM3"]
Uri = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[\x21-\x7e]+$")]
Sector = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,255}$")]
_PRIVATE_SCHEME: Final = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


def is_redirect_uri(uri: str) -> bool:
    """https, http on one's own machine, or a private-use scheme with a dot in it (RFC 8252, 7.1); compared as text, so
    that nothing in it may be read in two ways."""
    try:
        parts = urlsplit(uri)
        has_port = parts.port is not None
    except ValueError:
        return False
    if "#" in uri or "\\" in uri or "@" in parts.netloc or "*" in uri or "/../" in f"{parts.path}/":
        return False
    host = parts.netloc.removesuffix(f":{parts.port}") if has_port else parts.netloc
    if parts.scheme == "https":
        return bool(re.fullmatch(r"[a-z0-9.-]+", host))
    if parts.scheme == "http":
        return host in _LOOPBACK
    return not parts.netloc and bool(_PRIVATE_SCHEME.fullmatch(parts.scheme)) and parts.path.startswith("/")


def _public_keys(value: dict[str, Any]) -> dict[str, Any]:
    try:
        return public_key_set(value)
    except ValueError as error:
        raise PydanticCustomError("value_error", "public keys: {what}", {"what": str(error)}) from None


PublicKeySet = Annotated[dict[str, Any], AfterValidator(_public_keys)]


class PartyKeys(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "jwks": {
                        "keys": [
                            {
                                "kty": "EC",
                                "crv": "P-256",
                                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
                                "kid": "2026-1",
                            }
                        ]
                    }
                }
            ]
        }
    )

    jwks: PublicKeySet = Field(description="All that count from now on; name old and new while both are in use")


class RelyingPartyRegistration(Message):
    """`sector`: parties of one sector know a person under the same identifier; null: the host of the first address."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "hall-0001",
                    "name": "示例网上办事大厅",
                    "redirect_uris": ["https://hall.example/callback"],
                    "logout_uris": ["https://hall.example/"],
                    "scopes": ["openid", "profile"],
                }
            ]
        }
    )

    id: ClientId
    name: str = Field(
        min_length=1, max_length=64, pattern=WITHOUT_NUL, description="What page and phone show as asking"
    )
    region: RegionCode | None = None
    sector: Sector | None = None
    redirect_uris: tuple[Uri, ...] = Field(default=(), max_length=20, description="Compared as text, letter by letter")
    logout_uris: tuple[Uri, ...] = Field(default=(), max_length=20)
    auth_method: AuthMethod = "client_secret_basic"
    grant_types: tuple[GrantType, ...] = Field(default=("authorization_code", "refresh_token"), min_length=1)
    scopes: tuple[Scope, ...] = Field(default=("openid",), description="What it may ask for")
    signing_algorithm: SigningAlgorithm = "ES256"
    needs_pushed_requests: bool = Field(default=False, description="Only requests it has pushed itself (RFC 9126)")
    needs_signed_requests: bool = Field(default=False, description="Only requests it has signed (RFC 9101)")
    jwks: PublicKeySet | None = Field(default=None, description="Its public keys (RFC 7517): P-256 or RSA")

    @field_validator("redirect_uris", "logout_uris")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(is_redirect_uri(uri) for uri in value):
            raise PydanticCustomError("value_error", "https, http on this machine, or a private-use scheme")
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> RelyingPartyRegistration:
        if "openid" not in self.scopes:
            raise PydanticCustomError("value_error", "the scope openid is needed")
        if "authorization_code" in self.grant_types and not self.redirect_uris:
            raise PydanticCustomError("value_error", "an address to go back to is needed")
        if self.jwks is None and (self.auth_method == "private_key_jwt" or self.needs_signed_requests):
            raise PydanticCustomError("value_error", "its public keys are needed")
        if BACKCHANNEL_GRANT in self.grant_types and self.auth_method == "none":
            raise PydanticCustomError("value_error", "who asks a holder has a secret or a key (CIBA, 7.1)")
        return self


class RelyingPartyView(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "hall-0001",
                    "name": "示例网上办事大厅",
                    "region": None,
                    "sector": "hall.example",
                    "redirect_uris": ["https://hall.example/callback"],
                    "logout_uris": ["https://hall.example/"],
                    "auth_method": "client_secret_basic",
                    "grant_types": ["authorization_code", "refresh_token"],
                    "scopes": ["openid", "profile"],
                    "signing_algorithm": "ES256",
                    "needs_pushed_requests": False,
                    "needs_signed_requests": False,
                    "jwks": None,
                    "status": "active",
                    "created_at": "2026-01-05T01:00:00Z",
                }
            ]
        }
    )

    id: str
    name: str
    region: str | None
    sector: str
    redirect_uris: tuple[str, ...]
    logout_uris: tuple[str, ...]
    auth_method: str
    grant_types: tuple[str, ...]
    scopes: tuple[str, ...]
    signing_algorithm: str
    needs_pushed_requests: bool
    needs_signed_requests: bool
    jwks: dict[str, Any] | None
    status: str
    created_at: datetime


class RegisteredParty(Message):
    """`client_secret` is told here and never again; null for a public client, and for one that has a key."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "client_id": "hall-0001",
                    "client_secret": "an example of what is told once",
                    "issuer": "https://login.example",
                }
            ]
        }
    )

    client_id: str
    client_secret: str | None = Field(repr=False)
    issuer: str = Field(description="All else is in its discovery document")


class RelyingPartyRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, client_id: str) -> RelyingPartyRow | None:
        return await self._session.get(RelyingPartyRow, client_id)

    async def is_active(self, client_id: str) -> bool:
        query = select(RelyingPartyRow.status).where(RelyingPartyRow.id == client_id)
        return await self._session.scalar(query) == "active"

    async def all(self) -> list[RelyingPartyRow]:
        return list(await self._session.scalars(select(RelyingPartyRow).order_by(RelyingPartyRow.id)))

    async def add(self, row: RelyingPartyRow) -> bool:
        """False when the id is taken."""
        return await add_unless_taken(self._session, row)

    async def change(self, client_id: str, **values: Any) -> bool:
        """False where there is none in the caller's regions."""
        query = update(RelyingPartyRow).where(RelyingPartyRow.id == client_id).values(**values)
        return (await self._session.execute(query.returning(RelyingPartyRow.id))).first() is not None


class RelyingPartyService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._parties = RelyingPartyRepository(unit.session)

    async def register(self, registration: RelyingPartyRegistration) -> RegisteredParty:
        """Raises CONFLICT when the id is taken: a secret is told once, so nothing is registered twice."""
        subject = f"relying-party:{registration.id}"
        if registration.region is not None:
            self._unit.caller.demand_region(registration.region, subject=subject)
        elif self._unit.caller.region is not None:
            raise ProblemError("CLIENT_FORBIDDEN", "a regional operator registers parties of its region only")
        has_secret = registration.auth_method in ("client_secret_basic", "client_secret_post")
        secret = secrets.token_urlsafe(32) if has_secret else None
        values = registration.model_dump(exclude={"sector"}, mode="json")
        row = RelyingPartyRow(
            **values,
            sector=registration.sector or _sector(registration),
            secret_hash=None if secret is None else hash_of(secret),
            status="active",
            created_at=self._unit.now,
        )
        if not await self._parties.add(row):
            raise ProblemError("CONFLICT", "another relying party has this id", subject=subject)
        detail = {"auth_method": row.auth_method, "scopes": row.scopes}
        await self._unit.audit("login.client.register", subject, region=row.region, detail=detail)
        issuer = self._unit.services.settings.login_issuer
        return RegisteredParty(client_id=row.id, client_secret=secret, issuer=issuer)

    async def list(self) -> list[RelyingPartyView]:
        return [view_of(row) for row in await self._parties.all()]

    async def suspend(self, client_id: str) -> RelyingPartyView:
        """Its codes and tokens count no more from this moment."""
        return await self._changed(client_id, "login.client.suspend", status="suspended")

    async def replace_keys(self, client_id: str, keys: PartyKeys) -> RelyingPartyView:
        """What was signed with a key that is not among them counts no more from this moment."""
        return await self._changed(client_id, "login.client.keys", jwks=keys.jwks)

    async def _changed(self, client_id: str, act: str, **values: Any) -> RelyingPartyView:
        """Raises NOT_FOUND."""
        subject = f"relying-party:{client_id}"
        row = await self._parties.get(client_id)
        if row is None or not await self._parties.change(client_id, **values):
            raise ProblemError("NOT_FOUND", "no such relying party", subject=subject)
        await self._unit.audit(act, subject, region=row.region)
        return view_of(row).model_copy(update=values)


def view_of(row: RelyingPartyRow) -> RelyingPartyView:
    return RelyingPartyView(**{name: getattr(row, name) for name in RelyingPartyView.model_fields})


def hash_of(secret: str) -> bytes:
    """Of a secret with 256 bits of chance in it, which needs no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def _sector(registration: RelyingPartyRegistration) -> str:
    first = urlsplit(registration.redirect_uris[0]) if registration.redirect_uris else None
    return (first.hostname or registration.id if first is not None else registration.id).lower()
