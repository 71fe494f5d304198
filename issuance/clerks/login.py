"""Logging in, and what a clerk does to the own account: password, one-time codes.

Everything that is wrong with a log-in gets the same answer after the same work: whether the name is known, the account
locked or suspended, the password or the code wrong. The audit trail and the clerk's administrator see which it was.
"""

from __future__ import annotations

import ipaddress
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clerks import passwords
from issuance.clerks.errands import come_back
from issuance.clerks.models import ClerkRow, ClerkSessionRow
from issuance.clerks.provider import ScanOverError
from issuance.clerks.sessions import (
    CONSOLE,
    Need,
    SignedIn,
    Strength,
    csrf_of,
    end_sessions,
    id_token_of,
    needs_of,
    open_session,
    password_is_off,
)
from issuance.clerks.tries import count_failure, demand_try, forgive, is_locked, known_browser, own_browser
from issuance.clients.auth import Caller
from issuance.database import ROW_LOCK, forget
from issuance.input_rules import field_error
from issuance.offices.models import OfficeRow
from issuance.problems import ProblemError, bad_input
from issuance.scope import EVERYWHERE
from issuance.sealing import SealedDataError
from issuance.unit import Unit

if TYPE_CHECKING:
    from issuance.services import Services

ENROL = timedelta(minutes=10)
SESSIONS_KEPT = timedelta(days=180)
"""After their end, for the clerk's administrator."""


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """`given`: what the method asks for, such as password and code. `address` and `agent` are shortened when kept;
    `browser` is what the browser keeps of an earlier log-in.
    """

    method: str
    given: Mapping[str, str] = field(repr=False)
    address: str = ""
    agent: str = ""
    browser: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """`clerk_id` None: nobody known. `step`: of the one-time code, which is spent by the log-in. `as_of`: when the
    clerk had last been changed at that moment; who was changed since has to prove it again. `refusal`: what is said
    where nobody is known.
    """

    clerk_id: str | None
    is_good: bool
    step: int | None = None
    as_of: datetime | None = None
    strength: Strength = field(default_factory=Strength)
    refusal: str = "LOGIN_REFUSED"


class LoginMethod(Protocol):
    """One way to prove who one is. It reads, and changes nothing: failures are counted by `log_in`."""

    name: str

    async def prove(self, services: Services, attempt: LoginAttempt) -> Proof: ...


class PasswordMethod:
    """`login`, `password`, and `code` as soon as one-time codes are set up."""

    name = "password"

    async def prove(self, services: Services, attempt: LoginAttempt) -> Proof:
        login = attempt.given.get("login", "").strip().lower()
        async with services.database.look(scope=EVERYWHERE) as session:
            row = await session.scalar(select(ClerkRow).where(ClerkRow.login == login))
        is_good = await passwords.fits(attempt.given.get("password", ""), None if row is None else row.password_hash)
        if row is None:
            return Proof(None, is_good=False)
        if row.sealed_totp is None:
            return Proof(row.id, is_good, as_of=row.updated_at, strength=Strength(amr=("pwd",)))
        secret = services.sealer.unseal(row.sealed_totp, _context(row.id))["secret"]
        step = passwords.step_of(secret, attempt.given.get("code", "").strip(), services.clock())
        return Proof(row.id, is_good and step is not None, step, row.updated_at, Strength(amr=("pwd", "otp")))


class ScanMethod:
    """`kept` by the browser, and the parameters it came back from the provider with. Raises ScanOverError,
    ProviderUnreachableError.
    """

    name = "scan"

    async def prove(self, services: Services, attempt: LoginAttempt) -> Proof:
        errand, known = await come_back(services, attempt.given.get("kept", ""), attempt.given)
        if errand.purpose != "log_in":
            raise ScanOverError("begun for something else")
        async with services.database.look(scope=EVERYWHERE) as session:
            row = await session.scalar(select(ClerkRow).where(ClerkRow.scan_subject == known.subject))
        if row is None:
            return Proof(None, is_good=False, refusal="LOGIN_UNBOUND")
        strength = Strength(known.acr, known.amr, known.id_token)
        return Proof(row.id, is_good=True, as_of=row.updated_at, strength=strength)


