"""What transit terminals told on its way into the books: each tap once, its TAC proved, its purse's books gone over."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cardlib.transit_clearing import Judged, Told, Verdict, standings
from cardlib.transit_takings import (
    TransitCodeRide,
    TransitDay,
    TransitPayload,
    TransitRefusal,
    TransitTap,
    moment_of,
)
from issuance.clock import china_date
from issuance.database import insert_all
from issuance.journeys.keys import TacChecks
from issuance.journeys.models import TransitDayRow, TransitRefusalRow, TransitRideRow, TransitTapRow
from issuance.journeys.repository import JourneyRepository, Name, Purse
from issuance.journeys.sums import SumChanges
from issuance.unit import Unit

if TYPE_CHECKING:
    from issuance.terminals.service import Taken

T = TypeVar("T", TransitTap, TransitRefusal, TransitCodeRide, TransitDay)

_CONFLICT: Final = "CONFLICT"
_LONGEST: Final = timedelta(days=30)
"""Between a tap and its record, of a purse that came back late; more is a clock that was set in between."""


def names_of(taken: Sequence[Taken]) -> set[tuple[str, str]]:
    """What must be locked before these are judged: PSAMs, purses and codes."""
    found = set()
    for one in taken:
        if isinstance(one.payload, TransitTap):
            found |= {("psam", one.payload.psam), ("purse", one.payload.issuer + one.payload.serial)}
        elif isinstance(one.payload, TransitCodeRide):
            found.add(("transit code", one.payload.code))
    return found


class JourneyIntake:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._rows = JourneyRepository(unit.session)
        self._sums = SumChanges()

    async def judge(self, taken: Sequence[Taken]) -> None:
        """Refuse a tap that its terminal told of already. What another one says about it is for the clearing rule, or a
        forged record would keep the true one out."""
        new = [(one, one.payload) for one in taken if not one.is_repeated]
        taps = [(one, _name(tap)) for one, tap in new if isinstance(tap, TransitTap)]
        told = await self._rows.told(self._unit.caller.client_id, {name for _, name in taps})
        for one, name in taps:
            if name in told:
                one.refuse(_CONFLICT, "this tap is in the books already")
            told.add(name)

    async def book(self, journal_id: str, taken: Sequence[Taken]) -> None:
        """Store what could be used. What is known of each purse is gone over again, so that its next tap decides what
        nobody knew."""
        source = _Source(self._unit, journal_id)
        await self._book_taps(list(source.of(taken, TransitTap)))
        await self._book_rides(list(source.of(taken, TransitCodeRide)))
        refusals = [own | _refusal_columns(refusal) for own, refusal, _ in source.of(taken, TransitRefusal)]
        await insert_all(self._unit.session, TransitRefusalRow, refusals)
        for own, day, at in source.of(taken, TransitDay):
            await self._keep_statement(own, day, at)
        await self._rows.change_sums(self._sums.rows())

    async def _book_taps(self, taps: Sequence[tuple[dict[str, Any], TransitTap, datetime]]) -> None:
        services = self._unit.services
        checks = TacChecks(services.keys, services.settings.transit_issuers)
        verdicts = await asyncio.to_thread(lambda: [checks.verdict(tap) for _, tap, _ in taps])
        books: dict[Purse, _PurseBook] = defaultdict(_PurseBook)
        for (own, tap, at), verdict in zip(taps, verdicts, strict=True):
            columns = own | _tap_columns(tap) | {"verdict": verdict.value}
            books[tap.issuer, tap.serial].new.append((columns, Told.of(tap, verdict, at, own["client_id"])))
        for row in await self._rows.beside({(tap.serial, tap.sequence) for _, tap, _ in taps}):
            if (row.issuer, row.serial) in books:
                books[row.issuer, row.serial].old.append(row)
        for (issuer, serial), book in books.items():
            if book.is_doubtful:
                book.old = [row for row in await self._rows.since(serial, book.lowest) if row.issuer == issuer]
            for row, judged in book.judge():
                self._sums.move(row, judged.standing.value, judged.why.value if judged.why else None)
                await self._rows.stand(row, judged)
        rows = [columns for book in books.values() for columns, _ in book.new]
        for columns in rows:
            self._sums.add(columns)
        await insert_all(self._unit.session, TransitTapRow, rows)

    async def _book_rides(self, rides: Sequence[tuple[dict[str, Any], TransitCodeRide, datetime]]) -> None:
        used = await self._rows.used_codes({ride.code for _, ride, _ in rides})
        rows = []
        for own, ride, _ in rides:
            columns = ride.model_dump(exclude={"place", "outcome"}) | _place_columns(ride)
            rows.append(own | columns | {"standing": "refused" if ride.code in used else "booked"})
            self._sums.add(rows[-1])
            used.add(ride.code)
        await insert_all(self._unit.session, TransitRideRow, rows)

    async def _keep_statement(self, own: dict[str, Any], day: TransitDay, at: datetime) -> None:
        before = await self._rows.statement(own["client_id"], day.counter, own["clock_day"])
        if before is not None and before.statement >= day.statement:
            return
        values = day.model_dump(mode="json", exclude={"day"}) | {"at": at}
        values |= {name: own[name] for name in ("client_id", "clock_day", "region", "journal_id", "sequence")}
        if before is None:
            self._rows.add(TransitDayRow(**values))
        else:
            for name, value in values.items():
                setattr(before, name, value)
        await self._unit.session.flush()


@dataclass(slots=True)
class _PurseBook:
    """What is told anew of one purse, as columns, and what of its rows that may change."""

    new: list[tuple[dict[str, Any], Told]] = field(default_factory=list)
    old: list[TransitTapRow] = field(default_factory=list)

    @property
    def told(self) -> list[Told]:
        return [*map(told_of, self.old), *(told for _, told in self.new)]

    @property
    def is_doubtful(self) -> bool:
        """Whether anything is unproved: then all that came later counts."""
        return any(one.outcome != "void" and one.verdict is Verdict.NONE for one in self.told)

    @property
    def lowest(self) -> int:
        return min(one.sequence for one in self.told)

    def judge(self) -> list[tuple[TransitTapRow, Judged]]:
        """Puts the standings into what is new; returns the rows whose standing is another now."""
        judged = standings(self.told)
        for (columns, _), one in zip(self.new, judged[len(self.old) :], strict=True):
            columns |= {"standing": one.standing.value, "why": one.why.value if one.why else None}
        pairs = zip(self.old, judged, strict=False)
        return [(row, one) for row, one in pairs if (row.standing, row.why) != (one.standing, one.why)]


class _Source:
    """Where the rows of one batch come from."""

    def __init__(self, unit: Unit, journal_id: str) -> None:
        self._own = {
            "journal_id": journal_id,
            "client_id": unit.caller.client_id,
            "region": unit.caller.region,
        }

    def of(self, taken: Sequence[Taken], kind: type[T]) -> Iterator[tuple[dict[str, Any], T, datetime]]:
        """Columns all kinds have, what was told, and when it happened."""
        for one in taken:
            if one.payload is None or one.body is None or one.is_repeated or not isinstance(one.payload, kind):
                continue
            at = one.at if isinstance(one.payload, TransitDay) else happened(one.payload.time, one.body.at, one.at)
            clock_day = _clock_day(one.payload)
            days = {"at": at, "day": china_date(at), "clock_day": clock_day}
            yield self._own | {"sequence": one.sent.sequence} | days, one.payload, at


def happened(time: str, written: datetime, moment: datetime) -> datetime:
    """When it really was `time` on the clock that said `written` at `moment`."""
    earlier = written - moment_of(time)
    return moment - earlier if timedelta(0) <= earlier <= _LONGEST else moment


def told_of(row: TransitTapRow) -> Told:
    verdict: Verdict = Verdict(row.verdict)
    shown = row.offline, row.balance_fen, row.amount_fen
    outcome: Any = row.outcome
    return Told(row.psam, row.number, *shown, outcome, verdict, row.at, row.client_id)


def _clock_day(payload: TransitPayload) -> date:
    if isinstance(payload, TransitDay):
        return date.fromisoformat(payload.day)
    return moment_of(payload.time).date()


def _name(tap: TransitTap) -> Name:
    return tap.psam, tap.number, tap.outcome


def _tap_columns(tap: TransitTap) -> dict[str, Any]:
    columns = tap.model_dump(exclude={"place", "entry", "sequence"}) | _place_columns(tap)
    entry = tap.entry
    return columns | {
        "offline": tap.sequence,
        "entry_psam": entry.psam if entry else None,
        "entry_line": entry.line if entry else None,
        "entry_station": entry.station if entry else None,
        "entry_time": entry.time if entry else None,
    }


def _place_columns(ride: TransitTap | TransitCodeRide) -> dict[str, Any]:
    place = ride.place
    return {
        "place_city": place.city,
        "industry": place.industry,
        "line": place.line,
        "station": place.station,
    }


def _refusal_columns(refusal: TransitRefusal) -> dict[str, Any]:
    place = refusal.place
    return refusal.model_dump(exclude={"place"}) | {"line": place.line, "station": place.station}
