"""Who is calling: a signed assertion per request (`cardlib.client_auth`), accepted once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastapi import Request

from cardlib.client_auth import issuer_of, verify_assertion
from issuance.clients.repository import ClientRepository
from issuance.clients.schemas import Role
from issuance.problems import ProblemError

if TYPE_CHECKING:
    from issuance.services import Services

CLERK_HEADER = "X-Clerk"
_CLERK = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Caller:
    """A proved client. `clerk` is what the client says about who sits at it."""

    client_id: str
    roles: frozenset[Role]
    region: str | None = None
    clerk: str = ""

    def demand(self, *roles: Role) -> None:
        if self.roles.isdisjoint(roles):
            raise ProblemError("CLIENT_FORBIDDEN", f"needs the role {' or '.join(roles)}")

    def demand_region(self, region: str) -> None:
        """A province covers its cities, a city its districts (GB/T 2260)."""
        if self.region is not None and not region.startswith(_significant(self.region)):
            raise ProblemError("CLIENT_FORBIDDEN", f"this client serves {self.region}, not {region}")


def _significant(region: str) -> str:
    if region.endswith("0000"):
        return region[:2]
    return region[:4] if region.endswith("00") else region


async def authenticate(request: Request, services: Services) -> Caller:
    """Verify the assertion and spend it, in a transaction of its own: a refused request is spent too."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise ProblemError("CLIENT_UNKNOWN", "Authorization: Bearer with a client assertion is needed")
    clerk = request.headers.get(CLERK_HEADER, "")
    if clerk and not _CLERK.fullmatch(clerk):
        raise ProblemError("INPUT_INVALID", f"{CLERK_HEADER} holds letters, digits, '.', '_' and '-' only")
    now = services.clock()
    body = await request.body()
    async with services.database.transaction(is_reading=True) as session:
        row = await ClientRepository(session).get(issuer_of(token))
    if row is None or row.status != "active":
        raise ProblemError("CLIENT_UNKNOWN", "this client is not registered or is suspended")
    claims = verify_assertion(token, row.public_jwk, request.method, _target(request), body, now.timestamp())
    async with services.database.transaction() as session:
        expires_at = datetime.fromtimestamp(claims.expires_at, UTC)
        if not await ClientRepository(session).use_nonce(row.id, claims.nonce, expires_at, now):
            raise ProblemError("REQUEST_REPLAYED", "this assertion has been used")
    request.state.client_id = row.id
    return Caller(row.id, frozenset(Role(role) for role in row.roles), row.region, clerk)


def _target(request: Request) -> str:
    """Path and query exactly as sent; the ASGI scope keeps the path before percent-decoding in `raw_path`."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope["query_string"]
    return (raw + b"?" + query if query else raw).decode("latin-1")