METHODS: dict[str, LoginMethod] = {method.name: method for method in (PasswordMethod(), ScanMethod())}


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """`token` is the value of the session cookie, `browser` of the one that stays."""

    token: str = field(repr=False)
    browser: str = field(repr=False)
    login: str
    needs: frozenset[Need]

    @property
    def csrf(self) -> str:
        return csrf_of(self.token)


async def log_in(services: Services, attempt: LoginAttempt) -> LoggedIn:
    """Raises LOGIN_REFUSED, LOGIN_UNBOUND for a card that is no clerk's, LOGIN_LIMITED for an address that tries too
    often, and what the method raises.
    """
    await demand_try(services, shortened(attempt.address))
    proof = await METHODS[attempt.method].prove(services, attempt)
    now = services.clock()
    if proof.clerk_id is None:
        if services.unproved.allows("", now):
            await _note_stranger(services, now, proof.refusal)
        raise ProblemError(proof.refusal)
    async with services.database.transaction(scope=EVERYWHERE) as session:
        row = await _locked(session, proof.clerk_id)
        browser = await known_browser(session, row, attempt.browser, now)
        takes_password = await _takes_password(session, row)
        wrong = "LOCKED" if is_locked(row, browser, now) else _wrong(row, proof, now, takes_password=takes_password)
        unit = unit_of(services, session, row, now)
        if attempt.method == "password" and not takes_password:
            wrong = "PASSWORD_OFF"  # counted for nobody: guessing leads nowhere, and must not lock the clerk out
            await unit.audit("clerk.log_in", f"clerk:{row.id}", region=row.region, outcome=wrong)
        elif wrong:
            count_failure(row, browser, now)
            await unit.audit("clerk.log_in", f"clerk:{row.id}", region=row.region, outcome=wrong)
        else:
            forgive(row, browser)
            if browser is not None:
                browser.browser_hash = None
            made = await _open(unit, row, proof, attempt, takes_password=takes_password)
    if wrong:
        raise _refused()
    return made


async def _takes_password(session: AsyncSession, row: ClerkRow) -> bool:
    return not await session.scalar(select(password_is_off()).select_from(ClerkRow).where(ClerkRow.id == row.id))


def _wrong(row: ClerkRow, proof: Proof, now: datetime, *, takes_password: bool = True) -> str:
    """Why not, in a word for the audit trail; empty when nothing is."""
    if not proof.is_good or (proof.as_of is not None and proof.as_of != row.updated_at):
        return "LOGIN_REFUSED"
    if row.status != "active":
        return "SUSPENDED"
    is_late = row.must_change and row.password_until is not None and row.password_until <= now
    if is_late and takes_password:
        return "PASSWORD_EXPIRED"
    if proof.step is not None and proof.step <= row.totp_step:
        return "CODE_USED"
    return ""


async def _open(unit: Unit, row: ClerkRow, proof: Proof, attempt: LoginAttempt, *, takes_password: bool) -> LoggedIn:
    row.totp_step = row.totp_step if proof.step is None else proof.step
    await forget(unit.session, ClerkSessionRow, ClerkSessionRow.expires_at < unit.now - SESSIONS_KEPT)
    opened = open_session(
        unit,
        row,
        method=attempt.method,
        strength=proof.strength,
        address=shortened(attempt.address),
        agent=attempt.agent[:80],
    )
    await unit.audit(
        "clerk.log_in",
        f"clerk:{row.id}",
        region=row.region,
        detail={"session": opened.session_id, "method": attempt.method, "acr": proof.strength.acr},
    )
    return LoggedIn(opened.token, opened.browser, row.login, needs_of(row, takes_password=takes_password))


