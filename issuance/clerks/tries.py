"""Failed tries to log in: how many lock an account, how many a network has, and browsers that are known.

Counted in the database, so that processes and restarts share one count. A browser in which a clerk has logged in before
keeps a token of its own. Its failures count for it alone, and the lock that strangers put on an account does not hold
for it: whoever knows a log-in name cannot keep its clerk out.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clerks.models import ClerkRow, ClerkSessionRow, LogInTryRow
from issuance.database import forget, insert_new
from issuance.problems import ProblemError

if TYPE_CHECKING:
    from issuance.services import Services

MAX_FAILURES: Final = 5
LOCKED: Final = timedelta(minutes=15)
MAX_TRIES_A_MINUTE: Final = 20
"""From one network."""
KNOWN: Final = timedelta(days=90)
"""A browser, since its last log-in."""
_MINUTE: Final = timedelta(minutes=1)
_T = LogInTryRow


async def demand_try(services: Services, network: str) -> None:
    """Count one before it is looked at. Raises LOGIN_LIMITED."""
    now = services.clock()
    # this process counts first: what it refuses costs the database nothing
    if not services.log_ins.allows(network, now) or not await _take(services, network, now):
        raise ProblemError("LOGIN_LIMITED", "too many log-ins from this address")


async def _take(services: Services, network: str, now: datetime) -> bool:
    is_over = _T.minute <= now - _MINUTE
    mine = update(_T).where(_T.network == network, or_(is_over, _T.tries < MAX_TRIES_A_MINUTE))
    begun = case((is_over, now), else_=_T.minute)
    counted = mine.values(tries=case((is_over, 1), else_=_T.tries + 1), minute=begun).returning(_T.tries)
    async with services.database.transaction() as session:
        await insert_new(session, _T, [{"network": network, "minute": now, "tries": 0}])
        is_counted = (await session.execute(counted)).first() is not None
        await forget(session, _T, _T.minute <= now - 2 * _MINUTE)
    return is_counted


def hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def known_browser(session: AsyncSession, row: ClerkRow, token: str, now: datetime) -> ClerkSessionRow | None:
    """The clerk's last session in the browser that keeps `token`, at the same office; None where it has used up its
    failures."""
    query = select(ClerkSessionRow).where(
        ClerkSessionRow.browser_hash == hash_of(token),
        ClerkSessionRow.clerk_id == row.id,
        ClerkSessionRow.office == row.office,
        ClerkSessionRow.browser_failed < MAX_FAILURES,
        ClerkSessionRow.created_at > now - KNOWN,
    )
    found: ClerkSessionRow | None = await session.scalar(query) if token else None
    return found


async def own_browser(session: AsyncSession, session_id: str) -> ClerkSessionRow | None:
    """The browser of a session that goes on; None where it has used up its failures."""
    row = await session.get_one(ClerkSessionRow, session_id)
    return row if row.browser_failed < MAX_FAILURES else None


async def forget_browsers(session: AsyncSession, clerk_id: str) -> None:
    """None of this clerk's is known any more."""
    await session.execute(update(ClerkSessionRow).where(ClerkSessionRow.clerk_id == clerk_id).values(browser_hash=None))


def is_locked(row: ClerkRow, browser: ClerkSessionRow | None, now: datetime) -> bool:
    return browser is None and row.locked_until is not None and now < row.locked_until


def count_failure(row: ClerkRow, browser: ClerkSessionRow | None, now: datetime) -> None:
    """The fifth of a known browser makes it a stranger and locks the account, as the fifth of all strangers does."""
    if is_locked(row, browser, now):
        return
    if browser is None:
        failed = row.failed = row.failed + 1
    else:
        failed = browser.browser_failed = browser.browser_failed + 1
    if failed >= MAX_FAILURES:
        row.failed, row.locked_until = 0, now + LOCKED


def forgive(row: ClerkRow, browser: ClerkSessionRow | None) -> None:
    """After a success. In a known browser it says nothing about the strangers."""
    if browser is None:
        row.failed, row.locked_until = 0, None
    else:
        browser.browser_failed = 0
