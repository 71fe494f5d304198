"""The electronic card bound to a clerk's account: by the clerk, or by an administrator and a second clerk."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from starlette.responses import Response

from cardlib.wire import HexId
from issuance.clerks.acts import Act
from issuance.clerks.errands import Errand
from issuance.clerks.provider import ScanOverError
from issuance.clerks.scans import bind_own, demand_may_bind, ticket_of, unbind_own
from issuance.clerks.schemas import AskedAct, ClerkView
from issuance.clerks.service import ClerkService
from issuance.console.acting import Confirm, ask_second, attempt, confirm
from issuance.console.forms import Form, parse
from issuance.console.offices import Nothing
from issuance.console.page import ROOT, Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.scan import away, kept_in
from issuance.console.words import words
from issuance.unit import Unit

router = APIRouter()
Own = Annotated[Page, page_for(Act.OWN_ACCOUNT)]
Managing = Annotated[Page, page_for(Act.CLERK_MANAGE)]
Binding = Annotated[Page, page_for(Act.CLERK_BIND)]


# -- one's own --------------------------------------------------------------------------------------------------------


@router.post("/me/scan")
async def begin(page: Own) -> Response:
    who = page.desk.who
    demand_may_bind(who)
    return await away(page.request, Errand("bind", who.session_id, who.clerk_id, after="/me/scan", by=who.login))


@router.get("/me/scan")
async def ask(page: Own) -> Response:
    return _ask(page)


def _ask(page: Page, **context: Any) -> Response:
    who = page.desk.who
    ticket_of(page.desk.services, who, kept_in(page.request), who.clerk_id)
    return page.show("scan_bind.html", **context)


@router.post("/me/scan/confirm")
async def bind(page: Own) -> Response:
    form, request = await Form.of(page.request), page.request
    address = request.client.host if request.client is not None else ""
    try:
        await bind_own(page.desk.services, page.desk.who, kept_in(request), form.get("password"), address)
    except ScanOverError:
        raise
    except Exception as error:
        return _ask(page, refusal=page.refusal(error))
    return page.go("/me", said="me.said_bound")


@router.post("/me/scan/end")
async def unbind(page: Own) -> Response:
    async with page.desk.unit() as unit:
        await unbind_own(unit, page.desk.who)
    return page.go("/me", said="me.said_unbound")


# -- another clerk's --------------------------------------------------------------------------------------------------


@router.post("/staff/clerks/{clerk_id}/scan")
async def begin_for(clerk_id: HexId, page: Binding) -> Response:
    who = page.desk.who
    async with page.desk.unit(is_reading=True) as unit:
        await ClerkService(unit).get(clerk_id)
    after = f"/staff/clerks/{clerk_id}/scan"
    return await away(page.request, Errand("bind_other", who.session_id, clerk_id, after=after, by=who.login))


@router.get("/staff/clerks/{clerk_id}/scan")
async def ask_for(clerk_id: HexId, page: Binding) -> Response:
    return await _ask_for(page, clerk_id)


async def _ask_for(page: Page, clerk_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        clerk = await ClerkService(unit).get(clerk_id)
    ticket_of(page.desk.services, page.desk.who, kept_in(page.request), clerk_id)
    known, here = words(page.language)["staff"], f"{ROOT}/staff/clerks/{clerk_id}"
    question = Confirm(
        title=known["bind"],
        thing=clerk.name,
        effects=known["effect_bind"].split("\n"),
        action=f"{here}/scan/confirm",
        button=known["bind_ask"],
        back=here,
        facts=[(known["login"], clerk.login)],
        icon="phone",
        is_grave=False,
        reason=known["reason"],
        kept={"login": clerk.login},
    )
    return confirm(page, question, "staff", **context)


@router.post("/staff/clerks/{clerk_id}/scan/confirm")
async def bind_for(clerk_id: HexId, page: Binding) -> Response:
    form, kept = await Form.of(page.request), kept_in(page.request)
    async with page.desk.unit(is_reading=True) as unit:
        await ClerkService(unit).get(clerk_id)

    def read() -> AskedAct:
        ticket_of(page.desk.services, page.desk.who, kept, clerk_id)
        body = {"login": form.get("login"), "ticket": kept}
        return parse(AskedAct, form.nested("reason") | {"act": Act.CLERK_BIND, "body": body})

    done = await ask_second(page, form, f"clerk.bind:{clerk_id}", read)
    if isinstance(done, Refusal):
        return await _ask_for(page, clerk_id, form=form, refusal=done)
    return page.go("/approvals", said="staff.said_asked")


@router.post("/staff/clerks/{clerk_id}/unbind")
async def unbind_for(clerk_id: HexId, page: Managing) -> Response:
    form = await Form.of(page.request)

    async def run(unit: Unit, _order: Nothing) -> ClerkView:
        return await ClerkService(unit).unbind(clerk_id)

    done = await attempt(page, form, f"clerk.unbind:{clerk_id}", Nothing, ClerkView, run)
    if isinstance(done, Refusal):
        return page.show("failure.html", refusal=done)
    return page.go(f"/staff/clerks/{clerk_id}", said="staff.said_unbound")