async def any_takes_password(services: Services) -> bool:
    """False once every top of the office tree does without."""
    tops = select(OfficeRow.takes_password).where(OfficeRow.parent_id.is_(None), OfficeRow.status == "open")
    async with services.database.look(scope=EVERYWHERE) as session:
        found = (await session.scalars(tops)).all()
    return any(found) or not found


async def log_out(services: Services, who: SignedIn) -> str:
    """Returns the ID token of the log-in at the provider, which is to end as well; empty where there is none."""
    async with services.database.transaction(scope=EVERYWHERE) as session:
        unit = Unit(session, services, who.caller, services.clock())
        id_token = await id_token_of(unit, who.session_id)
        await end_sessions(session, who.clerk_id, "log_out", unit.now, only=who.session_id)
        await unit.audit("clerk.log_out", f"clerk:{who.clerk_id}", region=who.region)
    return id_token


async def lock(services: Services, who: SignedIn) -> None:
    """The session stays, and does nothing until `unlock`."""
    async with services.database.transaction(scope=EVERYWHERE) as session:
        now = services.clock()
        mine = update(ClerkSessionRow).where(ClerkSessionRow.id == who.session_id, ClerkSessionRow.locked_at.is_(None))
        await session.execute(mine.values(locked_at=now))
        await Unit(session, services, who.caller, now).audit("clerk.lock", f"clerk:{who.clerk_id}", region=who.region)


async def unlock(services: Services, who: SignedIn, password: str, address: str) -> None:
    """Raises LOGIN_REFUSED, LOGIN_LIMITED."""

    async def do(unit: Unit, _row: ClerkRow) -> None:
        await unlocked(unit.session, who.session_id, unit.now)

    await by_password(services, who, password, address, "clerk.unlock", do)


async def unlocked(session: AsyncSession, session_id: str, now: datetime) -> None:
    mine = update(ClerkSessionRow).where(ClerkSessionRow.id == session_id)
    await session.execute(mine.values(locked_at=None, last_seen=now))


async def by_password(
    services: Services,
    who: SignedIn,
    password: str,
    address: str,
    act: str,
    do: Callable[[Unit, ClerkRow], Awaitable[None]],
) -> None:
    """Does what needs the clerk's own password again; wrong ones count as those of log-ins do. Raises LOGIN_REFUSED,
    LOGIN_LIMITED, and what `do` raises.
    """
    await demand_try(services, shortened(address))
    async with services.database.look(scope=EVERYWHERE) as session:
        stored = await session.scalar(select(ClerkRow.password_hash).where(ClerkRow.id == who.clerk_id))
    is_right = await passwords.fits(password, stored)
    async with services.database.transaction(scope=EVERYWHERE) as session:
        row, now = await _locked(session, who.clerk_id), services.clock()
        browser = await own_browser(session, who.session_id)
        is_shut = is_locked(row, browser, now)
        wrong = "LOCKED" if is_shut else _wrong(row, Proof(row.id, is_right and row.password_hash == stored), now)
        unit = Unit(session, services, who.caller, now)
        if not who.takes_password:
            wrong = "PASSWORD_OFF"
        elif wrong:
            count_failure(row, browser, now)
        else:
            forgive(row, browser)
            await do(unit, row)
        await unit.audit(act, f"clerk:{row.id}", region=row.region, outcome=wrong or "ok")
    if wrong:
        raise _refused()


async def change_password(services: Services, who: SignedIn, old: str, new: str) -> None:
    """Ends the clerk's other sessions. Raises LOGIN_REFUSED for a wrong old one, INPUT_INVALID for a weak new one."""
    passwords.demand_strong(new, who.login)
    async with services.database.look(scope=EVERYWHERE) as session:
        stored = await session.scalar(select(ClerkRow.password_hash).where(ClerkRow.id == who.clerk_id))
    is_right = await passwords.fits(old, stored)
    if is_right and await passwords.fits(new, stored):
        raise bad_input(field_error("body.password", "password_same"))
    hashed = await passwords.hash_password(new) if is_right else ""
    async with services.database.transaction(scope=EVERYWHERE) as session:
        row, now = await _locked(session, who.clerk_id), services.clock()
        unit = Unit(session, services, who.caller, now)
        browser = await own_browser(session, who.session_id)
        is_right = is_right and row.password_hash == stored and not is_locked(row, browser, now)
        if is_right:
            row.password_hash, row.must_change, row.password_until, row.updated_at = hashed, False, None, now
            await end_sessions(session, row.id, "password", now, but=who.session_id)
        else:
            count_failure(row, browser, now)
        outcome = "ok" if is_right else "LOGIN_REFUSED"
        await unit.audit("clerk.change_password", f"clerk:{row.id}", region=row.region, outcome=outcome)
    if not is_right:
        raise _refused()


