"""Statistics (统计): how many, how fast, how many spoiled, what is in stock; by day, region or office."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import Row

from issuance.applications.schemas import ApplicationState
from issuance.clock import china_date
from issuance.database import plan_for_values
from issuance.input_rules import field_error
from issuance.problems import bad_input
from issuance.rules import RuleError
from issuance.supervision.days import ClosedDays
from issuance.supervision.figures import MOST_NUMBERS, FiguresRepository, Period
from issuance.supervision.queues import WorkQueues
from issuance.supervision.schemas import Breakdown, Figures, QueueCount, Statistics, StockFigure, StockReport
from issuance.supervision.sheets import Sheet
from issuance.supervision.sources import Look
from issuance.unit import Unit

MOST_DAYS: Final = 366
DASHBOARD_DAYS: Final = 14
_STOCK_LINES: Final = 8
"""Of a dashboard."""
_DAYS: Final = (date(2000, 1, 1), date(2999, 12, 31))
"""Beyond, the calendar of Python itself ends soon."""
_HEADINGS: Final = (
    "日期/地区/机构 · key",
    "名称 · name",
    "申领 · applied",
    "发卡 · issued",
    "未发 · refused",
    "用时中位（秒） · p50 s",
    "用时九成（秒） · p90 s",
    "卡住 · stuck",
    "废卡 · spoiled",
)
_KINDS: Final = {"blank": "白卡", "pre_printed": "预制卡", "finished": "成品卡", "spoiled": "废卡"}


@dataclass(slots=True)
class _Ended:
    issued: int = 0
    refused: int = 0
    p50: float | None = None
    p90: float | None = None


@dataclass(frozen=True, slots=True)
class Dashboard:
    """What the supervisor's first page shows, all of one moment: the last 14 days, and today by region or office.

    The times of the 14 days together are not looked up: those of `days.total` are null. `stock` has the first
    lines.
    """

    today: Figures
    days: Statistics
    places: Statistics
    stock: StockReport
    queues: list[QueueCount]


class StatisticsService:
    """`region` narrows what the caller serves; `office` is the path of the highest office counted."""

    def __init__(self, unit: Unit, *, region: str | None = None, office: str | None = None) -> None:
        self._unit = unit
        caller = unit.caller
        if region is not None:
            caller.demand_region(region)
        if office is not None and not office.startswith(caller.office):
            office = caller.office
        look = Look(unit.now, caller.region_prefix, caller.office)
        self._figures = FiguresRepository(unit.session, look, region=region or "", office=office or "")

    def period(self, first: date | None, last: date | None) -> Period:
        """The last 14 days if none is given. Raises INPUT_INVALID for one that is backwards or longer than a year."""
        last = last or china_date(self._unit.now)
        is_counted = _DAYS[0] <= last <= _DAYS[1]
        first = first or (last - timedelta(days=DASHBOARD_DAYS - 1) if is_counted else last)
        if not (is_counted and 0 <= (last - first).days < MOST_DAYS):
            raise bad_input(field_error("query.first", "statistics_period", expected=MOST_DAYS))
        return Period(first, last)

    async def table(self, period: Period, by: Breakdown) -> Statistics:
        rows = await self._days(period) if by == "day" else await self._rows(period, by)
        times = await self._figures.times(period)
        stuck = (await self._figures.stuck(None)).get("", 0) if by == "day" else sum(row.stuck or 0 for row in rows)
        total = _total(rows, *times, stuck)
        return Statistics(first=period.first, last=period.last, by=by, rows=rows, total=total)

    async def _days(self, period: Period, last: Figures | None = None) -> list[Figures]:
        """Every day of the period; asked for are those that are not known from before, and the last if not given."""
        days, key = period.days(), self._figures.key
        closed = ClosedDays.of(self._unit.services.database)
        known = closed.known(key, days[:-1])
        missing = days[len(known) :] if last is None else days[len(known) : -1]
        asked = await self._rows(Period(missing[0], missing[-1]), "day") if missing else []
        closed.keep(key, asked, self._unit.now)
        return [*known, *asked, *([] if last is None else [last])]

    async def _rows(self, period: Period, by: Breakdown) -> list[Figures]:
        """Every day of the period; of regions and offices those with anything to tell."""
        counted = await self._figures.counted(period, by)
        ended = _gathered(await self._figures.ended(period, by))
        found = sorted({*counted.applied, *ended, *counted.stuck, *counted.spoiled})
        keys = [day.isoformat() for day in period.days()] if by == "day" else found
        names = await self._names(by, set(keys))
        return [
            _figures(
                key,
                names.get(key, (key, key)),
                counted.applied.get(key, 0),
                ended.get(key, _Ended()),
                None if by == "day" else counted.stuck.get(key, 0),
                counted.spoiled.get(key, 0),
            )
            for key in keys
        ]

    async def stock(self, most: int | None = None) -> StockReport:
        """All that lies anywhere, or the first so many lines."""
        counts: dict[tuple[str, str, str, str], int] = {}
        for row in await self._figures.stock(most):
            key = (row.id, row.name, row.region, "spoiled" if row.state == "spoiled" else row.kind)
            counts[key] = counts.get(key, 0) + row.n
        numbers = await self._figures.free_numbers()
        return StockReport(
            free_numbers=min(numbers, MOST_NUMBERS),
            is_more_numbers=numbers > MOST_NUMBERS,
            rows=[
                StockFigure(place_id=place, name=name, region=region, kind=kind, count=count)
                for (place, name, region, kind), count in counts.items()
            ][:most],
        )

    async def dashboard(self, by: Breakdown = "region") -> Dashboard:
        """Today is what its places add up to, but for the times."""
        await plan_for_values(self._unit.session)
        period = self.period(None, None)
        day, only_today = period.last.isoformat(), Period(period.last, period.last)
        places, times = await self._rows(only_today, by), await self._figures.times(only_today)
        total = _total(places, *times, sum(row.stuck or 0 for row in places))
        today = total.model_copy(update={"key": day, "name_zh": day, "name_en": day})
        days = await self._days(period, today.model_copy(update={"stuck": None}))
        return Dashboard(
            today=today,
            days=Statistics(
                first=period.first, last=period.last, by="day", rows=days, total=_total(days, None, None, today.stuck)
            ),
            places=Statistics(first=period.last, last=period.last, by=by, rows=places, total=today),
            stock=await self.stock(_STOCK_LINES),
            queues=await WorkQueues(self._unit).counts(),
        )

    async def moved(self) -> list[tuple[Any, ...]]:
        """What was applied for and ended today, as a watcher compares it; two statements."""
        today = Period(china_date(self._unit.now), china_date(self._unit.now))
        applied = await self._figures.applied(today, "day")
        return [*applied.items(), *((row.state, row.n, row.seconds) for row in await self._figures.ended(today, None))]

    async def sheets(self, period: Period, by: Breakdown) -> list[Sheet]:
        """For export: the table of figures and the stock. Recorded in the audit trail."""
        table, stock = await self.table(period, by), await self.stock()
        detail = {"first": period.first.isoformat(), "last": period.last.isoformat(), "by": by}
        await self._unit.audit("statistics.export", "statistics", region=self._unit.caller.region, detail=detail)
        return [figures_sheet(table), stock_sheet(stock)]

    async def _names(self, by: Breakdown, keys: set[str]) -> dict[str, tuple[str, str]]:
        if by == "office":
            known = await self._figures.office_names(keys - {""})
            return {"": ("没有机构", "No office")} | known
        return {} if by == "day" else {key: self._region_name(key) for key in keys}

    def _region_name(self, region: str) -> tuple[str, str]:
        try:
            pack = self._unit.services.rules.pack(region)
        except RuleError:
            return region, region
        issuer = pack.issuer
        return (issuer.name, issuer.name_en) if issuer.region == region else (region, region)


def figures_sheet(table: Statistics) -> Sheet:
    rows = [
        (
            row.key,
            row.name_zh,
            row.applied,
            row.issued,
            row.refused,
            row.seconds_p50,
            row.seconds_p90,
            row.stuck,
            row.spoiled,
        )
        for row in (*table.rows, table.total)
    ]
    return Sheet(f"统计 {table.first} {table.last}", _HEADINGS, tuple(rows))


def stock_sheet(report: StockReport) -> Sheet:
    headings = ("地区 · region", "地点 · place", "名称 · name", "种类 · kind", "张 · cards")
    rows = [(row.region, row.place_id, row.name, _KINDS[row.kind], row.count) for row in report.rows]
    return Sheet("库存", headings, tuple(rows))


def _total(rows: list[Figures], p50: float | None, p90: float | None, stuck: int | None) -> Figures:
    issued, refused = sum(row.issued for row in rows), sum(row.refused for row in rows)
    ended = _Ended(issued, refused, p50, p90)
    applied, spoiled = sum(row.applied for row in rows), sum(row.spoiled for row in rows)
    return _figures("", ("合计", "All"), applied, ended, stuck, spoiled)


def _figures(key: str, names: tuple[str, str], applied: int, ended: _Ended, stuck: int | None, spoiled: int) -> Figures:
    return Figures(
        key=key,
        name_zh=names[0],
        name_en=names[1],
        applied=applied,
        issued=ended.issued,
        refused=ended.refused,
        seconds_p50=ended.p50,
        seconds_p90=ended.p90,
        stuck=stuck,
        spoiled=spoiled,
    )


def _gathered(rows: Iterable[Row[Any]]) -> dict[str, _Ended]:
    """By key. Of refused and written-off applications only the number counts."""
    found: dict[str, _Ended] = {}
    counted: set[tuple[str, str]] = set()
    for row in rows:
        key = "" if row.key is None else str(row.key)
        group = found.setdefault(key, _Ended())
        is_issued = row.state == ApplicationState.ENABLED
        if is_issued:
            group.issued = row.n
            seconds = round(float(row.seconds), 1)
            group.p50, group.p90 = (seconds if row.is_half else group.p50), seconds
        elif (key, row.state) not in counted:
            group.refused += row.n
        counted.add((key, row.state))
    return found
