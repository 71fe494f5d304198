"""Clerks as an administrator sees them: made, moved, suspended, given new access."""

from __future__ import annotations

import uuid
from datetime import timedelta

from issuance.clerks import passwords
from issuance.clerks.acts import ClerkRole, are_apart
from issuance.clerks.errands import Ticket
from issuance.clerks.models import ClerkRow, ClerkSessionRow
from issuance.clerks.provider import ScanOverError
from issuance.clerks.repository import ClerkRepository
from issuance.clerks.scans import give_card
from issuance.clerks.schemas import ClerkChange, ClerkRequest, ClerkView, NewAccess, SessionView
from issuance.clerks.sessions import CONSOLE, end_sessions
from issuance.clerks.tries import forget_browsers
from issuance.input_rules import field_error
from issuance.offices.models import OfficeRow
from issuance.offices.repository import OfficeRepository
from issuance.paging import Page, PageRequest, page_of
from issuance.problems import ProblemError, bad_input
from issuance.unit import Unit

TEMPORARY = timedelta(days=3)
LISTED_SESSIONS = 50


class ClerkService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._clerks = ClerkRepository(unit.session)

    async def create(self, request: ClerkRequest) -> NewAccess:
        """Raises CONFLICT for a log-in name that is taken, INPUT_INVALID for roles that are kept apart."""
        _demand_apart(request.roles)
        office = await self._office(request.office_id)
        password, until = passwords.temporary_password(), self._unit.now + TEMPORARY
        clerk_id = uuid.uuid4().hex
        row = ClerkRow(
            id=clerk_id,
            login=request.login,
            sealed_name=self._unit.services.sealer.seal(request.name, _context(clerk_id)),
            office_id=office.id,
            office=office.office,
            region=office.region,
            roles=sorted(set(request.roles)),
            status="active",
            password_hash=await passwords.hash_password(password),
            must_change=True,
            password_until=until,
            totp_step=0,
            failed=0,
            version=1,
            created_by=self._unit.by,
            access_by=self._unit.by,
            created_at=self._unit.now,
            updated_at=self._unit.now,
        )
        if not await self._clerks.add(row):
            raise ProblemError("CONFLICT", "this log-in name is taken", subject=f"clerk:{request.login}")
        await self._audit("clerk.create", row, {"roles": row.roles, "office": row.office_id})
        return NewAccess(clerk=self._view(row), temporary_password=password, password_until=until)

    async def find(
        self, office_id: int | None, status: str | None, login: str | None, page: PageRequest
    ) -> Page[ClerkView]:
        query = self._clerks.listed(office_id=office_id, status=status, login=login)
        return await page_of(self._unit.session, query, [ClerkRow.login], page, self._view)

    async def get(self, clerk_id: str) -> ClerkView:
        return self._view(await self._row(clerk_id))

    async def change(self, clerk_id: str, change: ClerkChange) -> ClerkView:
        """Other roles or another office hold from the next request on; who is suspended is logged out.

        Raises CONFLICT for a version that is gone, and for clerks who change themselves.
        """
        row = await self._other(clerk_id)
        if row.version != change.version:
            raise ProblemError("CONFLICT", "the clerk was changed meanwhile", subject=_subject(row))
        if change.roles is not None:
            _demand_apart(change.roles)
            row.roles = sorted(set(change.roles))
        if change.office_id is not None:
            office = await self._office(change.office_id)
            row.office_id, row.office, row.region = office.id, office.office, office.region
        row.status = change.status or row.status
        if change.office_id is not None or row.status != "active":
            await self._end(row, "changed")
        row.version, row.updated_at = row.version + 1, self._unit.now
        changed = change.model_dump(mode="json", exclude={"version", "reason"}, exclude_none=True)
        await self._audit("clerk.change", row, changed, reason=change.reason)
        return self._view(row)

    async def reset(self, clerk_id: str) -> NewAccess:
        """A new temporary password, codes to be set up and a card to be bound anew, every session ended: for a lost
        device too.
        """
        row = await self._other(clerk_id)
        password, until = passwords.temporary_password(), self._unit.now + TEMPORARY
        row.password_hash = await passwords.hash_password(password)
        row.must_change, row.password_until, row.sealed_totp, row.access_by = True, until, None, self._unit.by
        row.failed, row.locked_until = 0, None
        row.scan_subject = row.scan_bound_at = None
        row.version, row.updated_at = row.version + 1, self._unit.now
        await self._end(row, "reset")
        await forget_browsers(self._unit.session, row.id)
        await self._audit("clerk.reset", row, {})
        return NewAccess(clerk=self._view(row), temporary_password=password, password_until=until)

    async def bindable(self, ticket: Ticket, login: str, *, asked_by: str) -> ClerkRow:
        """The clerk that a scanned card is to be bound to. Raises NOT_FOUND, ScanOverError, and CONFLICT for a clerk
        who is suspended, and for the own account.
        """
        row = await self._other(ticket.clerk_id)
        if (row.login, ticket.by) != (login, asked_by):
            raise ScanOverError("scanned for another clerk, or by another")
        if row.status != "active":
            raise ProblemError("CONFLICT", "账号已停用 / the account is suspended", subject=_subject(row))
        return row

    async def bind(self, ticket: Ticket, login: str) -> ClerkView:
        """Whoever had the card scanned counts as having given access. Raises what `bindable` raises, and CONFLICT where
        the card is another account's.
        """
        row = await self.bindable(ticket, login, asked_by=ticket.by)
        await give_card(self._unit.session, row, ticket.subject, self._unit.now)
        row.access_by = ticket.by
        row.version += 1
        await self._end(row, "changed")
        await self._audit("clerk.bind", row, {"by": ticket.by})
        return self._view(row)

    async def unbind(self, clerk_id: str) -> ClerkView:
        """Nobody logs in by scan to this account any more; sessions end. Twice changes nothing."""
        row = await self._row(clerk_id, is_locking=True)
        if row.scan_subject is not None:
            row.scan_subject = row.scan_bound_at = None
            row.version, row.updated_at = row.version + 1, self._unit.now
            await self._end(row, "changed")
            await self._audit("clerk.unbind", row, {})
        return self._view(row)

    async def demand_bound(self, login: str) -> None:
        """Raises CONFLICT."""
        row = await self._unit.session.scalar(self._clerks.listed(office_id=None, status=None, login=login))
        if row is None or row.scan_subject is None:
            raise ProblemError("CONFLICT", "先绑定自己的电子社保卡 / bind your own electronic card first")

    async def sessions(self, clerk_id: str) -> list[SessionView]:
        """The last fifty, newest first."""
        row = await self._row(clerk_id)
        return [session_view(found) for found in await self._clerks.sessions(row.id, LISTED_SESSIONS)]

    async def end_sessions(self, clerk_id: str, session_id: str | None = None) -> int:
        """All, and then no browser is known any more, or one. Returns how many were open."""
        row = await self._row(clerk_id)
        if session_id is None:
            await forget_browsers(self._unit.session, row.id)
        ended = await end_sessions(self._unit.session, row.id, "ended", self._unit.now, only=session_id)
        await self._audit("clerk.end_sessions", row, {"ended": ended})
        return ended

    async def _end(self, row: ClerkRow, reason: str) -> None:
        await end_sessions(self._unit.session, row.id, reason, self._unit.now)

    async def _other(self, clerk_id: str) -> ClerkRow:
        row = await self._row(clerk_id, is_locking=True)
        caller = self._unit.caller
        if (caller.client_id, caller.clerk) == (CONSOLE, row.login):
            raise ProblemError("CONFLICT", "clerks do not change their own roles or access", subject=_subject(row))
        return row

    async def _row(self, clerk_id: str, *, is_locking: bool = False) -> ClerkRow:
        row = await self._clerks.get(clerk_id, is_locking=is_locking)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such clerk", subject=f"clerk:{clerk_id}")
        return row

    async def _office(self, office_id: int) -> OfficeRow:
        row = await OfficeRepository(self._unit.session).get(office_id, is_locking=True)
        if row is None or row.status != "open":
            raise ProblemError("NOT_FOUND", "no such office, or it is closed", subject=f"office:{office_id}")
        return row

    async def _audit(self, act: str, row: ClerkRow, detail: dict[str, object], *, reason: str = "") -> None:
        await self._unit.audit(act, _subject(row), region=row.region, detail=detail, reason=reason)

    def _view(self, row: ClerkRow) -> ClerkView:
        same = ("id", "login", "office_id", "office", "region", "status", "must_change", "version", "created_at")
        locked = row.locked_until is not None and row.locked_until > self._unit.now
        return ClerkView.model_validate(
            {name: getattr(row, name) for name in same}
            | {
                "name": self._unit.services.sealer.unseal(row.sealed_name, _context(row.id)),
                "roles": tuple(ClerkRole(role) for role in row.roles),
                "has_codes": row.sealed_totp is not None,
                "has_scan": row.scan_subject is not None,
                "locked_until": row.locked_until if locked else None,
            }
        )


def session_view(row: ClerkSessionRow) -> SessionView:
    return SessionView.model_validate({name: getattr(row, name) for name in SessionView.model_fields})


def _demand_apart(roles: tuple[ClerkRole, ...]) -> None:
    if not are_apart(roles):
        raise bad_input(field_error("body.roles", "roles_apart"))


def _subject(row: ClerkRow) -> str:
    return f"clerk:{row.id}"


def _context(clerk_id: str) -> str:
    return f"clerks:{clerk_id}"
