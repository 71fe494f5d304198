"""Alerts (预警): rules looked at in the background, acknowledged by people, kept as history."""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.clients.auth import Caller
from issuance.clients.models import ClientRow
from issuance.database import add_unless_taken, insert_new
from issuance.paging import Page, PageRequest, fetch_page
from issuance.problems import ProblemError
from issuance.scope import EVERYWHERE
from issuance.services import Services
from issuance.stock.models import PlaceRow
from issuance.supervision.measures import Measured, Measures
from issuance.supervision.models import AlertEventRow, AlertRoundRow, AlertRow
from issuance.supervision.rules import AlertRule, Measure, alert_rules
from issuance.supervision.schemas import Acknowledgement, AlertEvent, AlertState, AlertView
from issuance.unit import SYSTEM, Unit, system_unit

_ROUND = "alerts"
_SELDOM: Final = {Measure.TAKINGS_UNEXPLAINED: ("takings", timedelta(hours=1))}
"""A day is many taps: these measures have rounds of their own, and their alerts stand as they are in between."""
_OPEN = ("raised", "acknowledged")


async def evaluate_alerts(services: Services) -> int:
    """The job: a round of all rules, by one replica; returns how many alerts began or ended."""
    if not await _is_ours(services, _ROUND, timedelta(seconds=services.settings.alerts_pause_s)):
        return 0
    resting = {name for name, (own, pause) in _SELDOM.items() if not await _is_ours(services, own, pause)}
    rules = alert_rules(services.settings.alerts_path).rule
    found = await _measured(services, [rule for rule in rules if rule.measure not in resting])
    async with system_unit(services) as unit:
        return await _Round(unit).settle(found, {rule.name for rule in rules if rule.measure in resting})


async def _measured(services: Services, rules: Sequence[AlertRule]) -> list[tuple[AlertRule, Measured]]:
    """Every rule with every place it was measured at; what is the same measure is taken once."""
    async with services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
        measures = Measures(Unit(session, services, Caller(SYSTEM, frozenset()), services.clock()))
        taken = {name: await measures.take(name) for name in dict.fromkeys(rule.measure for rule in rules)}
    return [(rule, found) for rule in rules for found in taken[rule.measure] if rule.holds_in(found.region)]


async def _is_ours(services: Services, name: str, pause: timedelta) -> bool:
    """Whether a round is due and no other replica runs it; the next one is after the pause."""
    now = services.clock()
    async with services.database.look() as session:
        due = await session.scalar(select(AlertRoundRow.next_at).where(AlertRoundRow.name == name))
    if due is not None and due > now:
        return False
    next_at = now + pause
    async with services.database.transaction() as session:
        if await insert_new(session, AlertRoundRow, [{"name": name, "next_at": next_at}]):
            return True
        mine = update(AlertRoundRow).where(AlertRoundRow.name == name, AlertRoundRow.next_at <= now)
        moved = await session.execute(mine.values(next_at=next_at).returning(AlertRoundRow.name))
        return moved.first() is not None


class _Round:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    async def settle(self, measured: Sequence[tuple[AlertRule, Measured]], resting: Set[str]) -> int:
        """`resting`: names of rules that were not measured."""
        rows = await self._unit.session.scalars(select(AlertRow).where(AlertRow.state.in_(_OPEN)).order_by(AlertRow.id))
        going = {(row.rule, row.subject): row for row in rows if row.rule not in resting}
        values = {(rule.name, found.subject): found.value for rule, found in measured}
        broken = {(r.name, m.subject): (r, m) for r, m in measured if r.is_broken_by(m.value)}
        changed = 0
        for key, (rule, found) in sorted(broken.items()):
            if key in going:
                row = going[key]
                row.value, row.worst = found.value, rule.worse(row.worst, found.value)
                row.seen_at, row.bound, row.severity = self._unit.now, rule.bound, rule.severity
            else:
                changed += await self._raise(rule, found)
        for key, row in going.items():
            if key not in broken:
                self._end(row, values.get(key, row.value))
                changed += 1
        return changed

    async def _raise(self, rule: AlertRule, found: Measured) -> bool:
        now = self._unit.now
        row = AlertRow(
            rule=rule.name,
            subject=found.subject,
            region=found.region,
            office=found.office,
            severity=rule.severity,
            value=found.value,
            worst=found.value,
            bound=rule.bound,
            state="raised",
            raised_at=now,
            seen_at=now,
        )
        if not await add_unless_taken(self._unit.session, row):
            return False
        self._unit.session.add(_event(self._unit, row, "raised"))
        return True

    def _end(self, row: AlertRow, value: float) -> None:
        row.state, row.value = "over", value
        row.seen_at = row.ended_at = self._unit.now
        self._unit.session.add(_event(self._unit, row, "over"))


async def count_raised(session: AsyncSession) -> int:
    query = select(func.count()).select_from(AlertRow).where(AlertRow.state == "raised")
    return await session.scalar(query) or 0


