"""A log-in from the request to its outcome, as pages, wallets and the protocol with relying parties see it.

Every stage is a row of its own table: no claim without a request, no approval without a claim by the same phone, no
outcome without an approval, each once, however many replicas serve it.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

from fastapi import Request
from sqlalchemy import bindparam, select, update
from starlette.responses import RedirectResponse, Response

from hsm.primitives import default_engine
from issuance.clerks.access import cookie_name
from issuance.consents.text import plain
from issuance.database import forget
from issuance.login.denials import demand_not_denied
from issuance.login.models import RelyingPartyRow
from issuance.login.relying_parties import RelyingPartyRepository
from issuance.login.seam import ACR_SCAN, LOGIN_COOKIE, AuthorizationRequest, Refused, Subject
from issuance.login.subjects import AnyRow, subjects_of
from issuance.login.transaction_models import LoginClaimRow, LoginRow
from issuance.login.unit import LoginUnit
from issuance.login.ways import is_open
from issuance.problems import ProblemError
from issuance.services import Services
from issuance.unit import Unit

REQUEST_TTL: Final = timedelta(minutes=10)
LINK: Final = "/login/link"
LINK_TTL_S: Final = 60
LINK_RENEWED_S: Final = 50
"""A page has its next code before the last one is over."""
CLAIM_TTL: Final = timedelta(minutes=2)
APPROVAL_TTL: Final = timedelta(minutes=1)
KEPT: Final = timedelta(days=1)
"""Afterwards only the audit log knows of a log-in."""
ESSC_SCOPE: Final = "essc"
"""Of systems that speak the field's interface, which is about the number of the electronic card."""
CLAIMS_OF_SCOPE: Final = {"profile": "name", "social_security": "social_security_number", ESSC_SCOPE: "essc_no"}
_LINK_CHARS: Final = 22
_SECRET_CHARS: Final = 43
_LOOK_UP: Final = (
    select(
        LoginRow.id,
        LoginRow.browser_hash,
        LoginRow.sealed_request,
        LoginRow.number,
        LoginRow.created_at,
        LoginRow.expires_at,
        LoginRow.ended_as,
        LoginClaimRow.expires_at.label("claim_ends"),
        (RelyingPartyRow.status == "active").label("is_served"),
    )
    .outerjoin(LoginClaimRow, LoginClaimRow.login_id == LoginRow.id)
    .outerjoin(RelyingPartyRow, RelyingPartyRow.id == LoginRow.client_id)
    .where(LoginRow.id.in_(bindparam("login_ids", expanding=True)))
)
_FREE: Final = (
    select(LoginRow.id)
    .where(LoginRow.id.in_(bindparam("login_ids", expanding=True)), LoginRow.handed_at.is_(None))
    .with_for_update(skip_locked=True)
    .cte("free")  # found once, and not again for each row that is looked at
)
_HAND_OUT: Final = (
    update(LoginRow)
    .where(LoginRow.id.in_(select(_FREE.c.id)), LoginRow.handed_at.is_(None))
    .values(handed_at=bindparam("now"))
    .returning(LoginRow.id)
    .execution_options(synchronize_session=False)
)
RowT = TypeVar("RowT", bound=LoginRow | AnyRow)
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
    """`browser` is the secret that binds it to one browser; empty where the row was read back by its hash.
    `is_served`: the relying party was active when the browser's page looked it up.
    """

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
    is_served: bool = False

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


async def open_transaction(unit: LoginUnit, request: AuthorizationRequest, browser: Browser) -> Transaction:
    """For a validated request. Raises LOGIN_DENIED, LOGIN_LIMITED."""
    unit.services.login_limits.demand_begin(request.client_id, browser.address, unit.now)
    if unit.services.login_units.is_due(LoginRow, unit.now):
        await clear_away(unit)
    return await put_transaction(unit, request, browser)


async def put_transaction(
    unit: LoginUnit, request: AuthorizationRequest, browser: Browser, ttl: timedelta = REQUEST_TTL
) -> Transaction:
    """As `open_transaction`, where other limits have been looked at. Raises LOGIN_DENIED."""
    await demand_not_denied(unit, request.client_id, browser.address)
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
        expires_at=unit.now + ttl,
        stage="open",
        browser=browser.secret or secrets.token_urlsafe(32),
    )
    facts = {"request": request.to_json(), "name": made.name, "address": made.address, "agent": made.agent}
    unit.later(
        LoginRow,
        id=made.id,
        client_id=request.client_id,
        browser_hash=hash_of_secret(made.browser),
        sealed_request=unit.services.sealer.seal(facts, request_context(made.id)),
        number=made.number,
        created_at=made.created_at,
        expires_at=made.expires_at,
    )
    return made


async def clear_away(unit: Unit) -> None:
    await forget(unit.session, LoginRow, LoginRow.expires_at <= unit.now - KEPT)


async def look_up(unit: Unit, login_id: str, browser: str) -> Transaction:
    """Raises NOT_FOUND, also in another browser than the one it was opened in."""
    return seen((await log_ins(unit, [login_id])).get(login_id), unit, login_id, browser)


async def log_ins(unit: Unit, login_ids: Sequence[str]) -> dict[str, AnyRow]:
    """What `seen` is asked about, by id."""
    found = await unit.session.execute(_LOOK_UP, {"login_ids": sorted(set(login_ids))})
    return {row.id: row for row in found}


