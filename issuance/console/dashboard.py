"""What a supervisor watches: today's numbers and charts, kept up to date, the table behind them, exports."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from markupsafe import Markup
from sqlalchemy import select
from starlette.responses import Response

from issuance.clerks.acts import Act
from issuance.console.forms import Form
from issuance.console.lists import address
from issuance.console.live import live
from issuance.console.page import Page, page_for
from issuance.console.queues import tabs_of
from issuance.input_rules import field_error
from issuance.offices.models import OfficeRow
from issuance.paging import PageRequest
from issuance.problems import ProblemError, bad_input
from issuance.supervision.alerts import AlertService
from issuance.supervision.charts import CHARTS, ChartName
from issuance.supervision.queues import WorkQueues
from issuance.supervision.schemas import Breakdown
from issuance.supervision.sheets import CSV_TYPE, XLSX_TYPE, to_csv, to_xlsx
from issuance.supervision.statistics import Dashboard, StatisticsService
from issuance.unit import Unit

router = APIRouter(prefix="/dashboard")
Watching = Annotated[Page, page_for(Act.STATISTICS_READ)]
By = Literal["region", "office"]
ROUND_S: Final = 5.0
ROUNDS: Final = 5
"""A stream of events ends soon, so that a service that stops waits for none; the browser opens the next."""
_SHOWN_ALERTS: Final = PageRequest(limit=5)
_BREAKDOWNS: Final[tuple[Breakdown, ...]] = ("day", "region", "office")
_MOST_PLACES: Final = 200


@dataclass(frozen=True, slots=True)
class Where:
    """`region:110101` or `office:/1/4/`; anything else is all that the clerk watches over."""

    kind: str = ""
    key: str = ""

    @classmethod
    def of(cls, text: str) -> Where:
        kind, _, key = text.partition(":")
        is_region = kind == "region" and len(key) == 6 and key.isdigit()
        is_office = kind == "office" and len(key) <= 128 and key.startswith("/")
        return cls(kind, key) if is_region or is_office else cls()

    @property
    def text(self) -> str:
        return f"{self.kind}:{self.key}" if self.kind else ""

    def service(self, unit: Unit) -> StatisticsService:
        region = self.key if self.kind == "region" else None
        return StatisticsService(unit, region=region, office=self.key if self.kind == "office" else None)


async def _places(unit: Unit, page: Page) -> list[tuple[str, str]]:
    """What may be chosen: regions and offices of the own scope."""
    columns = (OfficeRow.office, OfficeRow.region, OfficeRow.name_zh, OfficeRow.name_en)
    rows = list(await unit.session.execute(select(*columns).order_by(OfficeRow.office).limit(_MOST_PLACES)))
    regions = [(f"region:{region}", region) for region in sorted({row.region for row in rows})]
    top = min((row.office.count("/") for row in rows), default=0)
    offices = [
        (
            f"office:{row.office}",
            "　" * (row.office.count("/") - top) + (row.name_zh if page.language == "zh" else row.name_en),
        )
        for row in rows
    ]
    return (regions if len(regions) > 1 else []) + offices


@router.get("")
async def show(page: Watching, where: str = "", by: By = "region") -> Response:
    place = Where.of(where)
    async with page.desk.unit(is_reading=True) as unit:
        board = await place.service(unit).dashboard(by)
        alerts = await AlertService(unit).find(_SHOWN_ALERTS, is_open=True)
        places = await _places(unit, page)
        now = unit.now
    return page.show(
        "dashboard.html",
        board=board,
        week_ago=board.days.rows[-8],
        charts=_charts(page, board),
        alerts=alerts.items,
        queues=tabs_of(page, board.queues) if page.viewer.may(Act.QUEUE_READ) else [],
        places=places,
        where=place.text,
        by=by,
        now=now,
        events=address("/dashboard/events", where=place.text, by=by),
    )


def _charts(page: Page, board: Dashboard) -> dict[str, Markup]:
    """Drawn by the service from numbers and names; the writer of XML escapes every text."""
    tables = {name: board.places if name is ChartName.REGIONS else board.days for name in ChartName}
    return {
        name.value: Markup(CHARTS[name].draw(table, page.language).decode())  # noqa: S704
        for name, table in tables.items()
    }


@router.get("/events")
async def events(page: Watching, where: str = "") -> Response:
    """Server-sent events: `changed` whenever the numbers are not those of the event before."""
    last = page.request.headers.get("Last-Event-ID", "")
    return live(page.request, _changes(page, Where.of(where), last))


async def _changes(page: Page, where: Where, last: str) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    for left in range(ROUNDS, 0, -1):
        async with page.desk.unit(is_reading=True) as unit:
            found = await _fingerprint(unit, where)
        yield f"id: {found}\nevent: {'changed' if last else 'here'}\ndata: {found}\n\n" if found != last else ""
        last = found
        if left > 1:
            await asyncio.sleep(ROUND_S)


async def _fingerprint(unit: Unit, where: Where) -> str:
    """Of all that a few cheap statements tell; what the dashboard shows beside moves along with it."""
    service = where.service(unit)
    seen: list[Any] = [await service.moved(), await AlertService(unit).count()]
    seen += [(count.queue, count.count) for count in await WorkQueues(unit).counts()]
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


# -- the table --------------------------------------------------------------------------------------------------------


@router.get("/statistics")
async def statistics(
    page: Watching,
    by: Breakdown = "day",
    where: str = "",
    first: Annotated[str, Query(max_length=10)] = "",
    last: Annotated[str, Query(max_length=10)] = "",
) -> Response:
    place, table, refusal = Where.of(where), None, None
    async with page.desk.unit(is_reading=True) as unit:
        places = await _places(unit, page)
        service = place.service(unit)
        try:
            table = await service.table(service.period(_day(first), _day(last)), by)
        except ProblemError as error:
            refusal = page.refusal(error)
    return page.show(
        "statistics.html",
        table=table,
        refusal=refusal,
        by=by,
        breakdowns=_BREAKDOWNS,
        where=place.text,
        places=places,
        first=table.first.isoformat() if table else first,
        last=table.last.isoformat() if table else last,
    )


def _day(typed: str) -> date | None:
    """Raises INPUT_INVALID for what is no day."""
    try:
        return date.fromisoformat(typed) if typed else None
    except ValueError:
        raise bad_input(field_error("query.first", "date_unreal")) from None


@router.post("/statistics/export")
async def export(page: Annotated[Page, page_for(Act.STATISTICS_EXPORT)]) -> Response:
    form = await Form.of(page.request)
    by: Breakdown = form.get("by") if form.get("by") in _BREAKDOWNS else "day"  # type: ignore[assignment]
    async with page.desk.unit() as unit:
        service = Where.of(form.get("where")).service(unit)
        sheets = await service.sheets(service.period(_day(form.get("first")), _day(form.get("last"))), by)
    is_csv = form.get("format") == "csv"
    made, media_type = (to_csv(sheets), CSV_TYPE) if is_csv else (to_xlsx(sheets), XLSX_TYPE)
    name = f'attachment; filename="statistics.{"csv" if is_csv else "xlsx"}"'
    return Response(made, media_type=media_type, headers={"Content-Disposition": name})
