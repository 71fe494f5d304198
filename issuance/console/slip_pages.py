"""Slips for applicants and holders, to be printed: what was done, what comes next, masked numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter
from starlette.responses import Response

from cardlib.wire import HexId
from issuance.applications.schemas import ApplicationState
from issuance.clerks.acts import Act
from issuance.console.applications import opened
from issuance.console.cards import shown
from issuance.console.page import Page, page_for
from issuance.console.slips import PDF, Line, slip
from issuance.console.times import china, day
from issuance.console.words import words
from issuance.newborns.service import NewbornService
from issuance.progress.receipts import grouped

router = APIRouter()
_NEXT = {
    ApplicationState.SUBMITTED: "next_identity",
    ApplicationState.ENABLED: "next_enabled",
    ApplicationState.REJECTED: "next_rejected",
    ApplicationState.WRITTEN_OFF: "next_rejected",
}


@router.get("/applications/{application_id}/slip.pdf")
async def application_slip(application_id: HexId, page: Annotated[Page, page_for(Act.APPLICATION_READ)]) -> Response:
    async with page.desk.unit() as unit:
        found = await opened(unit, application_id)
    view, w = found.view, words(page.language)["slip"]
    facts = [
        (w["kind"], page.term("kind", view.kind)),
        (w["name"], view.person.name),
        (w["number"], view.person.social_security_number),
        (w["state"], page.term("application", view.state)),
        (w["card"], found.number),
        (w["delivery"], page.term("delivery", view.delivery)),
        (w["taken"], china(view.created_at)),
        (w["business"], grouped(view.receipt_number)),
    ]
    following = [w[_NEXT.get(view.state, "next_waiting")], w["progress"]]
    return _answer(page, w["title_application"], facts, following)


@router.get("/collect/newborns/{newborn_id}/slip.pdf")
async def newborn_slip(newborn_id: HexId, page: Annotated[Page, page_for(Act.APPLICATION_COLLECT)]) -> Response:
    async with page.desk.unit() as unit:
        view = await NewbornService(unit).view(newborn_id)
    w = words(page.language)["slip"]
    facts = [
        (w["kind"], page.term("kind", "newborn")),
        (w["born"], day(view.birth_date)),
        (w["taken"], china(view.created_at)),
        (w["business"], grouped(view.receipt_number)),
    ]
    following = [w["next_newborn"].format(deadline=china(view.deadline)[:10]), w["progress_newborn"]]
    return _answer(page, w["title_application"], facts, following)


@router.get("/cards/{application_id}/slip.pdf")
async def card_slip(application_id: HexId, page: Annotated[Page, page_for(Act.CARD_READ)]) -> Response:
    async with page.desk.unit() as unit:
        found = await shown(unit, application_id)
    card, w = found.card, words(page.language)["slip"]
    last = next((event for event in found.events if event.side == "social"), None)
    facts = [
        (w["done"], page.term("event", last.act) if last else ""),
        (w["done_at"], china(last.at) if last else ""),
        (w["name"], card.holder.name),
        (w["number"], card.holder.social_security_number),
        (w["card"], found.number),
        (w["state"], page.term("card", card.state)),
        (w["until"], china(card.temporary_until)),
        (w["expires"], day(card.expiry_date)),
    ]
    return _answer(page, w["title_card"], facts, [w.get(f"next_card_{card.state}", "")])


def _answer(page: Page, title: str, facts: Sequence[tuple[str, str]], following: Sequence[str]) -> Response:
    w = words(page.language)["slip"]
    lines = [
        Line(page.viewer.office_name[page.language], 10),
        Line(title, 14),
        Line(is_rule=True, size=6),
        *(Line(f"{label}{words(page.language)['frame']['colon']}{text}", 9) for label, text in facts if text),
        Line(is_rule=True, size=6),
        *(Line(text, 9) for text in following if text),
        Line(w["foot"].format(clerk=page.viewer.login, at=china(page.desk.services.clock())), 8),
    ]
    headers = {"Content-Disposition": 'inline; filename="slip.pdf"'}
    return Response(slip(lines, title=title), media_type=PDF, headers=headers)
