"""Sessions of clerks: opened by a log-in, named by a cookie, ended by log-out, idleness, time or an administrator."""

from __future__ import annotations

import hmac
import secrets
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clerks.acts import Act, ClerkRole, acts_of
from issuance.clerks.models import ClerkRow, ClerkSessionRow
from issuance.clerks.tries import hash_of
from issuance.clients.auth import Caller
from issuance.clients.schemas import Role
from issuance.offices.models import OfficeRow
from issuance.problems import ProblemError
from issuance.scope import EVERYWHERE

if TYPE_CHECKING:
    from issuance.services import Services
    from issuance.unit import Unit

CONSOLE = "console"
"""The client that clerks' acts are done as. It has no key, so nobody else can be it."""
_SEEN_EVERY = timedelta(minutes=1)


class Need(StrEnum):
    """What a clerk has to do before anything else."""

    PASSWORD = "password"  # noqa: S105  # the name of a need
    CODE = "code"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A clerk behind a valid session. `csrf` goes into every form and into `X-CSRF-Token` of every script.

    `access_by`: who told the clerk the last temporary password. `method`: how the clerk logged in; `takes_password`:
    whether the office still lets clerks in by password.
    """

    session_id: str
    clerk_id: str
    login: str
    roles: frozenset[ClerkRole]
    region: str
    office: str
    office_id: int
    needs: frozenset[Need]
    access_by: str
    method: str
    takes_password: bool
    csrf: str = field(repr=False)

    @property
    def acts(self) -> frozenset[Act]:
        return acts_of(self.roles)

    @property
    def caller(self) -> Caller:
        return Caller(CONSOLE, frozenset({Role.OPERATOR}), self.region, self.login, self.office)

    def demand(self, act: Act) -> None:
        """Raises CLERK_MUST_CHANGE and ACT_FORBIDDEN."""
        if self.needs and act is not Act.OWN_ACCOUNT:
            raise ProblemError("CLERK_MUST_CHANGE", f"first: {', '.join(sorted(self.needs))}")
        if act not in self.acts:
            raise ProblemError("ACT_FORBIDDEN", f"{act.value} is no act of {', '.join(sorted(self.roles))}")


def password_is_off() -> ColumnElement[bool]:
    """Of a row of `ClerkRow`, in a session that sees every office: the clerk's own or one above takes no password."""
    is_above = ClerkRow.office.startswith(OfficeRow.office)
    return exists().where(OfficeRow.takes_password.is_(False), is_above).correlate(ClerkRow)


def needs_of(row: ClerkRow, *, takes_password: bool) -> frozenset[Need]:
    """Who cannot use a password need not set one up."""
    if not takes_password:
        return frozenset()
    found = {Need.PASSWORD} if row.must_change else set()
    return frozenset(found | ({Need.CODE} if row.sealed_totp is None else set()))


def csrf_of(token: str) -> str:
    """Bound to the session's cookie and not to be had from the database."""
    return urlsafe_b64encode(hmac.digest(token.encode(), b"onecard csrf", "sha256")).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Strength:
    """How strongly a clerk is known: `acr` of the log-in provider, `amr` of RFC 8176, and the provider's ID token."""

    acr: str = ""
    amr: tuple[str, ...] = ()
    id_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """`token` and `browser` are what the two cookies hold, told nowhere else."""

    session_id: str
    token: str = field(repr=False)
    browser: str = field(repr=False)


def open_session(unit: Unit, clerk: ClerkRow, *, method: str, strength: Strength, address: str, agent: str) -> Opened:
    services, now, id_token = unit.services, unit.now, strength.id_token
    made = Opened(uuid.uuid4().hex, secrets.token_urlsafe(32), secrets.token_urlsafe(32))
    row = ClerkSessionRow(
        id=made.session_id,
        token_hash=hash_of(made.token),
        browser_hash=hash_of(made.browser),
        browser_failed=0,
        clerk_id=clerk.id,
        region=clerk.region,
        office=clerk.office,
        method=method,
        address=address,
        agent=agent,
        created_at=now,
        last_seen=now,
        expires_at=now + timedelta(hours=services.settings.clerk_session_h),
        acr=strength.acr,
        amr=list(strength.amr),
        sealed_id_token=services.sealer.seal(id_token, _context(made.session_id)) if id_token else None,
    )
    unit.session.add(row)
    return made


async def id_token_of(unit: Unit, session_id: str) -> str:
    """Empty where the session was opened without a log-in provider."""
    row = await unit.session.get_one(ClerkSessionRow, session_id)
    token = row.sealed_id_token
    return "" if token is None else str(unit.services.sealer.unseal(token, _context(row.id)))


def _context(session_id: str) -> str:
    return f"clerk_sessions:{session_id}"


async def signed_in(services: Services, token: str) -> SignedIn:
    """Who a cookie stands for. Raises SESSION_ENDED, SESSION_LOCKED."""
    row, who = await known(services, token)
    now = services.clock()
    if row.locked_at is not None:
        raise ProblemError("SESSION_LOCKED", "the screen is locked")
    if now - row.last_seen >= _SEEN_EVERY:
        await _touch(services, row.id, now)
    return who


async def known(services: Services, token: str) -> tuple[ClerkSessionRow, SignedIn]:
    """The session behind a cookie, locked or not: a locked one is not ended by idleness. Raises SESSION_ENDED."""
    now = services.clock()
    idle = timedelta(minutes=services.settings.clerk_idle_min)
    query = (
        select(ClerkSessionRow, ClerkRow, password_is_off())
        .join(ClerkRow, ClerkRow.id == ClerkSessionRow.clerk_id)
        .where(ClerkSessionRow.token_hash == hash_of(token))
    )
    async with services.database.look(scope=EVERYWHERE) as session:
        found = (await session.execute(query)).one_or_none()
    if found is None:
        raise ProblemError("SESSION_ENDED", "no such session")
    row, clerk, is_off = found
    is_idle = row.locked_at is None and row.last_seen + idle <= now
    if row.ended_at is not None or row.expires_at <= now or is_idle or clerk.status != "active":
        raise ProblemError("SESSION_ENDED", "the session is over")
    return row, SignedIn(
        session_id=row.id,
        clerk_id=clerk.id,
        login=clerk.login,
        roles=frozenset(ClerkRole(role) for role in clerk.roles),
        region=clerk.region,
        office=clerk.office,
        office_id=clerk.office_id,
        needs=needs_of(clerk, takes_password=not is_off),
        access_by=clerk.access_by,
        method=row.method,
        takes_password=not is_off,
        csrf=csrf_of(token),
    )


async def _touch(services: Services, session_id: str, now: datetime) -> None:
    async with services.database.transaction(scope=EVERYWHERE) as session:
        await session.execute(
            update(ClerkSessionRow)
            .where(ClerkSessionRow.id == session_id, ClerkSessionRow.last_seen < now)
            .values(last_seen=now)
        )


async def end_sessions(
    session: AsyncSession, clerk_id: str, reason: str, now: datetime, *, only: str | None = None, but: str | None = None
) -> int:
    """Those still open of one clerk: all, `only` one, or all `but` one. Returns how many."""
    statement = update(ClerkSessionRow).where(ClerkSessionRow.clerk_id == clerk_id, ClerkSessionRow.ended_at.is_(None))
    if only is not None:
        statement = statement.where(ClerkSessionRow.id == only)
    if but is not None:
        statement = statement.where(ClerkSessionRow.id != but)
    values = {"ended_at": now, "end_reason": reason, "sealed_id_token": None}
    ended = await session.execute(statement.values(values).returning(ClerkSessionRow.id))
    return len(ended.all())
