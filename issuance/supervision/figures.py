"""Queries of the statistics, straight from applications, stock and ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Label,
    Row,
    Select,
    String,
    Subquery,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.applications.models import ApplicationRow
from issuance.clock import CHINA
from issuance.offices.models import OfficeRow
from issuance.stock.models import BlankRow, CardNumberRow, LedgerRow, PlaceRow
from issuance.supervision.schemas import Breakdown
from issuance.supervision.sources import Look, fixed
from issuance.supervision.sql import china_day, seconds_between

MOST_NUMBERS: Final = 10_000
_A = ApplicationRow


@dataclass(frozen=True, slots=True)
class Period:
    """Days in China, both included."""

    first: date
    last: date

    @property
    def begins(self) -> datetime:
        return datetime.combine(self.first, time(), CHINA)

    @property
    def ends(self) -> datetime:
        """The moment after it."""
        return datetime.combine(self.last + timedelta(days=1), time(), CHINA)

    def days(self) -> list[date]:
        return [self.first + timedelta(days=count) for count in range((self.last - self.first).days + 1)]


@dataclass(frozen=True, slots=True)
class Counted:
    """By day, region or office."""

    applied: dict[str, int]
    spoiled: dict[str, int]
    stuck: dict[str, int]


class FiguresRepository:
    """`office` limits figures to applications taken in there, and below; `region` lies within what the caller serves.

    Without `office` those count, too, that no office took in: kiosks, banks and what came from outside.
    """

    def __init__(self, session: AsyncSession, look: Look, *, region: str = "", office: str = "") -> None:
        self._session = session
        self._look = Look(look.now, region or look.regions, look.office)
        self._office = office

    @property
    def key(self) -> tuple[str, str, str]:
        """Whose figures these are."""
        return self._look.regions, self._look.office, self._office

    def _mine(self) -> list[ColumnElement[bool]]:
        return [self._look.of_region(_A.region), *self._of_office(_A.office)]

    def _of_office(self, column: Any) -> list[ColumnElement[bool]]:
        return [column.startswith(self._office)] if self._office else self._look.of_office(column)

    async def counted(self, period: Period, by: Breakdown) -> Counted:
        """Applied for and spoiled in the period and, by region or office, stuck now; one statement."""
        parts = {"applied": self._applied(period, by), "spoiled": self._spoiled(period, by)}
        if by != "day":
            parts["stuck"] = self._stuck(by)
        found: dict[str, dict[str, int]] = {"applied": {}, "spoiled": {}, "stuck": {}}
        named = [query.add_columns(literal(name, String)) for name, query in parts.items()]
        for key, count, name in await self._session.execute(union_all(*named)):
            found[name][_text(key)] = int(count)
        return Counted(**found)

    async def applied(self, period: Period, by: Breakdown) -> dict[str, int]:
        return await self._by_key(self._applied(period, by))

    async def spoiled(self, period: Period, by: Breakdown) -> dict[str, int]:
        return await self._by_key(self._spoiled(period, by))

    async def stuck(self, by: Breakdown | None) -> dict[str, int]:
        return await self._by_key(self._stuck(by))

    async def _by_key(self, query: Select[Any]) -> dict[str, int]:
        return {_text(key): int(count) for key, count in await self._session.execute(query)}

    def _applied(self, period: Period, by: Breakdown) -> Select[Any]:
        key = _key(by, _A.created_at)
        query = select(key, func.count()).where(
            _A.created_at >= period.begins, _A.created_at < period.ends, *self._mine()
        )
        return query.group_by(key)

    def _spoiled(self, period: Period, by: Breakdown) -> Select[Any]:
        keys: dict[Breakdown, Any] = {"day": LedgerRow.day, "region": PlaceRow.region, "office": PlaceRow.office}
        query = self._of_places(
            select(keys[by], func.sum(LedgerRow.quantity)).join(PlaceRow, PlaceRow.id == LedgerRow.place_id)
        ).where(
            LedgerRow.act == fixed("spoil"),
            LedgerRow.kind == fixed("spoiled"),
            LedgerRow.day.between(period.first, period.last),
        )
        return query.group_by(keys[by])

    def _stuck(self, by: Breakdown | None) -> Select[Any]:
        key: ColumnElement[Any] = literal("", String) if by is None else _key(by, _A.created_at)
        is_stuck = or_(_A.case_reason.is_not(None), _A.case_deadline <= self._look.now)
        query = select(key.label("key"), func.count()).where(_A.case_step.is_not(None), is_stuck, *self._mine())
        return query if by is None else query.group_by(key)

    async def ended(self, period: Period, by: Breakdown | None) -> list[Row[Any]]:
        """Rows of key, state, number and seconds: two for each key and state, of half and of nine tenths of them.

        Nearest rank. With one card in a group both are the same row.
        """
        key: ColumnElement[Any] = literal("", String) if by is None else _key(by, _A.ended_at)
        each = self._ranked(period, key.label("key"), _A.state.label("state"))
        half, most = _ranks(each)
        query = select(each.c.key, each.c.state, each.c.n, each.c.seconds, (each.c.rank == half).label("is_half"))
        query = query.where(or_(each.c.rank == half, each.c.rank == most))
        return list(await self._session.execute(query.order_by(each.c.key, each.c.state, each.c.rank)))

    async def times(self, period: Period) -> tuple[float | None, float | None]:
        """Seconds within which half, and nine tenths, of all issued in the period had their card."""
        each = self._ranked(period, among=(_A.state == fixed("enabled"),))
        query = select(each.c.seconds).where(or_(*(each.c.rank == rank for rank in _ranks(each))))
        found = [round(float(value), 1) for value in await self._session.scalars(query.order_by(each.c.rank))]
        return (found[0], found[-1]) if found else (None, None)

    def _ranked(self, period: Period, *groups: Label[Any], among: Sequence[ColumnElement[bool]] = ()) -> Subquery:
        """What ended in the period, with its seconds, rank and number of all within its group."""
        seconds, within = seconds_between(_A.created_at, _A.ended_at), [group.element for group in groups]
        rank = func.row_number().over(partition_by=within or None, order_by=seconds)
        number = func.count().over(partition_by=within or None)
        columns = (*groups, seconds.label("seconds"), rank.label("rank"), number.label("n"))
        return (
            select(*columns)
            .where(_A.ended_at.is_not(None), _A.ended_at >= period.begins, _A.ended_at < period.ends, *self._mine())
            .where(*among)
            .subquery()
        )

    async def stock(self, most_places: int | None = None) -> list[Row[Any]]:
        """Rows of place, name, region, kind, state, number; of the first places that have cards, if not of all."""
        each = select(BlankRow.place_id, BlankRow.kind, BlankRow.state, func.count().label("n"))
        each = each.where(BlankRow.place_id.is_not(None))
        if most_places is not None:
            used = self._of_places(select(PlaceRow.id)).where(exists().where(BlankRow.place_id == PlaceRow.id))
            each = each.where(BlankRow.place_id.in_(used.order_by(PlaceRow.region, PlaceRow.id).limit(most_places)))
        lying = each.group_by(BlankRow.place_id, BlankRow.kind, BlankRow.state).subquery()
        columns = (PlaceRow.id, PlaceRow.name, PlaceRow.region, lying.c.kind, lying.c.state, lying.c.n)
        query = self._of_places(select(*columns).join(lying, lying.c.place_id == PlaceRow.id))
        return list(await self._session.execute(query.order_by(PlaceRow.region, PlaceRow.id)))

    async def free_numbers(self) -> int:
        """At most one more than `MOST_NUMBERS`."""
        some = (
            select(literal(1))
            .select_from(CardNumberRow)
            .where(CardNumberRow.state == fixed("free"), self._look.of_region(CardNumberRow.region))
            .limit(MOST_NUMBERS + 1)
            .subquery()
        )
        return await self._session.scalar(select(func.count()).select_from(some)) or 0

    async def office_names(self, paths: set[str]) -> dict[str, tuple[str, str]]:
        """Chinese and English names by path."""
        if not paths:
            return {}
        query = select(OfficeRow.office, OfficeRow.name_zh, OfficeRow.name_en).where(OfficeRow.office.in_(paths))
        return {row[0]: (row[1], row[2]) for row in await self._session.execute(query)}

    def _of_places(self, query: Select[Any]) -> Select[Any]:
        return query.where(self._look.of_region(PlaceRow.region), *self._of_office(PlaceRow.office))


def _key(by: Breakdown, at: Any) -> ColumnElement[Any]:
    keys: dict[Breakdown, Any] = {"day": china_day(at), "region": _A.region, "office": _A.office}
    return keys[by]  # type: ignore[no-any-return]


def _ranks(each: Subquery) -> tuple[ColumnElement[int], ColumnElement[int]]:
    """Of half and of nine tenths, by nearest rank."""
    return (each.c.n + 1) // 2, (each.c.n * 9 + 9) // 10


def _text(key: Any) -> str:
    return "" if key is None else key.isoformat() if isinstance(key, date) else str(key)
