"""The own account: what must be done first, password, one-time codes, open sessions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from sqlalchemy import select
from starlette.responses import Response

from issuance.clerks.acts import Act
from issuance.clerks.login import begin_codes, change_password, confirm_codes
from issuance.clerks.models import ClerkRow, ClerkSessionRow
from issuance.clerks.passwords import MIN_LENGTH
from issuance.clerks.sessions import Need, end_sessions
from issuance.console.forms import Form
from issuance.console.page import Page, page_for
from issuance.input_rules import field_error
from issuance.problems import bad_input
from onecard_ui.code_picture import picture_of

router = APIRouter(prefix="/me")
Own = Annotated[Page, page_for(Act.OWN_ACCOUNT)]
_BOUND = select(ClerkRow.scan_bound_at)


@router.get("/begin")
async def begin(page: Own) -> Response:
    """The next thing a clerk has to do before anything else."""
    if Need.PASSWORD in page.desk.who.needs:
        return page.go("/me/password")
    return page.go("/me/codes" if Need.CODE in page.desk.who.needs else "/")


@router.get("/password")
async def password(page: Own) -> Response:
    return _password(page)


@router.post("/password")
async def set_password(page: Own) -> Response:
    form = await Form.of(page.request)
    try:
        if form.get("password") != form.get("again"):
            raise bad_input(field_error("body.again", "password_differs"))
        await change_password(page.desk.services, page.desk.who, form.get("old"), form.get("password"))
    except Exception as error:
        return _password(page, refusal=page.refusal(error))
    return page.go("/me/begin" if page.desk.who.needs else "/me", said="me.said_password")


def _password(page: Page, **context: Any) -> Response:
    return page.show("password.html", is_forced=Need.PASSWORD in page.desk.who.needs, min_length=MIN_LENGTH, **context)


@router.get("/codes")
async def codes(page: Own) -> Response:
    return _codes(page)


def _codes(page: Page, **context: Any) -> Response:
    made = begin_codes(page.desk.services, page.desk.who)
    return page.show("codes.html", secret=made.secret, ticket=made.ticket, qr=picture_of(made.uri.encode()), **context)


@router.post("/codes")
async def set_codes(page: Own) -> Response:
    form = await Form.of(page.request)
    try:
        await confirm_codes(page.desk.services, page.desk.who, form.get("ticket"), form.get("code"))
    except Exception as error:
        return _codes(page, refusal=page.refusal(error))
    return page.go("/", said="me.said_codes")


@router.get("")
async def sessions(page: Own) -> Response:
    """The own open sessions, newest first."""
    query = (
        select(ClerkSessionRow)
        .where(
            ClerkSessionRow.clerk_id == page.desk.who.clerk_id,
            ClerkSessionRow.ended_at.is_(None),
            ClerkSessionRow.expires_at > page.desk.services.clock(),
        )
        .order_by(ClerkSessionRow.created_at.desc())
        .limit(50)
    )
    async with page.desk.unit(is_reading=True) as unit:
        rows = list(await unit.session.scalars(query))
        bound_at = await unit.session.scalar(_BOUND.where(ClerkRow.id == page.desk.who.clerk_id))
    return page.show(
        "me.html",
        sessions=rows,
        own=page.desk.who.session_id,
        roles=page.roles,
        bound_at=bound_at,
        has_scan=page.desk.services.login_provider.is_there,
        may_bind=page.desk.who.method == "password" and not page.desk.who.needs,
    )


@router.post("/sessions/end")
async def end_others(page: Own) -> Response:
    who = page.desk.who
    async with page.desk.unit() as unit:
        await end_sessions(unit.session, who.clerk_id, "own", unit.now, but=who.session_id)
        await unit.audit("clerk.end_sessions", f"clerk:{who.clerk_id}", region=who.region)
    return page.go("/me", said="me.said_ended")