class AlertService:
    """What supervisors see of their regions and do about it."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._rules = alert_rules(unit.services.settings.alerts_path)

    async def find(
        self, page: PageRequest, *, state: AlertState | None = None, is_open: bool = False
    ) -> Page[AlertView]:
        """Newest first; `is_open`: raised or acknowledged."""
        query = select(AlertRow)
        if state is not None:
            query = query.where(AlertRow.state == state)
        if is_open:
            query = query.where(AlertRow.state.in_(_OPEN))
        rows, cursor = await fetch_page(self._unit.session, query, [AlertRow.id], page, is_descending=True)
        names = await self._names(rows)
        known = await self._acknowledged([row.id for row in rows])
        return Page(
            items=[self._view(row, names.get(row.subject, ""), known.get(row.id)) for row in rows], next_cursor=cursor
        )

    async def open_about(self, subject: str) -> list[AlertView]:
        """Newest first."""
        query = select(AlertRow).where(AlertRow.subject == subject, AlertRow.state.in_(_OPEN))
        rows = list(await self._unit.session.scalars(query.order_by(AlertRow.id.desc())))
        known = await self._acknowledged([row.id for row in rows])
        return [self._view(row, "", known.get(row.id)) for row in rows]

    async def count(self) -> int:
        """Of alerts nobody has acknowledged."""
        return await count_raised(self._unit.session)

    async def view(self, alert_id: int) -> AlertView:
        """With its history. Raises NOT_FOUND."""
        return await self._whole(await self._row(alert_id))

    async def acknowledge(self, alert_id: int, order: Acknowledgement) -> AlertView:
        """Somebody sees to it; what is acknowledged or over stays as it is. Raises NOT_FOUND."""
        row = await self._row(alert_id, is_locking=True)
        if row.state == "raised":
            row.state = "acknowledged"
            self._unit.session.add(_event(self._unit, row, "acknowledged", order.note))
            await self._unit.session.flush()
            await self._unit.audit(
                "alert.acknowledge", f"alert:{row.id}", region=row.region, detail={"rule": row.rule}, reason=order.note
            )
        return await self._whole(row)

    async def _row(self, alert_id: int, *, is_locking: bool = False) -> AlertRow:
        query = select(AlertRow).where(AlertRow.id == alert_id)
        row: AlertRow | None = await self._unit.session.scalar(
            query.with_for_update(key_share=True) if is_locking else query
        )
        if row is None:
            raise ProblemError("NOT_FOUND", "no such alert")
        return row

    async def _whole(self, row: AlertRow) -> AlertView:
        query = select(AlertEventRow).where(AlertEventRow.alert_id == row.id).order_by(AlertEventRow.id)
        events = list(await self._unit.session.scalars(query))
        by = next((event.by for event in events if event.act == "acknowledged"), None)
        view = self._view(row, (await self._names([row])).get(row.subject, ""), by)
        shown = [
            AlertEvent.model_validate({name: getattr(e, name) for name in AlertEvent.model_fields}) for e in events
        ]
        return view.model_copy(update={"events": shown})

    async def _names(self, rows: Sequence[AlertRow]) -> dict[str, str]:
        """Of the places and terminals that alerts are about."""
        found: dict[str, str] = {}
        for kind, key, name in (("place", PlaceRow.id, PlaceRow.name), ("terminal", ClientRow.id, ClientRow.name)):
            ids = [row.subject.partition(":")[2] for row in rows if row.subject.startswith(f"{kind}:")]
            if ids:
                named = await self._unit.session.execute(select(key, name).where(key.in_(ids)))
                found |= {f"{kind}:{row[0]}": row[1] for row in named}
        return found

    async def _acknowledged(self, ids: Sequence[int]) -> dict[int, str]:
        if not ids:
            return {}
        query = select(AlertEventRow.alert_id, AlertEventRow.by).where(
            AlertEventRow.alert_id.in_(ids), AlertEventRow.act == "acknowledged"
        )
        return {row[0]: row[1] for row in await self._unit.session.execute(query)}

    def _view(self, row: AlertRow, name: str, acknowledged_by: str | None) -> AlertView:
        rule = self._rules.named(row.rule)
        text_zh, text_en = (row.rule, row.rule) if rule is None else rule.words(row.value)
        fields: dict[str, Any] = {
            field: getattr(row, field)
            for field in ("id", "rule", "subject", "region", "severity", "state", "value", "worst", "bound")
        }
        return AlertView(
            **fields,
            name=name,
            text_zh=text_zh,
            text_en=text_en,
            remedy_zh="" if rule is None else rule.remedy_zh,
            remedy_en="" if rule is None else rule.remedy_en,
            raised_at=row.raised_at,
            seen_at=row.seen_at,
            ended_at=row.ended_at,
            acknowledged_by=acknowledged_by,
            events=[],
        )


def _event(unit: Unit, row: AlertRow, act: AlertState, note: str = "") -> AlertEventRow:
    return AlertEventRow(alert_id=row.id, act=act, at=unit.now, by=unit.by, value=row.value, note=note)
