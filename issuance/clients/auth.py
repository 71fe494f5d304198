"""Who is calling: a signed assertion per request (`cardlib.client_auth`), accepted once; a token for validations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastapi import Request

from cardlib.client_auth import CLERK_HEADER, IDEMPOTENCY_HEADER, Assertion, ClientAuthError, verify_assertion
from issuance.audit.refusals import record_refusal
from issuance.clients.directory import UsedNonce
from issuance.clients.models import ClientRow
from issuance.clients.schemas import Role
from issuance.clients.tokens import OPENED, is_token
from issuance.input_rules import field_error
from issuance.problems import ProblemError, bad_input
from issuance.scope import Scope, region_prefix

if TYPE_CHECKING:
    from issuance.services import Services

_CLERK = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Caller:
    """A proved client. `clerk` is what the client says about who sits at it; of the console it is proved too, and
    `office` is then the path of that clerk's office. `scenes`: whose codes it may accept, None of all; `items`: what
    it is told beyond what the scene shows.
    """

    client_id: str
    roles: frozenset[Role]
    region: str | None = None
    clerk: str = ""
    office: str = ""
    scenes: frozenset[str] | None = None
    items: frozenset[str] = frozenset()

    def demand(self, *roles: Role) -> None:
        if self.roles.isdisjoint(roles):
            raise ProblemError("CLIENT_FORBIDDEN", f"needs the role {' or '.join(roles)}")

    @property
    def region_prefix(self) -> str:
        """What the regions this client serves begin with."""
        return region_prefix(self.region)

    @property
    def scope(self) -> Scope:
        """What a session opened for this client may touch."""
        return Scope.of(self.region, self.office)

    def demand_region(self, region: str, *, subject: str = "") -> None:
        if not region.startswith(self.region_prefix):
            raise ProblemError("CLIENT_FORBIDDEN", f"this client serves {self.region}, not {region}", subject=subject)


async def authenticate(request: Request, services: Services) -> Caller:
    """Verify the assertion and spend it, in a transaction of its own: a refused request is spent too.

    What does not prove the client it names leaves an audit entry, within `services.unproved` a minute.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise ProblemError("CLIENT_UNKNOWN", "Authorization: Bearer with a client assertion is needed")
    clerk = request.headers.get(CLERK_HEADER, "")
    if clerk and not _CLERK.fullmatch(clerk):
        raise bad_input(field_error(f"header.{CLERK_HEADER}", "clerk_header"))
    body = await request.body()
    now = services.clock()  # only now: whoever holds the body open must not stop the assertion from expiring
    if act_of(request) in OPENED and is_token(token):
        known = await _of_token(request, services, token, clerk, now)
        request.state.client_id = known.id
        return caller_of(known, clerk)
    assertion = Assertion.parse(token)
    claimed = assertion.issuer
    row = await services.clients.find(claimed)
    try:
        known = await _prove(request, services, assertion, body, row, now)
    except (ClientAuthError, ProblemError) as error:
        if services.unproved.allows("" if row is None else claimed, now):
            await record_refusal(
                services,
                error,
                at=now,
                actor=claimed,
                clerk=clerk,
                act=act_of(request),
                region=None if row is None else row.region,
                detail={"is_proved": False},
            )
        raise
    request.state.client_id = known.id
    return caller_of(known, clerk)


async def _of_token(request: Request, services: Services, token: str, clerk: str, now: datetime) -> ClientRow:
    """Who made a token up has no name: all of them are counted together."""
    try:
        return await services.access_tokens.client_of(token, now)
    except ProblemError as refusal:
        if services.unproved.allows("", now):
            await record_refusal(
                services,
                refusal,
                at=now,
                actor="",
                clerk=clerk,
                act=act_of(request),
                region=None,
                detail={"is_proved": False},
            )
        raise


def caller_of(client: ClientRow, clerk: str = "") -> Caller:
    """Of a client that is proved."""
    return Caller(
        client.id,
        frozenset(Role(role) for role in client.roles),
        client.region,
        clerk,
        scenes=None if client.scenes is None else frozenset(client.scenes),
        items=frozenset(client.items),
    )


async def _prove(
    request: Request, services: Services, assertion: Assertion, body: bytes, row: ClientRow | None, now: datetime
) -> ClientRow:
    if row is None or row.status != "active":
        raise ProblemError("CLIENT_UNKNOWN", "this client is not registered or is suspended")
    claims = verify_assertion(
        assertion,
        row.public_jwk,
        request.method,
        target_of(request),
        body,
        now.timestamp(),
        clerk=request.headers.get(CLERK_HEADER, ""),
        idempotency_key=request.headers.get(IDEMPOTENCY_HEADER, ""),
        audience=services.settings.centre_id,
    )
    used = UsedNonce(row.id, claims.nonce, datetime.fromtimestamp(claims.expires_at, UTC), now)
    if not await services.clients.use_nonce(used):
        raise ProblemError("REQUEST_REPLAYED", "this assertion has been used")
    return row


def act_of(request: Request) -> str:
    """Name of a request in the audit entry of its refusal; the route, because paths carry card numbers."""
    return f"{request.method} {getattr(request.scope.get('route'), 'path', '')}"


def target_of(request: Request) -> str:
    """Path and query exactly as sent; the ASGI scope keeps the path before percent-decoding in `raw_path`."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope["query_string"]
    return (raw + b"?" + query if query else raw).decode("latin-1")