def seen(row: AnyRow | None, unit: Unit, login_id: str, browser: str) -> Transaction:
    """As `look_up`, of one of `log_ins`."""
    row = _demand_browser(row, login_id, browser)
    stage = stage_of(
        row.ended_as,
        has_claim=row.claim_ends is not None and row.claim_ends > unit.now,
        was_claimed=row.claim_ends is not None,
        is_over=row.expires_at <= unit.now,
    )
    return transaction_of(unit.services, row, stage, is_served=bool(row.is_served))


async def finished(unit: Unit, login_id: str, browser: str) -> Subject | Refused | None:
    """The outcome, handed out once; None while there is none, and afterwards. Raises NOT_FOUND as `look_up` does."""
    row = await _row_of(unit, login_id, browser)
    return None if row.ended_as is None else await hand_out(unit, Ended(row.id, row.client_id, row.ended_as))


class Ended(NamedTuple):
    """A log-in with an outcome, whose browser is known or which none waits for."""

    login_id: str
    client_id: str
    ended_as: str

    @property
    def key(self) -> str:
        return f"login:{self.login_id}"


async def hand_out(unit: Unit, ended: Ended) -> Subject | Refused | None:
    """As `finished`."""
    return (await hand_out_all(unit, [ended])).get(ended.key)


async def hand_out_all(unit: Unit, logins: Sequence[Ended]) -> dict[str, Subject | Refused]:
    """Those that were not handed out before, by their keys. What another process hands out is not waited for."""
    ids = sorted({login.login_id for login in logins})
    taken = set((await unit.session.execute(_HAND_OUT, {"login_ids": ids, "now": unit.now})).scalars())
    new = {login.login_id: login for login in logins if login.login_id in taken}
    approved = sorted(login.login_id for login in new.values() if login.ended_as == "approved")
    subjects = await subjects_of(unit, approved) if approved else {}
    for login in new.values():
        is_late = login.ended_as == "approved" and login.login_id not in subjects
        detail = {"client": login.client_id, "outcome": "late" if is_late else login.ended_as}
        await unit.audit("login.hand-out", login.key, region=None, detail=detail)
    return {login.key: subjects.get(login.login_id) or Refused() for login in new.values()}


async def cancel(unit: Unit, login_id: str, browser: str) -> None:
    """Given up at the page, also when its time is over. Raises NOT_FOUND."""
    row = await _row_of(unit, login_id, browser)
    await end(unit, row.id, "cancelled")


async def end(unit: Unit, login_id: str, how: str) -> bool:
    """Write the outcome; False when there was one."""
    is_open = (LoginRow.id == login_id, LoginRow.ended_as.is_(None))
    ended = update(LoginRow).where(*is_open).values(ended_as=how, ended_at=unit.now).returning(LoginRow.id)
    return (await unit.session.execute(ended)).scalar_one_or_none() is not None


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
    now, is_scanned = services.clock(), is_open(services, transaction.request.acr_values, ACR_SCAN)
    if transaction.stage != "open" or now >= transaction.expires_at or not is_scanned:
        raise ProblemError("LOGIN_CLOSED", f"it is {transaction.stage}", subject=f"login:{transaction.id}")
    age = (now - transaction.created_at).total_seconds()
    turn = int(age // LINK_RENEWED_S)
    code = link_code_of_turn(transaction.id, browser, turn)
    left = LINK_RENEWED_S * (turn + 1) - age
    until = min(left + LINK_TTL_S - LINK_RENEWED_S, (transaction.expires_at - now).total_seconds())
    value, slot = transaction.id.encode(), f"login:{transaction.id}"
    if await services.one_time.put(link_key(code), value, until, slot=slot):
        services.login_limits.demand_code(hash_of_secret(browser).hex(), now)
    return LinkCode(code, max(1, round(left)))


def is_code_over(login: Transaction, now: datetime) -> bool:
    """A code nobody scanned, where whoever shows it makes the next one by a log-in of its own."""
    return login.stage == "open" and now >= login.created_at + timedelta(seconds=LINK_TTL_S)


def link_code_of_turn(login_id: str, browser: str, turn: int) -> str:
    digest = hmac.digest(browser.encode(), f"onecard link:{login_id}:{turn}".encode(), "sha256")
    return urlsafe_b64encode(digest).decode()[:_LINK_CHARS]


def link_address(services: Services, code: str) -> str:
    """Below the issuer's, the secret part behind `#`: any camera opens a page that says what to do."""
    return f"{services.settings.login_issuer}{LINK}#{code}"


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


def transaction_of(services: Services, row: LoginRow | AnyRow, stage: Stage, *, is_served: bool = False) -> Transaction:
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
        is_served=is_served,
    )


async def _row_of(unit: Unit, login_id: str, browser: str) -> LoginRow:
    return _demand_browser(await unit.session.get(LoginRow, login_id), login_id, browser)


def _demand_browser(row: RowT | None, login_id: str, browser: str) -> RowT:
    if row is None or not browser or not hmac.compare_digest(row.browser_hash, hash_of_secret(browser)):
        raise ProblemError("NOT_FOUND", "no such log-in in this browser", subject=f"login:{login_id[:32]}")
    return row


def hash_of_secret(secret: str) -> bytes:
    return default_engine().sm3(secret.encode())


def request_context(login_id: str) -> str:
    return f"logins:{login_id}"
