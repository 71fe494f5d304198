"""The electronic card that is bound to a clerk's account, and unlocking with it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clerks.errands import Ticket, ticket_in
from issuance.clerks.login import by_password, unit_of, unlocked
from issuance.clerks.models import ClerkRow, ClerkSessionRow
from issuance.clerks.provider import Known, ScanOverError
from issuance.clerks.sessions import SignedIn, end_sessions
from issuance.clerks.tries import is_locked, own_browser
from issuance.problems import ProblemError
from issuance.scope import EVERYWHERE
from issuance.unit import Unit

if TYPE_CHECKING:
    from issuance.services import Services


def demand_may_bind(who: SignedIn) -> None:
    """A clerk binds the own card in a session that password and one-time code opened. Raises CLERK_MUST_CHANGE,
    CONFLICT."""
    if who.needs:
        raise ProblemError("CLERK_MUST_CHANGE", f"first: {', '.join(sorted(who.needs))}")
    if who.method != "password":
        raise ProblemError("CONFLICT", "请先用密码登录，再绑定 / log in by password first, then bind the card")


async def bind_own(services: Services, who: SignedIn, kept: str, password: str, address: str) -> None:
    """Ends the clerk's other sessions. Raises ScanOverError, LOGIN_REFUSED for a wrong password, and CONFLICT where the
    card is another account's."""
    demand_may_bind(who)
    ticket = ticket_of(services, who, kept, who.clerk_id)

    async def bind(unit: Unit, row: ClerkRow) -> None:
        await give_card(unit.session, row, ticket.subject, unit.now)
        await end_sessions(unit.session, row.id, "changed", unit.now, but=who.session_id)

    await by_password(services, who, password, address, "clerk.bind", bind)


def ticket_of(services: Services, who: SignedIn, kept: str, clerk_id: str) -> Ticket:
    """Raises ScanOverError for one of another session, or for another account."""
    ticket = ticket_in(services, kept)
    if (ticket.session_id, ticket.clerk_id) != (who.session_id, clerk_id):
        raise ScanOverError("scanned in another session, or for another account")
    return ticket


async def unbind_own(unit: Unit, who: SignedIn) -> None:
    """Ends the clerk's other sessions, which whoever has the phone may have opened. Raises CONFLICT where nothing else
    would let the clerk in."""
    if not who.takes_password:
        raise ProblemError("CONFLICT", "本机构只能扫码登录 / this office logs in by scan only")
    row = await unit.session.get_one(ClerkRow, who.clerk_id)
    row.scan_subject = row.scan_bound_at = None
    row.updated_at = unit.now
    await end_sessions(unit.session, row.id, "changed", unit.now, but=who.session_id)
    await unit.audit("clerk.unbind", f"clerk:{row.id}", region=row.region)


async def give_card(session: AsyncSession, row: ClerkRow, subject: str, now: datetime) -> None:
    """One card, one account: whoever had two could be both clerks of an act that needs two. Raises CONFLICT."""
    try:
        async with session.begin_nested():
            row.scan_subject, row.scan_bound_at, row.updated_at = subject, now, now
    except IntegrityError:
        raise ProblemError("CONFLICT", "这张卡已绑定另一个工号 / the card is bound to another account") from None


async def unlock_by_scan(services: Services, session_id: str, known: Known) -> None:
    """The session's own clerk, whose password it would be otherwise. Raises LOGIN_REFUSED for anybody else, and for an
    account that is locked."""
    async with services.database.transaction(scope=EVERYWHERE) as session:
        now, kept = services.clock(), await session.get_one(ClerkSessionRow, session_id)
        row = await session.get_one(ClerkRow, kept.clerk_id)
        is_open = row.status == "active" and kept.ended_at is None and kept.expires_at > now
        is_shut = is_locked(row, await own_browser(session, session_id), now)
        is_own = is_open and not is_shut and row.scan_subject == known.subject
        if is_own:
            await unlocked(session, session_id, now)
        outcome = "ok" if is_own else "LOGIN_REFUSED"
        unit = unit_of(services, session, row, now)
        await unit.audit("clerk.unlock", f"clerk:{row.id}", region=row.region, outcome=outcome)
    if not is_own:
        raise ProblemError("LOGIN_REFUSED")
