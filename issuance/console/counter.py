"""The counter: pages whose script speaks to the agent of this computer. Card in reader, person found, act.

The agent carries the session between card and centre under the terminal's own key; what a clerk begins here is asked
of the clerk's rights and recorded first (`begin`).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from starlette.responses import Response

from cardlib.wire import HexId
from issuance.applications.models import ApplicationRow
from issuance.cards.life_cycle import LifeCycle, subject_of
from issuance.clerks.acts import Act
from issuance.console.applications import opened
from issuance.console.cards import VISITS, card_of, shown
from issuance.console.forms import Form
from issuance.console.page import Page, page_for
from issuance.problems import ProblemError
from issuance.reviews.service import Reviews

router = APIRouter(prefix="/counter")
Reading = Annotated[Page, page_for(Act.CARD_READ)]
Making = Annotated[Page, page_for(Act.CARD_ISSUE)]


@router.get("")
async def find(page: Reading) -> Response:
    return _stage(page, "find")


def _stage(page: Page, mode: str, **context: Any) -> Response:
    urls = list(page.desk.services.settings.agent_urls)
    return page.show("counter.html", **{"mode": mode, "agent_urls": urls, "order": None, "begin": ""} | context)


@router.post("")
async def found(page: Reading) -> Response:
    """The card in the reader, by the number that it says; it comes in the body, no address ever holds it."""
    form = await Form.of(page.request)
    try:
        async with page.desk.unit(is_reading=True) as unit:
            row = await LifeCycle(unit).card(form.get("card_number"), is_locking=False)
    except Exception as error:
        return _stage(page, "find", refusal=page.refusal(error))
    return page.go(f"/cards/{row.application_id}")


# -- making a card ----------------------------------------------------------------------------------------------------


@router.get("/applications/{application_id}")
async def make(application_id: HexId, page: Making) -> Response:
    async with page.desk.unit() as unit:
        application = await opened(unit, application_id)
    begin = f"/console/counter/applications/{application_id}/begin"
    view = application.view
    order = {"kind": "personalization", "application_id": view.id, "generation": view.generation}
    return _stage(page, "make", application=application, view=view, order=order, begin=begin)


@router.post("/applications/{application_id}/begin", status_code=204)
async def begin(application_id: HexId, page: Making) -> None:
    """May this clerk have this card made now? Raises APPLICATION_STATE."""
    async with page.desk.unit() as unit:
        row = await unit.session.get(ApplicationRow, application_id)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such application", application_id=application_id)
        await Reviews(unit).demand(row)
        await unit.audit("card.begin", f"application:{row.id}", application_id=row.id, region=row.region)


# -- a card in use ----------------------------------------------------------------------------------------------------


@router.get("/cards/{application_id}/{visit}")
async def visit(application_id: HexId, visit: str, page: Reading) -> Response:
    async with page.desk.ahead():
        _demand(page, visit)
    async with page.desk.unit() as unit:
        card = await shown(unit, application_id)
    begin = f"/console/counter/cards/{application_id}/{visit}/begin"
    return _stage(page, "visit", visit=visit, card=card, order={"kind": visit}, begin=begin)


@router.post("/cards/{application_id}/{visit}/begin", status_code=204)
async def begin_visit(application_id: HexId, visit: str, page: Reading) -> None:
    async with page.desk.ahead():
        _demand(page, visit)
    async with page.desk.unit() as unit:
        row = await card_of(unit, application_id)
        await unit.audit(
            "card.begin", subject_of(row), application_id=row.application_id, region=row.region, detail={"kind": visit}
        )


def _demand(page: Page, visit: str) -> None:
    """Raises NOT_FOUND, ACT_FORBIDDEN."""
    if visit not in VISITS:
        raise ProblemError("NOT_FOUND", "no such session")
    page.desk.who.demand(VISITS[visit])
