"""A log-in from the request to its outcome, as pages, wallets and the protocol with relying parties see it.

Every stage is a row of its own table: no claim without a request, no approval without a claim by the same phone, no
outcome without an approval, each once, however many replicas serve it.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from fastapi import Request
from sqlalchemy import exists, select, update
from starlette.responses import RedirectResponse, Response

from hsm.primitives import default_engine
from issuance.clerks.access import cookie_name
from issuance.consents.text import plain
from issuance.database import forget
from issuance.login.relying_parties import RelyingPartyRepository
from issuance.login.seam import ACR_SCAN, LOGIN_COOKIE, AuthorizationRequest, Refused, Subject
from issuance.login.transaction_models import LoginApprovalRow, LoginClaimRow, LoginRow
from issuance.problems import ProblemError
from issuance.services import Services
from issuance.unit import Unit

REQUEST_TTL: Final = timedelta(minutes=10)
LINK_TTL_S: Final = 60
LINK_RENEWED_S: Final = 50
"""A page has its next code before the last one is over."""
CLAIM_TTL: Final = timedelta(minutes=2)
APPROVAL_TTL: Final = timedelta(minutes=1)
KEPT: Final = timedelta(days=1)
"""Afterwards only the audit log knows of a log-in."""
AMR_SCAN: Final = ("hwk", "pin")
"""RFC 8176: a key that stays in the phone, and the electronic card's password."""
CLAIMS_OF_SCOPE: Final = {"profile": "name", "social_security": "social_security_number"}
_LINK_CHARS: Final = 22
_SECRET_CHARS: Final = 43
Stage = Literal["open", "claimed", "over", "approved", "refused", "wrong_number", "cancelled"]


@dataclass(frozen=True, slots=True)
class Browser:
    """Where a log-in is asked for. `secret` is what its cookie holds, empty where it has none."""

    secret: str = field(repr=False)
    address: str
    agent: str

    @classmethod
    def of(cls, request: Request) -> Self:
        """Raises LOGIN_INSECURE without https, except on one's own machine."""
        secret = request.cookies.get(login_cookie(request), "")
        address = request.client.host if request.client is not None else ""
        is_ours = len(secret) == _SECRET_CHARS and secret.isascii()
        return cls(secret if is_ours else "", address, request.headers.get("User-Agent", ""))


@dataclass(frozen=True, slots=True)
class Transaction:
    """`browser` is the secret that binds it to one browser; empty where the row was read back by its hash."""

    id: str
    request: AuthorizationRequest
    name: str
    address: str
    agent: str
    number: int
    created_at: datetime
    expires_at: datetime
    stage: Stage
    browser: str = field(default="", repr=False)

    @property
    def path(self) -> str:
        return f"/login/{self.id}"

    @property
    def host(self) -> str:
        """Of the registered address that the browser goes back to; empty for a device."""
        return urlsplit(self.request.redirect_uri).hostname or ""


def login_cookie(request: Request) -> str:
    """`__Host-` needs https; plain http is for one's own machine only. Raises LOGIN_INSECURE."""
    return LOGIN_COOKIE if cookie_name(request).startswith("__Host-") else LOGIN_COOKIE.removeprefix("__Host-")


def begin(transaction: Transaction, request: Request) -> Response:
    """Send the browser to the log-in page, bound to this transaction."""
    name = login_cookie(request)
    response = RedirectResponse(transaction.path, 303, {"Cache-Control": "no-store"})
    response.set_cookie(
        name,
        transaction.browser,
        max_age=int(REQUEST_TTL.total_seconds()),
        path="/",
        secure=name == LOGIN_COOKIE,
        httponly=True,
        samesite="lax",  # the browser comes from the relying party's site
    )
    return response


def claims_of(request: AuthorizationRequest) -> tuple[str, ...]:
    """Names of the items that the holder is asked for, beside an identifier for this relying party alone."""
    return tuple(claim for scope, claim in CLAIMS_OF_SCOPE.items() if scope in request.scopes)


async def open_transaction(unit: Unit, request: AuthorizationRequest, browser: Browser) -> Transaction:
    """For a validated request. Raises LOGIN_DENIED, LOGIN_LIMITED."""
    unit.services.login_limits.demand_begin(request.client_id, browser.address, unit.now)
    party = await RelyingPartyRepository(unit.session).get(request.client_id)
    if party is None or party.status != "active":
        raise ProblemError("LOGIN_DENIED", "no active relying party", subject=f"client:{request.client_id}")
    made = Transaction(
        id=uuid.uuid4().hex,
        request=request,
        name=plain(party.name),
        address=browser.address,
        agent=browser.agent[:256],
        number=10 + secrets.randbelow(90),
        created_at=unit.now,
        expires_at=unit.now + REQUEST_TTL,
        stage="open",
        browser=browser.secret or secrets.token_urlsafe(32),
    )
    facts = {"request": request.to_json(), "name": made.name, "address": made.address, "agent": made.agent}
    await forget(unit.session, LoginRow, LoginRow.expires_at <= unit.now - KEPT)
    unit.session.add(
        LoginRow(
            id=made.id,
            client_id=request.client_id,
            browser_hash=hash_of_secret(made.browser),
            sealed_request=unit.services.sealer.seal(facts, request_context(made.id)),
            number=made.number,
            created_at=made.created_at,
            expires_at=made.expires_at,
        )
    )
    await unit.session.flush()
    return made


