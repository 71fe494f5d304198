"""Alerts: what is open, somebody's word that it is seen to, and what was."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from starlette.responses import Response

from cardlib.failures import describe
from issuance.clerks.acts import Act
from issuance.console.acting import attempt
from issuance.console.forms import Form, parse
from issuance.console.lists import following, rows_of, tabs
from issuance.console.page import Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.words import words
from issuance.database import MAX_ID
from issuance.paging import PageQuery
from issuance.publication.schemas import PartView
from issuance.publication.views import publication_view
from issuance.supervision.alerts import AlertService
from issuance.supervision.schemas import Acknowledgement, AlertView
from issuance.unit import Unit

router = APIRouter(prefix="/alerts")
Reading = Annotated[Page, page_for(Act.ALERT_READ)]
AlertId = Annotated[int, Path(ge=1, le=MAX_ID)]
_SHOWN: Final = ("open", "over")


@router.get("")
async def find(page: Reading, asked: PageQuery, state: str = "open") -> Response:
    state = state if state in _SHOWN else "open"
    async with page.desk.unit(is_reading=True) as unit:
        found = await AlertService(unit).find(
            rows_of(asked), state="over" if state == "over" else None, is_open=state == "open"
        )
        published = await _published(unit)
        now = unit.now
    known = words(page.language)["alerts"]
    return page.show(
        "alerts.html",
        rows=found.items,
        published=[(part, _failure(part, page)) for part in published],
        state=state,
        tabs=tabs("/alerts", "state", state, [(code, known[f"state_{code}"]) for code in _SHOWN]),
        following=following("/alerts", found.next_cursor, state=state),
        now=now,
    )


async def _published(unit: Unit) -> list[PartView]:
    settings = unit.services.settings
    return (await publication_view(unit.session, settings)).parts if settings.publication_path else []


def _failure(part: PartView, page: Page) -> str:
    if not part.failure:
        return ""
    failure = describe(part.failure)
    return failure.text_zh if page.language == "zh" else failure.text_en


@router.get("/{alert_id}")
async def show(alert_id: AlertId, page: Reading) -> Response:
    return await _show(page, alert_id)


async def _show(page: Page, alert_id: int, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        alert = await AlertService(unit).view(alert_id)
        now = unit.now
    return page.show("alert.html", alert=alert, now=now, **context)


@router.post("/{alert_id}")
async def acknowledge(alert_id: AlertId, page: Annotated[Page, page_for(Act.ALERT_ACKNOWLEDGE)]) -> Response:
    form = await Form.of(page.request)

    def read() -> Acknowledgement:
        return parse(Acknowledgement, form.nested("note"))

    async def run(unit: Unit, order: Acknowledgement) -> AlertView:
        return await AlertService(unit).acknowledge(alert_id, order)

    done = await attempt(page, form, f"alert:{alert_id}", read, AlertView, run)
    if isinstance(done, Refusal):
        return await _show(page, alert_id, form=form, refusal=done)
    return page.go(f"/alerts/{alert_id}", said="alerts.said_acknowledged")