@dataclass(frozen=True, slots=True)
class Enrolment:
    """`uri` is drawn as a QR code, `secret` typed where that cannot be; `ticket` comes back with the first code."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)
    ticket: str = field(repr=False)


def begin_codes(services: Services, who: SignedIn) -> Enrolment:
    """Raises CONFLICT when one-time codes are set up: a lost device is an administrator's matter."""
    _demand_none(who)
    secret = passwords.new_secret()
    until = (services.clock() + ENROL).timestamp()
    ticket = services.sealer.seal({"secret": secret, "until": until}, f"clerk_codes:{who.session_id}")
    uri = passwords.provisioning_uri(secret, who.login, "OneCard")
    return Enrolment(secret, uri, urlsafe_b64encode(ticket).decode())


async def confirm_codes(services: Services, who: SignedIn, ticket: str, code: str) -> None:
    """Raises LOGIN_REFUSED for a ticket that is over and for a wrong code."""
    _demand_none(who)
    now = services.clock()
    try:
        kept = services.sealer.unseal(urlsafe_b64decode(ticket), f"clerk_codes:{who.session_id}")
    except (SealedDataError, ValueError):
        raise _refused() from None
    step = passwords.step_of(kept["secret"], code.strip(), now)
    if kept["until"] < now.timestamp() or step is None:
        raise _refused()
    async with services.database.transaction(scope=EVERYWHERE) as session:
        row = await _locked(session, who.clerk_id)
        if row.sealed_totp is not None:
            raise ProblemError("CONFLICT", "one-time codes are set up already")
        row.sealed_totp = services.sealer.seal({"secret": kept["secret"]}, _context(row.id))
        row.totp_step, row.updated_at = step, now
        await Unit(session, services, who.caller, now).audit("clerk.set_codes", f"clerk:{row.id}", region=row.region)


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IPv4 address that came in IPv6's clothes is the IPv4 address. None for what is no address."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def shortened(address: str) -> str:
    """The network of an address: /24 of IPv4, /64 of IPv6. Empty for what is no address."""
    found = address_of(address)
    if found is None:
        return ""
    return str(ipaddress.ip_network((found.packed, 24 if found.version == 4 else 64), strict=False))


def _demand_none(who: SignedIn) -> None:
    if Need.CODE not in who.needs:
        raise ProblemError("CONFLICT", "one-time codes are set up already")


async def _locked(session: AsyncSession, clerk_id: str) -> ClerkRow:
    return await session.get_one(ClerkRow, clerk_id, with_for_update=ROW_LOCK)


def unit_of(services: Services, session: AsyncSession, row: ClerkRow, now: datetime) -> Unit:
    return Unit(session, services, Caller(CONSOLE, frozenset(), row.region, row.login, row.office), now)


async def _note_stranger(services: Services, now: datetime, outcome: str) -> None:
    """Without the name: a password may have been typed in its place."""
    async with services.database.transaction(scope=EVERYWHERE) as session:
        unit = Unit(session, services, Caller(CONSOLE, frozenset()), now)
        await unit.audit("clerk.log_in", "clerk:unknown", region=None, outcome=outcome)


def _refused() -> ProblemError:
    return ProblemError("LOGIN_REFUSED")


def _context(clerk_id: str) -> str:
    return f"clerk_totp:{clerk_id}"