async def look_up(unit: Unit, login_id: str, browser: str) -> Transaction:
    """Raises NOT_FOUND, also in another browser than the one it was opened in."""
    row = await _row_of(unit, login_id, browser)
    has_claim = exists().where(LoginClaimRow.login_id == row.id, LoginClaimRow.expires_at > unit.now)
    was_claimed = exists().where(LoginClaimRow.login_id == row.id)
    live, ever = (await unit.session.execute(select(has_claim, was_claimed))).one()
    stage = stage_of(row.ended_as, has_claim=live, was_claimed=ever, is_over=row.expires_at <= unit.now)
    return transaction_of(unit.services, row, stage)


async def finished(unit: Unit, login_id: str, browser: str) -> Subject | Refused | None:
    """The outcome, handed out once; None while there is none, and afterwards. Raises NOT_FOUND as `look_up` does."""
    row = await _row_of(unit, login_id, browser)
    if row.ended_as is None or row.handed_at is not None:
        return None
    taken = (
        update(LoginRow)
        .where(LoginRow.id == row.id, LoginRow.handed_at.is_(None))
        .values(handed_at=unit.now)
        .returning(LoginRow.id)
    )
    if (await unit.session.execute(taken)).scalar_one_or_none() is None:
        return None
    approval = await unit.session.get(LoginApprovalRow, row.id)
    is_approved = row.ended_as == "approved" and approval is not None and approval.expires_at > unit.now
    outcome = row.ended_as if is_approved or row.ended_as != "approved" else "late"
    detail = {"client": row.client_id, "outcome": outcome}
    await unit.audit("login.hand-out", f"login:{row.id}", region=None, detail=detail)
    if not is_approved or approval is None:
        return Refused()
    return Subject(
        ecard_no=approval.ecard_no,
        acr=ACR_SCAN,
        amr=AMR_SCAN,
        auth_time=approval.approved_at,
        claims=frozenset(approval.claims),
    )


async def cancel(unit: Unit, login_id: str, browser: str) -> None:
    """Given up at the page, also when its time is over. Raises NOT_FOUND."""
    row = await _row_of(unit, login_id, browser)
    await end(unit, row.id, "cancelled")


async def end(unit: Unit, login_id: str, how: str) -> bool:
    """Write the outcome; False when there was one."""
    ended = update(LoginRow).where(LoginRow.id == login_id, LoginRow.ended_as.is_(None)).values(ended_as=how)
    return (await unit.session.execute(ended.returning(LoginRow.id))).scalar_one_or_none() is not None


# -- link codes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkCode:
    """`seconds`: until the page should have the next one, before this one is over."""

    code: str = field(repr=False)
    seconds: int


async def link_code(services: Services, transaction: Transaction, browser: str) -> LinkCode:
    """The code of this moment: the same for everybody who holds the browser's secret, kept as a hash alone, so that a
    page that is loaded again shows it again. It ends the one before it. Raises LOGIN_CLOSED, LOGIN_LIMITED.
    """
    now = services.clock()
    if transaction.stage != "open" or now >= transaction.expires_at:
        raise ProblemError("LOGIN_CLOSED", f"it is {transaction.stage}", subject=f"login:{transaction.id}")
    age = (now - transaction.created_at).total_seconds()
    turn = int(age // LINK_RENEWED_S)
    digest = hmac.digest(browser.encode(), f"onecard link:{transaction.id}:{turn}".encode(), "sha256")
    code = urlsafe_b64encode(digest).decode()[:_LINK_CHARS]
    left = LINK_RENEWED_S * (turn + 1) - age
    until = min(left + LINK_TTL_S - LINK_RENEWED_S, (transaction.expires_at - now).total_seconds())
    value, slot = transaction.id.encode(), f"login:{transaction.id}"
    if await services.one_time.put(link_key(code), value, until, slot=slot):
        services.login_limits.demand_code(hash_of_secret(browser).hex(), now)
    return LinkCode(code, max(1, round(left)))


def link_key(code: str) -> str:
    return f"login-link:{default_engine().sm3(code.encode()).hex()}"


# -- rows -------------------------------------------------------------------------------------------------------------


def stage_of(ended_as: str | None, *, has_claim: bool, was_claimed: bool, is_over: bool) -> Stage:
    """`over`: nobody approved in time, be it the request's or the claim's."""
    ends: dict[str, Stage] = {
        "approved": "approved",
        "refused": "refused",
        "wrong_number": "wrong_number",
        "cancelled": "cancelled",
    }
    if ended_as is not None:
        return ends[ended_as]
    if is_over or (was_claimed and not has_claim):
        return "over"
    return "claimed" if has_claim else "open"


def transaction_of(services: Services, row: LoginRow, stage: Stage) -> Transaction:
    facts = services.sealer.unseal(row.sealed_request, request_context(row.id))
    return Transaction(
        id=row.id,
        request=AuthorizationRequest.from_json(facts["request"]),
        name=facts["name"],
        address=facts["address"],
        agent=facts["agent"],
        number=row.number,
        created_at=row.created_at,
        expires_at=row.expires_at,
        stage=stage,
    )


async def _row_of(unit: Unit, login_id: str, browser: str) -> LoginRow:
    row = await unit.session.get(LoginRow, login_id)
    if row is None or not browser or not hmac.compare_digest(row.browser_hash, hash_of_secret(browser)):
        raise ProblemError("NOT_FOUND", "no such log-in in this browser", subject=f"login:{login_id[:32]}")
    return row


def hash_of_secret(secret: str) -> bytes:
    return default_engine().sm3(secret.encode())


def request_context(login_id: str) -> str:
    return f"logins:{login_id}"
