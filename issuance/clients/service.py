"""Registration of clients."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import cast

from sqlalchemy.ext.asyncio import AsyncSession

from issuance.audit.repository import AuditRepository
from issuance.audit.seal import AuditSeal
from issuance.clients.models import ClientRow
from issuance.clients.repository import ClientRepository
from issuance.clients.schemas import ClientRegistration, ClientView, ItemName, Role, SceneName
from issuance.clock import Clock, system_clock
from issuance.database import Database
from issuance.problems import ProblemError
from issuance.scope import EVERYWHERE
from issuance.unit import SYSTEM, Unit

BOOTSTRAP_ACTOR = "console"
"""Actor of acts done on the server itself, without a client."""
_OURS = frozenset({BOOTSTRAP_ACTOR, SYSTEM})
"""Whom the trail and the rules of cards know as the service: nobody outside bears these names."""


class ClientService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._clients = ClientRepository(unit.session)

    async def register(self, registration: ClientRegistration) -> ClientView:
        if Role.VERIFIER in registration.roles and self._unit.caller.region is not None:
            raise ProblemError(
                "CLIENT_FORBIDDEN", "a verifier acts in every region; a regional operator cannot make one"
            )
        if registration.region is None:
            if self._unit.caller.region is not None:
                raise ProblemError("CLIENT_FORBIDDEN", "a regional operator registers clients of its region only")
        else:
            self._unit.caller.demand_region(registration.region)
        row = await register_client(
            self._unit.session,
            registration,
            now=self._unit.now,
            actor=self._unit.caller.client_id,
            seal=self._unit.services.audit_seal,
        )
        return view_of(row)

    async def list(self) -> list[ClientView]:
        return [view_of(row) for row in await self._clients.all(self._unit.caller.region_prefix)]

    async def suspend(self, client_id: str) -> ClientView:
        subject = f"client:{client_id}"
        row = await self._clients.get(client_id)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such client", subject=subject)
        if client_id == self._unit.caller.client_id:
            raise ProblemError("CONFLICT", "an operator cannot suspend itself; ask another one", subject=subject)
        await self._clients.set_status(client_id, "suspended")
        await self._unit.audit("client.suspend", subject, region=row.region)
        return view_of(row).model_copy(update={"status": "suspended"})


def view_of(row: ClientRow) -> ClientView:
    return ClientView(
        id=row.id,
        name=row.name,
        roles=tuple(Role(role) for role in row.roles),
        region=row.region,
        channel_no=row.channel_no,
        scenes=None if row.scenes is None else cast("tuple[SceneName, ...]", tuple(row.scenes)),
        items=cast("tuple[ItemName, ...]", tuple(row.items)),
        status=row.status,
        created_at=row.created_at,
    )


async def register_client(
    session: AsyncSession,
    registration: ClientRegistration,
    *,
    now: datetime,
    actor: str = BOOTSTRAP_ACTOR,
    seal: AuditSeal | None = None,
) -> ClientRow:
    """Add a client; registering the same id with the same key again changes nothing. Raises CONFLICT otherwise.

    Without a `seal` only on the server itself, where no key service is asked (`issuance.audit.sequencer`).
    """
    if registration.id in _OURS:
        raise ProblemError("CONFLICT", "this id is the service's own", subject=f"client:{registration.id}")
    clients = ClientRepository(session)
    row = ClientRow(
        id=registration.id,
        name=registration.name,
        roles=[role.value for role in registration.roles],
        region=registration.region,
        channel_no=_channel_no(registration),
        scenes=None if registration.scenes is None else list(registration.scenes),
        items=list(registration.items),
        public_jwk=dict(registration.public_jwk),
        status="active",
        created_at=now,
    )
    if await clients.add(row):
        await AuditRepository(session, seal).add(
            at=now,
            actor=actor,
            clerk="",
            act="client.register",
            subject=f"client:{row.id}",
            application_id=None,
            outcome="ok",
            detail={"roles": row.roles, "region": row.region},
            region=row.region,
        )
        return row
    known = await clients.get(registration.id)
    subject = f"client:{registration.id}"
    wanted = (row.public_jwk, sorted(row.roles), row.region)
    if known is None or (known.public_jwk, sorted(known.roles), known.region) != wanted:
        raise ProblemError("CONFLICT", "another client has this id", subject=subject)
    if known.status != "active":
        raise ProblemError(
            "CONFLICT", "this id is suspended for good; register the client under a new one", subject=subject
        )
    return known


def _channel_no(registration: ClientRegistration) -> str | None:
    """Of a wallet: the one given, else a new one; nothing is told by it."""
    if Role.WALLET not in registration.roles:
        return None
    return registration.channel_no or str(secrets.randbelow(9 * 10**9) + 10**9)


async def bootstrap_client(
    database_url: str,
    client_id: str,
    public_jwk: dict[str, str],
    roles: Iterable[str] = ("operator",),
    *,
    name: str = "",
    region: str | None = None,
    channel_no: str | None = None,
    clock: Clock = system_clock,
) -> ClientView:
    """Register a client on the database itself, out of band: how the first operator comes to be."""
    registration = ClientRegistration(
        id=client_id,
        name=name or client_id,
        roles=tuple(Role(role) for role in roles),
        region=region,
        public_jwk=public_jwk,
        channel_no=channel_no,
    )
    database = Database(database_url)
    try:
        async with database.transaction(scope=EVERYWHERE) as session:
            return view_of(await register_client(session, registration, now=clock()))
    finally:
        await database.close()
