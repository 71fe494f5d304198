"""Queries of the statistics, straight from applications, stock and ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, String, exists, func, literal, or_, select
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

    async def applied(self, period: Period, by: Breakdown) -> dict[str, int]:
        key = _key(by, _A.created_at)
        query = select(key, func.count()).where(
            _A.created_at >= period.begins, _A.created_at < period.ends, *self._mine()
        )
        rows = await self._session.execute(query.group_by(key))
        return {_text(row[0]): row[1] for row in rows}

    async def ended(self, period: Period, by: Breakdown | None) -> list[Row[Any]]:
        """Rows of key, state, number and seconds: two for each key and state, of half and of nine tenths of them.

        Nearest rank. With one card in a group both are the same row.
        """
        key: ColumnElement[Any] = literal("", String) if by is None else _key(by, _A.ended_at)
        seconds = seconds_between(_A.created_at, _A.ended_at)
        each = (
            select(
                key.label("key"),
                _A.state.label("state"),
                seconds.label("seconds"),
                func.row_number().over(partition_by=[key, _A.state], order_by=seconds).label("rank"),
                func.count().over(partition_by=[key, _A.state]).label("n"),
            )
            .where(_A.ended_at.is_not(None), _A.ended_at >= period.begins, _A.ended_at < period.ends, *self._mine())
            .subquery()
        )
        half, most = (each.c.n + 1) // 2, (each.c.n * 9 + 9) // 10
        query = select(each.c.key, each.c.state, each.c.n, each.c.seconds, (each.c.rank == half).label("is_half"))
        query = query.where(or_(each.c.rank == half, each.c.rank == most))
        return list(await self._session.execute(query.order_by(each.c.key, each.c.state, each.c.rank)))

    async def stuck(self, by: Breakdown | None) -> dict[str, int]:
        key: ColumnElement[Any] = literal("", String) if by is None else _key(by, _A.created_at)
        is_stuck = or_(_A.case_reason.is_not(None), _A.case_deadline <= self._look.now)
        query = select(key.label("key"), func.count()).where(_A.case_step.is_not(None), is_stuck, *self._mine())
        rows = await self._session.execute(query if by is None else query.group_by(key))
        return {_text(row[0]): row[1] for row in rows}

    async def spoiled(self, period: Period, by: Breakdown) -> dict[str, int]:
        keys: dict[Breakdown, Any] = {"day": LedgerRow.day, "region": PlaceRow.region, "office": PlaceRow.office}
        query = self._of_places(
            select(keys[by], func.sum(LedgerRow.quantity)).join(PlaceRow, PlaceRow.id == LedgerRow.place_id)
        ).where(
            LedgerRow.act == fixed("spoil"),
            LedgerRow.kind == fixed("spoiled"),
            LedgerRow.day.between(period.first, period.last),
        )
        return {_text(row[0]): int(row[1]) for row in await self._session.execute(query.group_by(keys[by]))}

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


def _text(key: Any) -> str:
    return "" if key is None else key.isoformat() if isinstance(key, date) else str(key)
