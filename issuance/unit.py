"""One unit of work per request: who asks, one transaction, one moment, and the audit of what was refused.

Services never commit. The transaction commits when the endpoint returns, before the answer is sent; it is rolled
back when anything is raised, and the refusal is then recorded in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from types import TracebackType
from typing import Annotated, Any, cast

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.audit.refusals import record_refusal
from issuance.audit.repository import AuditRepository
from issuance.clients.auth import Caller, act_of, authenticate
from issuance.clients.schemas import Role
from issuance.clock import china_date
from issuance.consents.gate import close_person_data
from issuance.outbox.repository import OutboxRepository
from issuance.problems import ProblemError
from issuance.rules import Rules
from issuance.scope import EVERYWHERE
from issuance.services import Services
from issuance.terminals.fleet_repository import is_kiosk

SAFE_METHODS = frozenset({"GET", "HEAD"})
SYSTEM = "onecard-system"
"""Who acts where no caller does: releases at their moment, answers that come in later."""


@dataclass(slots=True)
class Unit:
    """`now` is the same moment throughout. `after_commit` holds what must only happen once all is stored.

    `holder_of`: number of the card whose holder is proved to ask (`issuance.ecards.access`); empty where nobody is.
    """

    session: AsyncSession
    services: Services
    caller: Caller
    now: datetime
    after_commit: list[Callable[[], None]] = field(default_factory=list)
    holder_of: str = ""

    def rules(self, region: str) -> Rules:
        """The region's rules of today, China time. Raises RuleError."""
        return self.services.rules.pack(region).on(china_date(self.now))

    async def audit(
        self,
        act: str,
        subject: str,
        *,
        region: str | None,
        application_id: str | None = None,
        outcome: str = "ok",
        detail: dict[str, Any] | None = None,
        reason: str = "",
    ) -> None:
        """`reason`, at most 256 characters, is what a person gave as one: nothing personal, whoever reads the trail
        sees it."""
        await self.record(
            {
                "at": self.now,
                "actor": self.caller.client_id,
                "clerk": self.caller.clerk,
                "act": act,
                "subject": subject,
                "application_id": application_id,
                "region": region,
                "outcome": outcome,
                "detail": detail or {},
                "place": self.caller.office,
                "reason": reason,
            }
        )

    async def record(self, entry: dict[str, Any]) -> None:
        """Add an entry of `audit` to the trail."""
        await AuditRepository(self.session, self.services.audit_seal).add(**entry)

    @property
    def by(self) -> str:
        """Who acts: the clerk where the client names one, else the client."""
        return self.caller.clerk or self.caller.client_id

    async def send(
        self, topic: str, key: str, body: dict[str, Any], *, region: str | None, is_personal: bool = False
    ) -> str:
        """Have `body` sent once this transaction is stored; returns the message id, the receiver's idempotency key.

        `topic` is `receiver.kind`. Messages of one `key` are sent one after the other, in this order. A personal body
        rests sealed; both kinds are dropped when delivered.
        """
        sealer = self.services.sealer if is_personal else None
        return await OutboxRepository(self.session).add(
            topic, key, body, now=self.now, owner=self.by, region=region, sealer=sealer
        )


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


@asynccontextmanager
async def open_unit(
    services: Services, caller: Caller, act: str, *roles: Role, is_reading: bool = False
) -> AsyncIterator[Unit]:
    """For a caller with one of `roles`. `act` names the request in the audit entry of a refusal."""
    now = services.clock()
    transaction = services.database.transaction(is_reading=is_reading, scope=caller.scope)
    async with _Refusals(services, caller, act, roles, now), transaction as session:
        if roles == (Role.VERIFIER,):
            close_person_data(session)
        unit = Unit(session, services, caller, now)
        yield unit
    for callback in unit.after_commit:
        callback()


@dataclass(frozen=True, slots=True)
class _Refusals:
    """What is raised in the block leaves an audit entry, and so does a caller without one of `roles` before it."""

    services: Services
    caller: Caller
    act: str
    roles: tuple[Role, ...]
    now: datetime

    async def __aenter__(self) -> None:
        try:
            self.caller.demand(*self.roles)
        except ProblemError as refusal:
            await self._record(refusal)
            raise

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            await self._record(error)

    async def _record(self, error: Exception) -> None:
        await record_refusal(
            self.services,
            error,
            at=self.now,
            actor=self.caller.client_id,
            clerk=self.caller.clerk,
            act=self.act,
            region=self.caller.region,
            place=self.caller.office,
        )


