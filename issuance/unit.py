"""One unit of work per request: who asks, one transaction, one moment, and the audit of what was refused.

Services never commit. The transaction commits when the endpoint returns, before the answer is sent; it is rolled
back when anything is raised, and the refusal is then recorded in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, cast

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.audit.refusals import record_refusal
from issuance.audit.repository import AuditRepository
from issuance.clients.auth import Caller, act_of, authenticate
from issuance.clients.schemas import Role
from issuance.services import Services

_SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(slots=True)
class Unit:
    """`now` is the same moment throughout. `after_commit` holds what must only happen once all is stored."""

    session: AsyncSession
    services: Services
    caller: Caller
    now: datetime
    after_commit: list[Callable[[], None]] = field(default_factory=list)

    async def audit(
        self,
        act: str,
        subject: str,
        *,
        region: str | None,
        application_id: str | None = None,
        outcome: str = "ok",
        detail: dict[str, Any] | None = None,
    ) -> None:
        await AuditRepository(self.session).add(
            at=self.now,
            actor=self.caller.client_id,
            clerk=self.caller.clerk,
            act=act,
            subject=subject,
            application_id=application_id,
            region=region,
            outcome=outcome,
            detail=detail or {},
        )


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


@asynccontextmanager
async def open_unit(
    services: Services, caller: Caller, act: str, *roles: Role, is_reading: bool = False
) -> AsyncIterator[Unit]:
    """For a caller with one of `roles`. `act` names the request in the audit entry of a refusal."""
    now = services.clock()
    try:
        async with services.database.transaction(is_reading=is_reading) as session:
            caller.demand(*roles)
            unit = Unit(session, services, caller, now)
            yield unit
    except Exception as error:
        await record_refusal(
            services.database,
            error,
            at=now,
            actor=caller.client_id,
            clerk=caller.clerk,
            act=act,
            region=caller.region,
        )
        raise
    for callback in unit.after_commit:
        callback()


def unit_for(*roles: Role, is_recorded: bool = False) -> Callable[[Request], AsyncIterator[Unit]]:
    """Dependency: authenticate, demand one of `roles`, open the unit of work.

    `is_recorded`: reading leaves an audit entry too, so the transaction of a GET is a writing one.
    """

    async def dependency(request: Request) -> AsyncIterator[Unit]:
        services = services_of(request)
        caller = await authenticate(request, services)
        is_reading = request.method in _SAFE_METHODS and not is_recorded
        async with open_unit(services, caller, act_of(request), *roles, is_reading=is_reading) as unit:
            yield unit

    return dependency


OperatorUnit = Annotated[Unit, Depends(unit_for(Role.OPERATOR), scope="function")]
CounterUnit = Annotated[Unit, Depends(unit_for(Role.OPERATOR, Role.TERMINAL), scope="function")]
RecordedCounterUnit = Annotated[
    Unit, Depends(unit_for(Role.OPERATOR, Role.TERMINAL, is_recorded=True), scope="function")
]
TerminalUnit = Annotated[Unit, Depends(unit_for(Role.TERMINAL), scope="function")]
WalletUnit = Annotated[Unit, Depends(unit_for(Role.WALLET), scope="function")]
VerifierUnit = Annotated[Unit, Depends(unit_for(Role.VERIFIER), scope="function")]
