"""The gate's own books: what it wrote into the journal for the centre, summed by the day of its clock.

The journal is the only truth. At the start the sums are made of it again, so that a power cut cannot part them: of the
last statement of a day and what was written down after it. A copy of the statements (`DAYS`) stands beside the gate's
own journal: should the one for the centre be lost, the gate tells again what it still knows, and goes on counting.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, ValidationError

from cardlib.terminal_records import RecordBody, RecordInvalidError
from cardlib.transit_code import CHINA
from cardlib.transit_gate_result import TapRecord
from cardlib.transit_takings import (
    MAX_REASONS,
    FreeRides,
    SumName,
    TakingsSum,
    TransitCodeRide,
    TransitDay,
    TransitRefusal,
    TransitTap,
    moment_of,
)
from cardlib.wire import Message
from hsm.sealed_store import write_atomically
from terminal_agent.journal.desk import JournalDesk
from terminal_agent.journal.store import DAMAGED, JournalFullError, RecordJournal

LOOKED_BACK: Final = timedelta(days=3)
TOLD_AGAIN: Final = timedelta(days=7)
"""Older taps are looked for in the books, not told again."""
DAYS: Final = "days.json"
MOST_KEYS: Final = 2048
"""More than the gate's own journal holds of what it handed on."""
_KINDS: Final = (TransitTap.kind, TransitCodeRide.kind, TransitDay.kind)
_FURTHER: Final = "OTHER"
_PASSED: Final[frozenset[SumName]] = frozenset({"paid", "recovered", "code"})
LOG = logging.getLogger("terminal_agent.transit")


@dataclass(slots=True)
class Day:
    """`sums` by outcome: how many records and their amounts in fen."""

    counter: str = field(default_factory=lambda: uuid.uuid4().hex)
    statement: int = 0
    sums: dict[SumName, tuple[int, int]] = field(default_factory=dict)
    free: tuple[int, int] = (0, 0)
    refusals: Counter[str] = field(default_factory=Counter)
    is_told: bool = True
    is_closed: bool = False

    def count(self, record: TransitTap | TransitCodeRide) -> None:
        name: SumName = "code" if isinstance(record, TransitCodeRide) else record.outcome
        many, fen = self.sums.get(name, (0, 0))
        self.sums[name] = many + 1, fen + record.amount_fen
        if name in _PASSED and record.amount_fen == 0 and record.fare_fen > 0:
            self.free = self.free[0] + 1, self.free[1] + record.fare_fen
        self.is_told = False

    def refuse(self, reason: str) -> None:
        is_full = reason not in self.refusals and len(self.refusals) >= MAX_REASONS - 1
        self.refusals[_FURTHER if is_full else reason] += 1
        self.is_told = False

    @classmethod
    def of(cls, told: TransitDay) -> Day:
        """As it was when this was said."""
        sums = {name: (each.count, each.fen) for name, each in told.sums.items()}
        free = told.free.count, told.free.fare_fen
        return cls(told.counter, told.statement, sums, free, Counter(told.refusals), is_closed=told.is_closed)

    def said(self, psam: str, day: date, *, is_closed: bool) -> TransitDay:
        return TransitDay(
            psam=psam,
            day=day.isoformat(),
            counter=self.counter,
            statement=self.statement + 1,
            is_closed=is_closed,
            sums={name: TakingsSum(count=many, fen=fen) for name, (many, fen) in self.sums.items()},
            free=FreeRides(count=self.free[0], fare_fen=self.free[1]),
            refusals=dict(self.refusals),
        )

    @property
    def taken_fen(self) -> int:
        return sum(fen for name, (_, fen) in self.sums.items() if name in _PASSED)

    def many(self, *names: SumName) -> int:
        return sum(self.sums.get(name, (0, 0))[0] for name in names)


class _Said(Message):
    """The last statements, and the keys of what they count, the newest last. `since`: from when on this terminal was
    known as `client`; what it did before is nothing to those it reports to now."""

    client: str | None
    since: AwareDatetime
    days: tuple[TransitDay, ...] = ()
    keys: tuple[str, ...] = ()


