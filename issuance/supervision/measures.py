"""What the alert rules look at, measured for every region or place of the service at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, select

from issuance.applications.models import ApplicationRow
from issuance.cards.models import FoundCardRow
from issuance.clients.models import ClientRow
from issuance.clock import china_date
from issuance.outbox.models import OutboxRow
from issuance.production.models import BatchRow, JobRow
from issuance.publication.models import PublicationRow
from issuance.rules import RuleError
from issuance.stock.models import BlankRow, CardNumberRow, PlaceRow
from issuance.supervision.figures import FiguresRepository, Period
from issuance.supervision.kiosks import READINGS, KioskState, Reading, kiosk_states
from issuance.supervision.rules import Measure
from issuance.supervision.sources import AT_THE_BANK, AT_THE_FACTORY, Look, fixed
from issuance.supervision.takings import unexplained
from issuance.terminals.fleet_models import InvitationRow, TerminalRow
from issuance.terminals.fleet_repository import is_silent
from issuance.unit import Unit

DAYS: Final = 7
_A = ApplicationRow


@dataclass(frozen=True, slots=True)
class Measured:
    """`subject` says where: `region:110000`, `place:hall-3`, `terminal:t-1`, `service:all`."""

    subject: str
    region: str | None
    office: str | None
    value: float


class Measures:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._session = unit.session
        self._rules = unit.services.rules
        self._now = unit.now
        self._kiosks: list[KioskState] | None = None
        self._figures = FiguresRepository(unit.session, Look(unit.now, ""))
        today = china_date(unit.now)
        self._period = Period(today - timedelta(days=DAYS - 1), today)
        self._by_name: dict[Measure, Callable[[], Awaitable[list[Measured]]]] = {
            Measure.STUCK: self._stuck,
            Measure.STUCK_HOURS: self._stuck_hours,
            Measure.REVIEW_HOURS: self._review_hours,
            Measure.BLANKS: self._blanks,
            Measure.NUMBERS: self._numbers,
            Measure.SPOILED_PERCENT: self._spoiled_percent,
            Measure.P90_HOURS: self._p90_hours,
            Measure.BATCH_DAYS: self._batch_days,
            Measure.FOUND_OVERDUE: self._found_overdue,
            Measure.OUTBOX_DEAD: self._outbox_dead,
            Measure.JOBS_STUCK: self._jobs_stuck,
            Measure.PUBLICATION_MINUTES: self._publication_minutes,
            Measure.PUBLICATION_DAYS: self._publication_days,
            Measure.TERMINALS_SILENT: self._terminals_silent,
            Measure.TERMINAL_CODES_AGAIN: self._terminal_codes_again,
            Measure.TAKINGS_UNEXPLAINED: self._takings_unexplained,
        }

    async def take(self, measure: Measure) -> list[Measured]:
        if measure in READINGS:
            return await self._of_kiosks(READINGS[measure])
        return await self._by_name[measure]()

    async def _stuck(self) -> list[Measured]:
        return [_of_region(region, count) for region, count in (await self._figures.stuck("region")).items()]

    async def _stuck_hours(self) -> list[Measured]:
        is_late = and_(_A.case_step.is_not(None), _A.case_deadline <= self._now)
        return await self._oldest(_A.region, _A.case_deadline, is_late)

    async def _review_hours(self) -> list[Measured]:
        return await self._oldest(_A.region, _A.created_at, _A.state == fixed("submitted"))

    async def _blanks(self) -> list[Measured]:
        """Of every open outlet, those without any too."""
        lying = and_(
            BlankRow.place_id == PlaceRow.id, BlankRow.kind == fixed("blank"), BlankRow.state == fixed("in_stock")
        )
        query = (
            select(PlaceRow.id, PlaceRow.region, PlaceRow.office, func.count(BlankRow.reset_information))
            .outerjoin(BlankRow, lying)
            .where(PlaceRow.kind == "outlet", PlaceRow.state == "open")
            .group_by(PlaceRow.id, PlaceRow.region, PlaceRow.office)
        )
        return [
            Measured(f"place:{place}", region, office, count)
            for place, region, office, count in await self._session.execute(query)
        ]

    async def _numbers(self) -> list[Measured]:
        """Of the pool of every rule pack under which there is a place, empty ones too."""
        regions = await self._session.scalars(select(PlaceRow.region).where(PlaceRow.state == "open").distinct())
        left = dict.fromkeys((self._pool(region) for region in regions), 0)
        query = select(CardNumberRow.region, func.count()).where(CardNumberRow.state == fixed("free"))
        for region, count in await self._session.execute(query.group_by(CardNumberRow.region)):
            left[self._pool(region)] = left.get(self._pool(region), 0) + count
        return [_of_region(region, count) for region, count in left.items()]

    async def _spoiled_percent(self) -> list[Measured]:
        spoiled = await self._figures.spoiled(self._period, "region")
        issued = {row.key: row.n for row in await self._figures.ended(self._period, "region") if row.state == "enabled"}
        return [_of_region(region, 100 * count / (count + issued.get(region, 0))) for region, count in spoiled.items()]

    async def _p90_hours(self) -> list[Measured]:
        rows = await self._figures.ended(self._period, "region")
        slowest = {row.key: float(row.seconds) for row in rows if row.state == "enabled"}  # the later row is of p90
        return [_of_region(region, seconds / 3600) for region, seconds in slowest.items()]

    async def _batch_days(self) -> list[Measured]:
        waits = BatchRow.state.in_((*AT_THE_BANK, *AT_THE_FACTORY))
        hours = await self._oldest(BatchRow.region, BatchRow.updated_at, waits)
        return [Measured(found.subject, found.region, None, found.value / 24) for found in hours]

    async def _found_overdue(self) -> list[Measured]:
        overdue = and_(FoundCardRow.state == fixed("kept"), FoundCardRow.keep_until <= self._now)
        return await self._counted(select(FoundCardRow.region, func.count()).where(overdue), FoundCardRow.region)

    async def _outbox_dead(self) -> list[Measured]:
        query = select(OutboxRow.region, func.count()).where(OutboxRow.state == "dead")
        return await self._counted(query, OutboxRow.region)

    async def _jobs_stuck(self) -> list[Measured]:
        query = select(JobRow.region, func.count()).where(JobRow.state == "stuck")
        return await self._counted(query, JobRow.region)

    async def _publication_minutes(self) -> list[Measured]:
        """Of the part that waits longest; one that never went well waits since its first round."""
        oldest = await self._session.scalar(
            select(func.min(func.coalesce(PublicationRow.published_at, PublicationRow.begun_at)))
        )
        return [] if oldest is None else [_of_region(None, (self._now - oldest).total_seconds() / 60)]

    async def _publication_days(self) -> list[Measured]:
        ends = await self._session.scalar(select(func.min(PublicationRow.valid_until)))
        return [] if ends is None else [_of_region(None, (ends - self._now).total_seconds() / 86_400)]

    async def _terminals_silent(self) -> list[Measured]:
        query = (
            select(TerminalRow.region, func.count())
            .join(ClientRow, ClientRow.id == TerminalRow.client_id)
            .where(ClientRow.status == fixed("active"), is_silent(self._now))
        )
        return await self._counted(query, TerminalRow.region)

    async def _terminal_codes_again(self) -> list[Measured]:
        lately = InvitationRow.again_at > self._now - timedelta(days=1)
        return await self._counted(select(InvitationRow.region, func.count()).where(lately), InvitationRow.region)

    async def _takings_unexplained(self) -> list[Measured]:
        found = await unexplained(self._unit)
        return [Measured(f"terminal:{name}", region, None, count) for (name, region), count in found.items()]

    async def _of_kiosks(self, reading: Reading) -> list[Measured]:
        if self._kiosks is None:
            self._kiosks = await kiosk_states(self._session, self._now)
        values = ((kiosk, reading(kiosk)) for kiosk in self._kiosks)
        return [
            Measured(f"terminal:{kiosk.client_id}", kiosk.region, None, value)
            for kiosk, value in values
            if value is not None
        ]

    # -- inside -------------------------------------------------------------------------------------------------------

    def _pool(self, region: str) -> str:
        try:
            return self._rules.pack(region).region
        except RuleError:
            return region

    async def _oldest(self, region: Any, at: Any, condition: ColumnElement[bool]) -> list[Measured]:
        """Hours since the earliest moment."""
        query = select(region, func.min(at)).where(condition).group_by(region)
        return [
            _of_region(key, (self._now - earliest).total_seconds() / 3600)
            for key, earliest in await self._session.execute(query)
        ]

    async def _counted(self, query: Any, region: Any) -> list[Measured]:
        return [_of_region(key, count) for key, count in await self._session.execute(query.group_by(region))]


def _of_region(region: str | None, value: float) -> Measured:
    return Measured(f"region:{region}" if region else "service:all", region or None, None, float(value))