@dataclass(frozen=True, slots=True)
class Desk:
    """A proved caller before any transaction: what asks another system or takes long is done `ahead` of the unit."""

    services: Services
    caller: Caller
    act: str
    roles: tuple[Role, ...]

    @property
    def today(self) -> date:
        """In China."""
        return china_date(self.services.clock())

    def rules(self, region: str) -> Rules:
        """The region's rules of today. Raises RuleError."""
        return self.services.rules.pack(region).on(self.today)

    def ahead(self) -> AbstractAsyncContextManager[None]:
        """Refusals in this block are recorded, as those in a unit are."""
        return _Refusals(self.services, self.caller, self.act, self.roles, self.services.clock())

    def unit(self, *, is_reading: bool = False) -> AbstractAsyncContextManager[Unit]:
        return open_unit(self.services, self.caller, self.act, *self.roles, is_reading=is_reading)


def desk_for(*roles: Role) -> Callable[[Request], Awaitable[Desk]]:
    """Dependency: authenticate; the endpoint opens its unit itself."""

    async def dependency(request: Request) -> Desk:
        return await desk_of(request, roles)

    return dependency


async def desk_of(request: Request, roles: tuple[Role, ...]) -> Desk:
    services = services_of(request)
    desk = Desk(services, await authenticate(request, services), act_of(request), roles)
    async with desk.ahead():
        return desk


@asynccontextmanager
async def system_unit(services: Services) -> AsyncIterator[Unit]:
    """For what nobody asks for at this moment: background jobs."""
    async with services.database.transaction(scope=EVERYWHERE) as session:
        unit = Unit(session, services, Caller(SYSTEM, frozenset()), services.clock())
        yield unit
    for callback in unit.after_commit:
        callback()


def unit_for(
    *roles: Role, is_recorded: bool = False, is_attended: bool = False
) -> Callable[[Request], AsyncIterator[Unit]]:
    """Dependency: authenticate, demand one of `roles`, open the unit of work.

    `is_recorded`: reading leaves an audit entry too, so the transaction of a GET is a writing one. `is_attended`: not
    for kiosks, where nobody answers for what is asked; they ask by evidence (`issuance.self_service`).
    """

    async def dependency(request: Request) -> AsyncIterator[Unit]:
        services = services_of(request)
        caller = await authenticate(request, services)
        is_reading = request.method in SAFE_METHODS and not is_recorded
        async with open_unit(services, caller, act_of(request), *roles, is_reading=is_reading) as unit:
            if is_attended:
                await demand_staff(unit)
            yield unit

    return dependency


async def demand_staff(unit: Unit) -> None:
    """Raises CLIENT_FORBIDDEN for a kiosk."""
    if Role.TERMINAL in unit.caller.roles and await is_kiosk(unit.session, unit.caller.client_id):
        raise ProblemError("CLIENT_FORBIDDEN", "a kiosk asks by evidence, see /v1/self-service")


async def _attended(request: Request) -> Desk:
    desk = await desk_of(request, (Role.OPERATOR, Role.TERMINAL))
    async with desk.unit(is_reading=True) as unit:
        await demand_staff(unit)
    return desk


OperatorUnit = Annotated[Unit, Depends(unit_for(Role.OPERATOR), scope="function")]
RecordedOperatorUnit = Annotated[Unit, Depends(unit_for(Role.OPERATOR, is_recorded=True), scope="function")]
CounterUnit = Annotated[Unit, Depends(unit_for(Role.OPERATOR, Role.TERMINAL), scope="function")]
RecordedCounterUnit = Annotated[
    Unit, Depends(unit_for(Role.OPERATOR, Role.TERMINAL, is_recorded=True), scope="function")
]
AttendedUnit = Annotated[Unit, Depends(unit_for(Role.OPERATOR, Role.TERMINAL, is_attended=True), scope="function")]
RecordedAttendedUnit = Annotated[
    Unit,
    Depends(unit_for(Role.OPERATOR, Role.TERMINAL, is_recorded=True, is_attended=True), scope="function"),
]
OperatorDesk = Annotated[Desk, Depends(desk_for(Role.OPERATOR))]
CounterDesk = Annotated[Desk, Depends(desk_for(Role.OPERATOR, Role.TERMINAL))]
AttendedDesk = Annotated[Desk, Depends(_attended)]
TerminalUnit = Annotated[Unit, Depends(unit_for(Role.TERMINAL), scope="function")]
AttendedTerminalUnit = Annotated[Unit, Depends(unit_for(Role.TERMINAL, is_attended=True), scope="function")]
BankUnit = Annotated[Unit, Depends(unit_for(Role.BANK), scope="function")]
VerifierDesk = Annotated[Desk, Depends(desk_for(Role.VERIFIER))]
VerifierUnit = Annotated[Unit, Depends(unit_for(Role.VERIFIER), scope="function")]