class Books:
    """Any thread may call. `clock` is the gate's, in Unix seconds."""

    def __init__(self, journal: JournalDesk, clock: Callable[[], float], folder: Path) -> None:
        self._journal = journal
        self._file = folder / DAYS
        self._clock = clock
        self._lock = threading.Lock()
        self._days: dict[date, Day] = {}
        self._since = datetime.max.replace(tzinfo=UTC)
        self._said: dict[date, TransitDay] = {}
        self._keys: deque[str] = deque(maxlen=MOST_KEYS)

    @property
    def today(self) -> date:
        return datetime.fromtimestamp(self._clock(), CHINA).date()

    def open(self) -> None:
        """Sums of the last days. Raises JournalFullError."""
        journal = self._kept()
        with self._lock:
            self._days, self._said = {}, {}
            self._keys.clear()
            for key, payload in self._written(journal):
                if isinstance(payload, TransitDay):
                    day = date.fromisoformat(payload.day)
                    self._days[day], self._said[day] = Day.of(payload), payload
                else:
                    self._day_of(payload.time).count(payload)
                    self._keys.append(key)
            said = self._read()
            self._since = said.since
            if said.client is None:
                self._write(_Said(client=self._journal.client_id, since=said.since))

    def recover(self, told: Sequence[TapRecord]) -> None:
        """After `open`, with what the gate's own journal still has of what it handed on. Where that stood in a journal
        for the centre that was lost, it is written down again under its keys: the centre takes each once. Raises
        JournalFullError."""
        journal = self._kept()
        standing = journal.standing()
        said = self._read()
        since = max(self._now() - TOLD_AGAIN, said.since)
        lost = [
            record
            for record in told
            if since <= moment_of(record.payload.time) < standing.begun_at and not journal.has(record.key)
        ]
        if not lost or standing.reason not in (None, DAMAGED):
            return
        LOG.error("%d taps went with the journal that was lost: they are told again", len(lost))
        counted = frozenset(said.keys)
        with self._lock:
            self._keys = deque(said.keys, MOST_KEYS)
            for record in lost:
                self._journal.write(record.payload, key=record.key)
            self._said = {date.fromisoformat(one.day): one for one in said.days}
            self._days = {day: Day.of(one) for day, one in self._said.items()}
            for key, payload in self._written(journal):
                if key not in counted and not isinstance(payload, TransitDay):
                    self._day_of(payload.time).count(payload)
                    self._keys.append(key)
            for day in self._days.values():
                day.is_told = False
        self.state(lost[-1].payload.psam)

    def take(self, record: TransitTap | TransitRefusal | TransitCodeRide, *, key: str, is_repeat: bool = False) -> None:
        """On disk when it returns; `is_repeat`: it may be there already. Raises JournalFullError."""
        with self._lock:
            journal = self._journal.journal()
            is_new = not is_repeat or journal is None or not journal.has(key)
            self._journal.write(record, key=key)
            if is_new and not isinstance(record, TransitRefusal):
                self._day_of(record.time).count(record)
                self._keys.append(key)

    def refuse(self, reason: str) -> None:
        with self._lock:
            self._days.setdefault(self.today, Day()).refuse(reason)

    def state(self, psam: str) -> None:
        """Tell the centre the sums of every day that has changed, or is over. Raises JournalFullError."""
        with self._lock:
            today, before = self.today, dict(self._said)
            for day, each in self._days.items():
                is_closed = day < today
                if each.is_told and (each.is_closed or not is_closed):
                    continue
                self._said[day] = each.said(psam, day, is_closed=is_closed)
                self._journal.write(self._said[day])
                each.statement, each.is_told, each.is_closed = each.statement + 1, True, is_closed
            for day in [day for day in self._days if day < today - LOOKED_BACK]:
                del self._days[day]
                self._said.pop(day, None)
            if self._said != before:
                days, keys = tuple(self._said.values()), tuple(self._keys)
                self._write(_Said(client=self._journal.client_id, since=self._since, days=days, keys=keys))

    def now(self) -> Day:
        """Today's, to look at."""
        with self._lock:
            return deepcopy(self._days.get(self.today, Day()))

    # -- what is written down -----------------------------------------------------------------------------------

    def _kept(self) -> RecordJournal:
        journal = self._journal.journal()
        if journal is None:
            raise JournalFullError("without a centre that knows this terminal nothing is written down")
        return journal

    def _written(self, journal: RecordJournal) -> Iterator[tuple[str, TransitTap | TransitCodeRide | TransitDay]]:
        """Of the last days, with their keys; oldest first."""
        since = datetime.combine(self.today - LOOKED_BACK, time(), CHINA).astimezone(UTC)
        for text in journal.bodies(_KINDS, since):
            try:
                body = RecordBody.from_text(text)
                payload = body.opened()
            except RecordInvalidError:  # of another version of this program
                continue
            if isinstance(payload, TransitTap | TransitCodeRide | TransitDay):
                yield body.key, payload

    def _write(self, said: _Said) -> None:
        try:
            write_atomically(self._file, said.model_dump_json().encode())
        except OSError as error:
            LOG.error("%s stays as it is: %s", self._file.name, error.strerror)

    def _read(self) -> _Said:
        """`client` None: nothing that counts."""
        with suppress(OSError, ValidationError):
            said = _Said.model_validate_json(self._file.read_bytes())
            if said.client == self._journal.client_id:
                return said
        return _Said(client=None, since=self._now())

    def _now(self) -> datetime:
        """To the second, as taps have it."""
        return datetime.fromtimestamp(int(self._clock()), UTC)

    def _day_of(self, moment: str) -> Day:
        return self._days.setdefault(date(int(moment[:4]), int(moment[4:6]), int(moment[6:8])), Day())
