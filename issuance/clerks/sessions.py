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

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clerks.acts import Act, ClerkRole, acts_of
from issuance.clerks.models import ClerkRow, ClerkSessionRow
from issuance.clerks.tries import hash_of
from issuance.clients.auth import Caller
from issuance.clients.schemas import Role
from issuance.problems import ProblemError
from issuance.scope import EVERYWHERE

if TYPE_CHECKING:
    from issuance.services import Services

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

    `access_by`: who told the clerk the last temporary password.
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


def needs_of(row: ClerkRow) -> frozenset[Need]:
    found = {Need.PASSWORD} if row.must_change else set()
    return frozenset(found | ({Need.CODE} if row.sealed_totp is None else set()))


def csrf_of(token: str) -> str:
    """Bound to the session's cookie and not to be had from the database."""
    return urlsafe_b64encode(hmac.digest(token.encode(), b"onecard csrf", "sha256")).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Opened:
    """`token` and `browser` are what the two cookies hold, told nowhere else."""

    session_id: str
    token: str = field(repr=False)
    browser: str = field(repr=False)


def open_session(
    session: AsyncSession, clerk: ClerkRow, *, method: str, address: str, agent: str, now: datetime, hours: int
) -> Opened:
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
        expires_at=now + timedelta(hours=hours),
    )
    session.add(row)
    return made


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
        select(ClerkSessionRow, ClerkRow)
        .join(ClerkRow, ClerkRow.id == ClerkSessionRow.clerk_id)
        .where(ClerkSessionRow.token_hash == hash_of(token))
    )
    async with services.database.look(scope=EVERYWHERE) as session:
        found = (await session.execute(query)).one_or_none()
    if found is None:
        raise ProblemError("SESSION_ENDED", "no such session")
    row, clerk = found
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
        needs=needs_of(clerk),
        access_by=clerk.access_by,
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
    ended = await session.execute(statement.values(ended_at=now, end_reason=reason).returning(ClerkSessionRow.id))
    return len(ended.all())
