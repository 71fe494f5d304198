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
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.audit.repository import AuditRepository
from issuance.clients.auth import Caller, authenticate
from issuance.clients.schemas import Role
from issuance.logs import get_logger
from issuance.problems import ProblemError, code_of
from issuance.services import Services

log = get_logger("issuance.unit")
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
            outcome=outcome,
            detail=detail or {},
        )


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


@asynccontextmanager
async def open_unit(services: Services, caller: Caller, act: str, *, is_reading: bool = False) -> AsyncIterator[Unit]:
    """`act` names the request in the audit entry of a refusal."""
    now = services.clock()
    try:
        async with services.database.transaction(is_reading=is_reading) as session:
            unit = Unit(session, services, caller, now)
            yield unit
    except Exception as error:
        if not is_reading:
            await _audit_refusal(services, caller, act, now, error)
        raise
    for callback in unit.after_commit:
        callback()


async def _audit_refusal(services: Services, caller: Caller, act: str, now: datetime, error: Exception) -> None:
    """Never hides the refusal itself: a database that cannot take the entry is logged."""
    try:
        async with services.database.transaction() as session:
            await AuditRepository(session).add(
                at=now,
                actor=caller.client_id,
                clerk=caller.clerk,
                act=act,
                subject=error.subject if isinstance(error, ProblemError) else "",
                application_id=error.application_id if isinstance(error, ProblemError) else None,
                outcome=code_of(error).value,
                detail={},
            )
    except SQLAlchemyError as broken:
        log.error("refusal_not_audited", act=act, outcome=code_of(error).value, error=type(broken).__name__)


def unit_for(*roles: Role) -> Callable[[Request], AsyncIterator[Unit]]:
    """Dependency: authenticate, demand one of `roles`, open the unit of work."""

    async def dependency(request: Request) -> AsyncIterator[Unit]:
        services = services_of(request)
        caller = await authenticate(request, services)
        caller.demand(*roles)
        act = f"{request.method} {getattr(request.scope.get('route'), 'path', '')}"
        async with open_unit(services, caller, act, is_reading=request.method in _SAFE_METHODS) as unit:
            yield unit

    return dependency


OperatorUnit = Annotated[Unit, Depends(unit_for(Role.OPERATOR), scope="function")]
CounterUnit = Annotated[Unit, Depends(unit_for(Role.OPERATOR, Role.TERMINAL), scope="function")]
TerminalUnit = Annotated[Unit, Depends(unit_for(Role.TERMINAL), scope="function")]
WalletUnit = Annotated[Unit, Depends(unit_for(Role.WALLET), scope="function")]
VerifierUnit = Annotated[Unit, Depends(unit_for(Role.VERIFIER), scope="function")]
