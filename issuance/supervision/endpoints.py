"""`/v1/queues`, `/v1/statistics`, `/v1/charts` and `/v1/alerts`."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Response

from issuance.clients.schemas import Region
from issuance.database import MAX_ID
from issuance.paging import Page, PageQuery
from issuance.supervision.alerts import AlertService
from issuance.supervision.charts import CHARTS, SVG_TYPE, ChartName
from issuance.supervision.queues import WorkQueues
from issuance.supervision.schemas import (
    Acknowledgement,
    AlertState,
    AlertView,
    Breakdown,
    Queue,
    QueueCount,
    Statistics,
    StockReport,
    WorkItem,
)
from issuance.supervision.sheets import CSV_TYPE, XLSX_TYPE, to_csv, to_xlsx
from issuance.supervision.statistics import StatisticsService
from issuance.unit import OperatorUnit, RecordedOperatorUnit

router = APIRouter(prefix="/v1", tags=["supervision"])

First = Annotated[date | None, Query(description="First day, China; default 13 days before the last")]
Last = Annotated[date | None, Query(description="Last day, China; default today")]
OfRegion = Annotated[Region | None, Query(description="Only this region and those below")]
OfOffice = Annotated[
    str | None,
    Query(max_length=128, pattern=r"^/(?:[0-9]+/)*$", description="Path of an office: only it and those below"),
]
AlertId = Annotated[int, Path(ge=1, le=MAX_ID)]
_FILE: Final = {
    "schema": {"type": "string", "format": "binary"},
    "example": "2026-01-05,2026-01-05,41,38,1,412.0,903.5,,2",
}
_EXPORTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {CSV_TYPE: _FILE, XLSX_TYPE: _FILE}, "description": "The file"}
}
_CHART: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {SVG_TYPE: {"schema": {"type": "string"}, "example": "<svg>…</svg>"}}, "description": "The chart"}
}


@router.get("/queues", summary="How much waits in every work queue, and since when")
async def queues(unit: OperatorUnit) -> list[QueueCount]:
    return await WorkQueues(unit).counts()


@router.get("/queues/{queue}", summary="What waits, the oldest or most urgent first, each with the one thing to do")
async def queue_items(queue: Queue, unit: OperatorUnit, page: PageQuery) -> Page[WorkItem]:
    return await WorkQueues(unit).items(queue, page)


@router.get("/statistics", summary="Applications, cards, times and spoiled cards by day, region or office")
async def statistics(
    unit: OperatorUnit,
    by: Breakdown = "day",
    first: First = None,
    last: Last = None,
    region: OfRegion = None,
    office: OfOffice = None,
) -> Statistics:
    service = StatisticsService(unit, region=region, office=office)
    return await service.table(service.period(first, last), by)


@router.get("/statistics/stock", summary="Cards by place and kind, and card numbers left")
async def stock(unit: OperatorUnit, region: OfRegion = None, office: OfOffice = None) -> StockReport:
    return await StatisticsService(unit, region=region, office=office).stock()


@router.get(
    "/statistics/export", summary="The same tables as CSV or XLSX", responses=_EXPORTED, response_class=Response
)
async def export(
    unit: RecordedOperatorUnit,
    format: Literal["csv", "xlsx"] = "csv",
    by: Breakdown = "day",
    first: First = None,
    last: Last = None,
    region: OfRegion = None,
    office: OfOffice = None,
) -> Response:
    service = StatisticsService(unit, region=region, office=office)
    sheets = await service.sheets(service.period(first, last), by)
    made, media_type = (to_csv(sheets), CSV_TYPE) if format == "csv" else (to_xlsx(sheets), XLSX_TYPE)
    name = f'attachment; filename="statistics.{format}"'
    return Response(made, media_type=media_type, headers={"Content-Disposition": name})


@router.get("/charts/{name}.svg", summary="A chart of the last days", responses=_CHART, response_class=Response)
async def chart(
    name: ChartName,
    unit: OperatorUnit,
    lang: Literal["zh", "en"] = "zh",
    first: First = None,
    last: Last = None,
    region: OfRegion = None,
    office: OfOffice = None,
) -> Response:
    service = StatisticsService(unit, region=region, office=office)
    kind = CHARTS[name]
    drawn = kind.draw(await service.table(service.period(first, last), kind.by), lang)
    return Response(drawn, media_type=SVG_TYPE)


@router.get("/alerts", summary="Alerts of the regions served, newest first")
async def alerts(
    unit: OperatorUnit,
    page: PageQuery,
    state: Annotated[AlertState | None, Query(description="`over` is history")] = None,
    is_open: Annotated[bool, Query(alias="open", description="Raised or acknowledged")] = False,
) -> Page[AlertView]:
    return await AlertService(unit).find(page, state=state, is_open=is_open)


@router.get("/alerts/{alert_id}", summary="One alert with its history")
async def alert(alert_id: AlertId, unit: OperatorUnit) -> AlertView:
    return await AlertService(unit).view(alert_id)


@router.post("/alerts/{alert_id}/acknowledge", summary="Say that somebody sees to it; asked again it changes nothing")
async def acknowledge(alert_id: AlertId, order: Acknowledgement, unit: OperatorUnit) -> AlertView:
    return await AlertService(unit).acknowledge(alert_id, order)
