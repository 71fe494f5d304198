"""The first page after the log-in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from starlette.responses import Response

from issuance.clerks.acts import Act
from issuance.console.nav import entries_for
from issuance.console.page import Page, page_for
from issuance.console.queues import QueueTab, tabs_of
from issuance.console.words import words
from issuance.supervision.queues import WorkQueues

router = APIRouter()


@router.get("/")
async def home(page: Annotated[Page, page_for(Act.OWN_ACCOUNT)]) -> Response:
    if page.desk.who.needs:
        return page.go("/me/begin")
    known = words(page.language)["home"]
    tiles = [entry for entry in entries_for(page.viewer.acts) if f"tile_{entry.name}" in known]
    queues: list[QueueTab] = []
    if page.viewer.may(Act.QUEUE_READ):
        async with page.desk.unit(is_reading=True) as unit:
            queues = [tab for tab in tabs_of(page, await WorkQueues(unit).counts()) if tab.is_own]
    return page.show("home.html", tiles=tiles, roles=page.roles, queues=queues, now=page.desk.services.clock())
