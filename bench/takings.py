"""Takings of gates at the centre: what booking a tap costs however many there are, the hourly look at the days that
are over, and the page of a day.

The intake itself books every tap, in batches as gates send them, into a SQLite file; TACs are not computed. What a
round costs depends on gates and days, not on taps, so that a city's is counted up from this one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, Final

from rich.table import Table

from bench.keys import simulated_keys
from bench.measure import BenchError, heading, mark
from cardlib.transit_takings import TapEntry, TapPlace, TransitDay, TransitTap
from issuance.app import close_services, create_services
from issuance.clients.auth import Caller
from issuance.clients.schemas import Role
from issuance.clock import CHINA
from issuance.database import migrate
from issuance.journeys.days import DayService
from issuance.journeys.intake import JourneyIntake
from issuance.scope import EVERYWHERE
from issuance.services import Services
from issuance.settings import Settings
from issuance.supervision.takings import DAYS, unexplained
from issuance.unit import Unit

GATES: Final = 500
TAPS: Final = 100
"""A day, of each of them; two days are over."""
BUSY: Final = 100_000
"""Taps of the one gate whose page is asked for, on the first day."""
BATCH: Final = 100
CITY_GATES: Final = 5000
"""10 million taps a day."""
ROUND_TARGET_S: Final = 120.0
PAGE_TARGET_S: Final = 1.0
FIRST: Final = date(2026, 1, 5)
OVER: Final = datetime(2026, 1, 7, 0, tzinfo=UTC)
BUSIEST: Final = "gate-busy"
_DAY_S: Final = 64_800
_PRODUCTS: Final[tuple[dict[str, Any], ...]] = (
    {"product": "plain"},
    {"product": "plain"},
    {"product": "plain"},
    {"product": "student-half", "fare_fen": 600},
    {"product": "senior-free", "catalog_item": "joint-transport-free-ride", "amount_fen": 0},
)
_ISSUER: Final = "09990100FFFFFFFF"
_TAP: Final = TransitTap(
    psam="099900000000",
    number="00000000",
    issuer=_ISSUER,
    serial="0" * 20,
    city="9901",
    passenger_class=1,
    product="plain",
    sequence=0,
    balance_fen=10_000,
    amount_fen=300,
    fare_fen=300,
    type=9,
    mode="metro_exit",
    time="20260105060000",
    key_version=1,
    algorithm=4,
    tac="00000000",
    is_verified=True,
    acceptor=_ISSUER,
    place=TapPlace(city="9901", industry=1, line=2, station=5),
    outcome="paid",
)


@dataclass(frozen=True, slots=True)
class TakingsResult:
    """CPU seconds of this process. `booking_us` of a tap: median of the first batches and of the last.
    `city_round_s`: counted up to a city's gates and all days of a round."""

    taps: int
    gates: int
    booking_us: tuple[float, float]
    round_s: float
    city_round_s: float
    page_s: float
    day_page_s: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        table = Table(title=f"收款核对 / takings: {self.taps:,} 次刷卡 / taps，{self.gates:,} 台闸机 / gates")
        table.add_column(heading("事项", "what"), no_wrap=True)
        table.add_column(heading("处理器秒", "CPU s"), justify="right")
        first, last = (value / 1e6 for value in self.booking_us)
        city = f"{CITY_GATES:,} 台闸机 {DAYS} 天 / gates, days"
        for what, spent, is_met in (
            ("入账一次，开始 / booking a tap, at first", f"{first:.6f}", None),
            ("入账一次，最后 / booking a tap, at last", f"{last:.6f}", None),
            ("每小时一轮 / hourly round", f"{self.round_s:.3f}", None),
            (f"一轮，{city}", f"{self.city_round_s:.1f}", self.city_round_s <= ROUND_TARGET_S),
            (f"一台一天 / one gate's day, {BUSY:,}", f"{self.page_s:.3f}", self.page_s <= PAGE_TARGET_S),
            ("全部一天 / the day of all", f"{self.day_page_s:.3f}", None),
        ):
            table.add_row(what, f"{spent} {mark(is_met)}")
        return [table]


