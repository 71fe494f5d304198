"""Clerks: found, made, moved between offices and roles, given new access, locked; and their sessions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from cardlib.wire import HexId
from issuance.clerks.acts import Act, ClerkRole
from issuance.clerks.schemas import ClerkChange, ClerkRequest, ClerkView, Ended, NewAccess
from issuance.clerks.service import ClerkService
from issuance.console.acting import Confirm, attempt, confirm
from issuance.console.forms import Form, parse
from issuance.console.lists import following, rows_of, tabs
from issuance.console.offices import Nothing, name_of, office_choices
from issuance.console.page import ROOT, Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.words import words
from issuance.offices.service import OfficeService
from issuance.paging import PageQuery, PageRequest
from issuance.unit import Unit

router = APIRouter(prefix="/staff/clerks")
Reading = Annotated[Page, page_for(Act.CLERK_READ)]
Managing = Annotated[Page, page_for(Act.CLERK_MANAGE)]
Standing = Literal["suspend", "resume"]
_STATUS: dict[str, Literal["active", "suspended"]] = {"suspend": "suspended", "resume": "active"}
_STATES = ("active", "suspended")


@router.get("")
async def find(
    page: Reading,
    asked: PageQuery,
    office: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    status: str = "active",
) -> Response:
    status = status if status in _STATES else "active"
    async with page.desk.unit(is_reading=True) as unit:
        found = await ClerkService(unit).find(office, status, None, rows_of(asked))
        offices = await office_choices(unit, page.language)
    known = words(page.language)["staff"]
    return page.show(
        "clerks.html",
        rows=found.items,
        offices=dict(offices),
        office=office,
        now=page.desk.services.clock(),
        tabs=tabs("/staff/clerks", "status", status, [(code, known[f"status_{code}"]) for code in _STATES]),
        following=following("/staff/clerks", found.next_cursor, office=office, status=status),
    )


@router.post("")
async def look_up(page: Reading) -> Response:
    """By log-in name, which names a person and so is in no address."""
    form = await Form.of(page.request)
    async with page.desk.unit(is_reading=True) as unit:
        found = await ClerkService(unit).find(None, None, form.get("login").lower(), PageRequest(1))
    if found.items:
        return page.go(f"/staff/clerks/{found.items[0].id}")
    return page.go("/staff/clerks", said="staff.said_none")


# -- new --------------------------------------------------------------------------------------------------------------


@router.get("/new")
async def ask_new(page: Managing, office: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None) -> Response:
    return await _new(page, office)


async def _new(page: Page, office: int | None, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        offices = await office_choices(unit, page.language)
    return page.show("clerk_new.html", offices=offices, office=office, roles=_roles(page), **context)


def _roles(page: Page) -> list[tuple[str, str, str]]:
    """Code, word, what it is for."""
    me, staff = words(page.language)["me"], words(page.language)["staff"]
    return [(role.value, me[f"role_{role}"], staff[f"role_{role}_text"]) for role in ClerkRole]


def _chosen(form: Form) -> list[str]:
    return [role.value for role in ClerkRole if f"roles_{role}" in form]


@router.post("/new")
async def make(page: Managing) -> Response:
    form = await Form.of(page.request)

    def read() -> ClerkRequest:
        return parse(ClerkRequest, form.nested("login", "name", "office_id") | {"roles": _chosen(form)})

    async def run(unit: Unit, order: ClerkRequest) -> NewAccess:
        return await ClerkService(unit).create(order)

    done = await attempt(page, form, "clerk", read, NewAccess, run, NewAccess.without_password)
    if isinstance(done, Refusal):
        return await _new(page, None, form=form, refusal=done)
    return page.show("clerk_access.html", access=done, is_new=True)


# -- one clerk --------------------------------------------------------------------------------------------------------


@router.get("/{clerk_id}")
async def show(clerk_id: HexId, page: Reading) -> Response:
    return await _show(page, clerk_id)


async def _show(page: Page, clerk_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        service = ClerkService(unit)
        clerk = await service.get(clerk_id)
        sessions = await service.sessions(clerk_id)
        office = await OfficeService(unit).get(clerk.office_id)
        offices = await office_choices(unit, page.language) if page.viewer.may(Act.CLERK_MANAGE) else []
    return page.show(
        "clerk.html",
        clerk=clerk,
        is_self=clerk.login == page.viewer.login,
        sessions=sessions,
        office_name=name_of(office, page.language),
        offices=offices,
        roles=_roles(page),
        now=page.desk.services.clock(),
        has_scan=page.desk.services.login_provider.is_there,
        **context,
    )


@router.post("/{clerk_id}/change")
async def change(clerk_id: HexId, page: Managing) -> Response:
    form = await Form.of(page.request)

    def read() -> ClerkChange:
        given = form.nested("version", "office_id", "reason")
        if given.get("office_id") == form.get("office_was"):
            given.pop("office_id", None)
        return parse(ClerkChange, given | {"roles": _chosen(form)})

    done = await _changed(page, form, clerk_id, read)
    if isinstance(done, Refusal):
        return await _show(page, clerk_id, form=form, refusal=done)
    return page.go(f"/staff/clerks/{clerk_id}", said="staff.said_changed")


async def _changed(page: Page, form: Form, clerk_id: str, read: Any) -> ClerkView | Refusal:
    async def run(unit: Unit, order: ClerkChange) -> ClerkView:
        return await ClerkService(unit).change(clerk_id, order)

    return await attempt(page, form, f"clerk.change:{clerk_id}", read, ClerkView, run)


@router.get("/{clerk_id}/standing/{act}")
async def ask_standing(clerk_id: HexId, act: Standing, page: Managing) -> Response:
    return await _standing(page, clerk_id, act)


async def _standing(page: Page, clerk_id: str, act: str, **context: Any) -> Response:
    ask = await _ask(page, clerk_id, act, f"standing/{act}", is_grave=act == "suspend", reason=True)
    return confirm(page, ask, "staff", **context)


@router.post("/{clerk_id}/standing/{act}")
async def stand(clerk_id: HexId, act: Standing, page: Managing) -> Response:
    form = await Form.of(page.request)

    def read() -> ClerkChange:
        return parse(ClerkChange, form.nested("version", "reason") | {"status": _STATUS[act]})

    done = await _changed(page, form, clerk_id, read)
    if isinstance(done, Refusal):
        return await _standing(page, clerk_id, act, form=form, refusal=done)
    return page.go(f"/staff/clerks/{clerk_id}", said=f"staff.said_{act}")


async def _ask(page: Page, clerk_id: str, act: str, path: str, *, is_grave: bool, reason: bool = False) -> Confirm:
    async with page.desk.unit(is_reading=True) as unit:
        clerk = await ClerkService(unit).get(clerk_id)
    known, here = words(page.language)["staff"], f"{ROOT}/staff/clerks/{clerk_id}"
    return Confirm(
        title=known[act],
        thing=clerk.name,
        effects=known[f"effect_{act}"].split("\n"),
        action=f"{here}/{path}",
        button=known[act],
        back=here,
        facts=[(known["login"], clerk.login)],
        icon="key" if act == "reset" else "warn" if is_grave else "check",
        is_grave=is_grave,
        reason=known["reason"] if reason else "",
        kept={"version": str(clerk.version)},
    )


@router.get("/{clerk_id}/reset")
async def ask_reset(clerk_id: HexId, page: Managing) -> Response:
    return await _reset(page, clerk_id)


async def _reset(page: Page, clerk_id: str, **context: Any) -> Response:
    return confirm(page, await _ask(page, clerk_id, "reset", "reset", is_grave=True), "staff", **context)


@router.post("/{clerk_id}/reset")
async def reset(clerk_id: HexId, page: Managing) -> Response:
    form = await Form.of(page.request)

    async def run(unit: Unit, _order: Nothing) -> NewAccess:
        return await ClerkService(unit).reset(clerk_id)

    keep = NewAccess.without_password
    done = await attempt(page, form, f"clerk.reset:{clerk_id}", Nothing, NewAccess, run, keep)
    if isinstance(done, Refusal):
        return await _reset(page, clerk_id, form=form, refusal=done)
    return page.show("clerk_access.html", access=done, is_new=False)


@router.post("/{clerk_id}/sessions/end")
async def end_sessions(clerk_id: HexId, page: Managing) -> Response:
    form = await Form.of(page.request)

    async def run(unit: Unit, _order: Nothing) -> Ended:
        return Ended(ended=await ClerkService(unit).end_sessions(clerk_id))

    done = await attempt(page, form, f"clerk.end:{clerk_id}", Nothing, Ended, run)
    if isinstance(done, Refusal):
        return await _show(page, clerk_id, form=form, refusal=done)
    return page.go(f"/staff/clerks/{clerk_id}", said="staff.said_ended")
