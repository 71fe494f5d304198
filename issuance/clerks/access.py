"""Dependencies of pages and endpoints that a clerk uses: session cookie, CSRF token, act, unit of work.

@router.post("/cards/{number}/loss")
async def lose(unit: Annotated[Unit, Depends(clerk_unit(Act.CARD_LOSE), scope="function")]) -> ...
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response

from issuance.clerks.acts import Act
from issuance.clerks.sessions import SignedIn, known, signed_in
from issuance.clerks.tries import KNOWN
from issuance.clients.auth import act_of
from issuance.clients.schemas import Role
from issuance.problems import ProblemError
from issuance.unit import Desk, Unit, services_of

CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_COOKIE = "__Host-onecard"
_LOOPBACK_COOKIE = "onecard"
_BROWSER = "-browser"
"""Ends the name of the cookie that outlives the session."""


@dataclass(frozen=True, slots=True)
class ClerkDesk(Desk):
    """A desk with the clerk who sits at it."""

    who: SignedIn

    def needs_second(self, act: Act, region: str) -> bool:
        """Whether the region's rules of today want two clerks for `act`."""
        return act.value in self.rules(region).four_eyes


def cookie_name(request: Request) -> str:
    """`__Host-` needs https; plain http is for one's own machine only. Raises LOGIN_INSECURE."""
    if request.url.scheme == "https":
        return _COOKIE
    if request.url.hostname in _LOOPBACK:
        return _LOOPBACK_COOKIE
    raise ProblemError("LOGIN_INSECURE", "log-in needs https")


def set_cookies(request: Request, response: Response, token: str, browser: str) -> None:
    """The session's until the browser closes, though the service ends the session earlier; the browser's own stays."""
    name = cookie_name(request)
    response.set_cookie(name, token, path="/", secure=name == _COOKIE, httponly=True, samesite="strict")
    response.set_cookie(
        name + _BROWSER,
        browser,
        max_age=int(KNOWN.total_seconds()),
        path="/",
        secure=name == _COOKIE,
        httponly=True,
        samesite="strict",
    )


def browser_of(request: Request) -> str:
    """What `set_cookies` left in this browser; empty where nobody logged in before."""
    return request.cookies.get(cookie_name(request) + _BROWSER, "")


def drop_cookie(request: Request, response: Response) -> None:
    name = cookie_name(request)
    response.delete_cookie(name, path="/", secure=name == _COOKIE, httponly=True, samesite="strict")


async def clerk_of(request: Request) -> SignedIn:
    """Who sent this, with the right CSRF token where something changes. Raises SESSION_ENDED, SESSION_LOCKED,
    CSRF_REFUSED."""
    who = await signed_in(services_of(request), token_of(request))
    await _demand_own_page(request, who)
    return who


async def is_still_open(request: Request) -> bool:
    """Whether the session behind a long answer goes on, unlocked. It is no sign of a hand at the keyboard."""
    try:
        row, _ = await known(services_of(request), token_of(request))
    except ProblemError:
        return False
    return row.locked_at is None


async def locked_clerk_of(request: Request) -> tuple[SignedIn, bool]:
    """As `clerk_of`, for the page that unlocks: who, and whether the session is locked. Raises SESSION_ENDED."""
    row, who = await known(services_of(request), token_of(request))
    await _demand_own_page(request, who)
    return who, row.locked_at is not None


def token_of(request: Request) -> str:
    """Raises SESSION_ENDED where there is none."""
    token = request.cookies.get(cookie_name(request), "")
    if not token:
        raise ProblemError("SESSION_ENDED", "no session cookie")
    return token


async def _demand_own_page(request: Request, who: SignedIn) -> None:
    if request.method not in _SAFE:
        demand_own_origin(request)
        sent = await _csrf_of(request)
        if not hmac.compare_digest(sent.encode(), who.csrf.encode()):
            raise ProblemError("CSRF_REFUSED", "the form's token is not this session's")
    request.state.client_id = who.caller.client_id


def demand_own_origin(request: Request) -> None:
    """Raises CSRF_REFUSED when the browser says that another site sent this."""
    origin = request.headers.get("Origin")
    own = f"{request.url.scheme}://{request.url.netloc}"
    is_ours = origin is None or _normal(origin) == _normal(own)
    if not is_ours or request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise ProblemError("CSRF_REFUSED", "sent by another site")


def _normal(origin: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return "", None, None
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)


async def _csrf_of(request: Request) -> str:
    sent = request.headers.get(CSRF_HEADER)
    if sent is None and request.method == "POST" and request.headers.get("Content-Type", "").startswith(_FORMS):
        found = (await request.form()).get(CSRF_FIELD)
        sent = found if isinstance(found, str) else ""
    return sent or ""


def _desk(request: Request, who: SignedIn) -> ClerkDesk:
    return ClerkDesk(services_of(request), who.caller, act_of(request), (Role.OPERATOR,), who)


def clerk_desk(act: Act) -> Callable[[Request], Awaitable[ClerkDesk]]:
    """Dependency: the clerk may do `act`; the endpoint opens its unit itself, by `desk.unit()`."""

    async def dependency(request: Request) -> ClerkDesk:
        desk = _desk(request, await clerk_of(request))
        async with desk.ahead():
            desk.who.demand(act)
        return desk

    return dependency


def clerk_unit(act: Act, *, is_recorded: bool = False) -> Callable[[Request], AsyncIterator[Unit]]:
    """Dependency: the clerk may do `act`; one unit of work around the endpoint.

    `is_recorded`: reading leaves an audit entry too.
    """
    desk_of = clerk_desk(act)

    async def dependency(request: Request) -> AsyncIterator[Unit]:
        desk = await desk_of(request)
        async with desk.unit(is_reading=request.method in _SAFE and not is_recorded) as unit:
            yield unit

    return dependency


OwnDesk = Annotated[ClerkDesk, Depends(clerk_desk(Act.OWN_ACCOUNT))]
"""For a clerk's own account: open to those who have to change something first."""
