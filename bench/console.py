"""Server time of what the console shows, over a million synthetic people in PostgreSQL: p50 and p95 of each view.

The services run in this process, one transaction each, without HTTP and without the page around them. A clerk of one
district asks, and a supervisor of the whole province; both must be served. Every plan is looked at too: none may read
a large table from end to end.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Table
from sqlalchemy import event

from bench.console_load import CLIENT, DISTRICTS, Loaded, Loader
from bench.measure import heading, mark
from cardlib.client_auth import ClientKey
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.app import close_services, create_services
from issuance.clients.auth import Caller
from issuance.clients.schemas import Role
from issuance.clients.service import bootstrap_client
from issuance.database import migrate
from issuance.paging import PageRequest
from issuance.person_file.schemas import FileOrder
from issuance.person_file.service import PersonFileService
from issuance.privacy.service import PersonSearch
from issuance.progress.schemas import ProgressQuestion
from issuance.progress.service import ProgressService
from issuance.services import Services
from issuance.settings import Settings
from issuance.supervision.alerts import AlertService
from issuance.supervision.queues import WorkQueues
from issuance.supervision.schemas import Queue
from issuance.supervision.statistics import StatisticsService
from issuance.unit import Unit, open_unit

PEOPLE: Final = 1_000_000
ROUNDS: Final = 40
TARGET_MS: Final = 100.0
PAGE: Final = 50
LARGE: Final = frozenset(
    {
        "persons",
        "applications",
        "application_steps",
        "cards",
        "card_events",
        "ecards",
        "card_numbers",
        "audit_entries",
        "stock_ledger",
        "blanks",
    }
)
View = Callable[[Unit], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class ViewRow:
    """`scans`: large tables that a plan of this view reads from end to end."""

    view: str
    name_zh: str
    who: str
    p50_ms: float
    p95_ms: float
    statements: int
    scans: list[str] = field(default_factory=list)

    @property
    def is_met(self) -> bool:
        return self.p95_ms <= TARGET_MS and not self.scans


@dataclass(frozen=True, slots=True)
class ConsoleResult:
    people: int
    load_s: float
    rows: list[ViewRow]
    skipped: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_met": all(row.is_met for row in self.rows)}

    def tables(self) -> list[Table | str]:
        if not self.rows:
            return [f"跳过 / skipped: {reason}" for reason in self.skipped]
        table = Table(
            title=f"监管 / console · {self.people:,} 人 / people · postgresql",
            caption=f"装入 / loaded in {self.load_s:.0f} s · p95 ≤ {TARGET_MS:.0f} ms，无全表扫描 / no full scans",
        )
        table.add_column(heading("视图", "view"), no_wrap=True)
        table.add_column(heading("谁", "who"))
        for zh, en in (("中位", "p50 ms"), ("95%", "p95 ms"), ("语句", "SQL"), ("全表扫描", "scans")):
            table.add_column(heading(zh, en), justify="right")
        table.add_column("")
        for row in self.rows:
            figures = (f"{row.p50_ms:.1f}", f"{row.p95_ms:.1f}", str(row.statements), ", ".join(row.scans))
            table.add_row(f"{row.name_zh} / {row.view}", row.who, *figures, mark(row.is_met))
        return [table]


def measure(*, people: int = PEOPLE, rounds: int = ROUNDS) -> ConsoleResult:
    from tests.issuance.postgres import binaries, running

    programs = binaries()
    if programs is None:
        return ConsoleResult(people, 0.0, [], ["PostgreSQL: no server is installed"])
    with tempfile.TemporaryDirectory(prefix="onecard-bench-") as folder, running(programs) as server:
        server.create("bench")
        return asyncio.run(_Run(people, rounds, Path(folder)).measure(server.url("bench")))


class _Run:
    def __init__(self, people: int, rounds: int, folder: Path) -> None:
        self._people = people
        self._rounds = rounds
        self._folder = folder
        self._chance = random.Random(7)
        self._services: Services
        self._loaded: Loaded

    async def measure(self, url: str) -> ConsoleResult:
        migrate(url)
        await bootstrap_client(url, CLIENT, ClientKey.generate(CLIENT).public_jwk(), ("operator",))
        with SoftKeyService.create(self._folder / "keys", "bench passphrase", cost=ScryptCost(n=1 << 4)) as keys:
            self._services = create_services(Settings(database_url=url, tasks_pause_s=0), keys)
            try:
                started = time.perf_counter()
                loader = Loader(url, self._services.sealer, datetime.now(UTC), self._people)
                self._loaded = await asyncio.to_thread(loader.load)
                load_s = time.perf_counter() - started
                return ConsoleResult(self._people, load_s, await self._views(), [])
            finally:
                await close_services(self._services)

    async def _views(self) -> list[ViewRow]:
        views: list[tuple[str, str, View]] = [
            ("queues", "队列件数", lambda unit: WorkQueues(unit).counts()),
            *((f"queue {queue.value}", "队列", _queue(queue)) for queue in Queue),
            ("search name", "按姓名找", lambda unit: PersonSearch(unit).by_name(self._one(self._loaded.names))),
            ("search number", "按号码找", lambda unit: PersonSearch(unit).by_number(self._one(self._loaded.numbers))),
            ("person file", "一人一档", self._file),
            ("dashboard", "看板", lambda unit: StatisticsService(unit).dashboard()),
            ("alerts", "预警", lambda unit: AlertService(unit).find(PageRequest(PAGE), is_open=True)),
        ]
        rows = [
            await self._view(name, zh, who, region, view)
            for name, zh, view in views
            for who, region in (("province", "110000"), ("district", DISTRICTS[3]))
            if name != "person file" or who == "province"
        ]
        return [*rows, await self._progress()]

    async def _view(self, name: str, name_zh: str, who: str, region: str, view: View) -> ViewRow:
        caller = Caller(CLIENT, frozenset({Role.OPERATOR}), region)
        is_reading = name != "person file"
        times = []
        for _ in range(self._rounds):
            started = time.perf_counter()
            async with open_unit(self._services, caller, name, Role.OPERATOR, is_reading=is_reading) as unit:
                await view(unit)
            times.append((time.perf_counter() - started) * 1000)
        with self._statements() as seen:
            async with open_unit(self._services, caller, name, Role.OPERATOR, is_reading=is_reading) as unit:
                await view(unit)
        return _row(name, name_zh, who, times, seen, await self._scans(seen))

    async def _progress(self) -> ViewRow:
        """Asked without logging in; the check does not fit, which costs the same."""
        service, times = ProgressService(self._services), []
        for number in range(self._rounds):
            question = ProgressQuestion(receipt_number=self._one(self._loaded.receipts), check="000000")
            started = time.perf_counter()
            try:
                await service.ask(question, f"network {number}")
            except Exception as error:
                if getattr(error, "failure", "") != "PROGRESS_UNKNOWN":
                    raise
            times.append((time.perf_counter() - started) * 1000)
        return _row("progress", "进度", "citizen", times, [], [])

    async def _file(self, unit: Unit) -> object:
        order = FileOrder(subject=f"card:{self._one(self._loaded.cards)}", reason="bench")
        return await PersonFileService(unit).read(order)

    def _one(self, values: list[str]) -> str:
        return self._chance.choice(values)

    @contextmanager
    def _statements(self) -> Iterator[list[tuple[str, Any]]]:
        seen: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            seen.append((statement, parameters))

        engine = self._services.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(engine, "before_cursor_execute", note)

    async def _scans(self, seen: list[tuple[str, Any]]) -> list[str]:
        """Large tables that PostgreSQL reads from end to end for one of these statements."""
        found: set[str] = set()
        async with self._services.database.engine.connect() as connection:
            for statement, parameters in seen:
                if not statement.lstrip().upper().startswith(("SELECT", "WITH", "(SELECT")):
                    continue
                plan = await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
                made = plan.scalar_one()
                found |= set(_scanned(made if isinstance(made, list) else json.loads(made)))
        return sorted(found & LARGE)


def _queue(queue: Queue) -> View:
    return lambda unit: WorkQueues(unit).items(queue, PageRequest(PAGE))


def _row(
    name: str, name_zh: str, who: str, times: list[float], seen: list[tuple[str, Any]], scans: list[str]
) -> ViewRow:
    p95 = statistics.quantiles(times, n=20)[18]
    return ViewRow(name, name_zh, who, round(statistics.median(times), 2), round(p95, 2), len(seen), scans)


def _scanned(plan: Any) -> Iterator[str]:
    if isinstance(plan, list):
        for part in plan:
            yield from _scanned(part)
    elif isinstance(plan, dict):
        if plan.get("Node Type") == "Seq Scan":
            yield plan["Relation Name"]
        for part in plan.values():
            yield from _scanned(part)