class _Gate:
    def __init__(self, services: Services, name: str, index: int) -> None:
        self.services, self.name, self.psam, self.journal = services, name, f"0999{index:08d}", f"{index:032x}"
        self.caller = Caller(name, frozenset({Role.TERMINAL}), "130000")
        self.sequence = self.taps = 0
        self.entry: TapEntry | None = None

    async def work(self, day: date, taps: int) -> list[float]:
        """Books a day's taps and what the gate says of them; CPU microseconds of a tap, batch by batch."""
        midnight, spent, fen = datetime(day.year, day.month, day.day, tzinfo=CHINA), [], 0
        for first in range(0, taps, BATCH):
            moments = [_moment(midnight, number / taps) for number in range(first, min(first + BATCH, taps))]
            told = [(self._tap(at), at) for at in moments]
            fen += sum(tap.amount_fen for tap, _ in told)
            begun = time.process_time()
            await self._book(told)
            spent.append(1e6 * (time.process_time() - begun) / len(told))
        sums = {"paid": {"count": taps, "fen": fen}}
        said = {"psam": self.psam, "day": day.isoformat(), "counter": "c" * 32, "statement": 1, "sums": sums}
        await self._book([(TransitDay.model_validate(said | {"is_closed": True}), _moment(midnight, 1))])
        return spent

    def _tap(self, at: datetime) -> TransitTap:
        """In and out in turn, every purse twice."""
        purse, is_exit = divmod(self.taps, 2)
        self.taps += 1
        change: dict[str, Any] = {"psam": self.psam, "number": f"{self.taps:08X}", "time": f"{at:%Y%m%d%H%M%S}"}
        change |= {"serial": f"0999{self.psam[-6:]}{purse:010d}", "sequence": 16 + is_exit}
        if is_exit:
            change |= _PRODUCTS[purse % len(_PRODUCTS)] | {"entry": self.entry}
        else:
            change |= {"mode": "metro_entry", "amount_fen": 0, "fare_fen": 0}
            self.entry = TapEntry(psam=self.psam, line=2, station=5, time=change["time"])
        return _TAP.model_copy(update=change)

    async def _book(self, told: Sequence[tuple[TransitTap | TransitDay, datetime]]) -> None:
        taken: list[Any] = []
        for payload, at in told:
            self.sequence += 1
            sent, body = SimpleNamespace(sequence=self.sequence), SimpleNamespace(at=at)
            taken.append(SimpleNamespace(sent=sent, body=body, at=at, payload=payload, is_repeated=False))
        async with self.services.database.transaction(scope=EVERYWHERE) as session:
            intake = JourneyIntake(Unit(session, self.services, self.caller, told[-1][1]))
            await intake.judge(taken)
            await intake.book(self.journal, taken)


def _moment(midnight: datetime, share: float) -> datetime:
    """From six in the morning until midnight."""
    return midnight + timedelta(seconds=21_600 + int((_DAY_S - 1) * share))


async def _measure(services: Services, gates: int, taps: int, busy: int) -> TakingsResult:
    days = FIRST, FIRST + timedelta(days=1)
    spent = await _Gate(services, BUSIEST, 0).work(FIRST, busy)
    for index in range(1, gates + 1):
        gate = _Gate(services, f"gate-{index}", index)
        for day in days:
            last = await gate.work(day, taps)
    round_s, found = await _timed(services, unexplained)
    page_s, page = await _timed(services, lambda unit: DayService(unit).of(FIRST, terminal=BUSIEST))
    day_page_s, whole = await _timed(services, lambda unit: DayService(unit).of(FIRST, has_exits=False))
    if found or not whole.is_explained or page.sums.taps.count != busy or whole.difference_fen:
        raise BenchError("the books do not agree with what the gates said")
    return TakingsResult(
        taps=busy + gates * taps * len(days),
        gates=gates + 1,
        booking_us=(round(median(spent[: len(spent) // 10 + 1]), 1), round(median(last), 1)),
        round_s=round(round_s, 3),
        city_round_s=round(round_s * CITY_GATES * DAYS / (gates * len(days)), 1),
        page_s=round(page_s, 3),
        day_page_s=round(day_page_s, 3),
    )


async def _timed(services: Services, work: Callable[[Unit], Awaitable[Any]]) -> tuple[float, Any]:
    """CPU seconds, the database's too: SQLite works in this process."""
    async with services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
        begun = time.process_time()
        found = await work(Unit(session, services, Caller("bench", frozenset()), OVER))
        return time.process_time() - begun, found


async def _stand(folder: Path, gates: int, taps: int, busy: int) -> TakingsResult:
    url = f"sqlite+aiosqlite:///{folder / 'issuance.db'}"
    migrate(url)
    settings = Settings(database_url=url, tasks_pause_s=0, transit_issuers=("00000000",))
    with simulated_keys() as (keys, _):
        services = create_services(settings, keys)
        try:
            return await _measure(services, gates, taps, busy)
        finally:
            await close_services(services)


def measure(*, gates: int = GATES, taps: int = TAPS, busy: int = BUSY) -> TakingsResult:
    with TemporaryDirectory(prefix="onecard-bench-") as name:
        return asyncio.run(_stand(Path(name), gates, taps, busy))
