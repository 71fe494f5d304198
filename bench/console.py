"""Server time of the console's pages over a million synthetic people in PostgreSQL: p50, p95, SQL statements of each.

Whole pages of the real application, asked by clerks who have logged in: middleware, session, SQL, template; without a
socket and without the browser. A supervisor of the province, one of a district and a clerk of an outlet ask. Every
plan is looked at too: none may read a large table from end to end.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
from rich.table import Table
from sqlalchemy import event

from bench.console_load import CLIENT, Holder, Loader
from bench.console_pages import ORIGIN, SHOWN, WHO, Clerk, Sight, citizen, sights, staff
from bench.measure import BenchError, heading, mark
from cardlib.client_auth import ClientKey
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.app import close_services, create_app
from issuance.clients.service import bootstrap_client
from issuance.database import migrate
from issuance.services import Services
from issuance.settings import Settings
from issuance.stock.openings import keep_openings

PEOPLE: Final = 1_000_000
ROUNDS: Final = 50
TARGET_MS: Final = 100.0
SERVER: Final = {"shared_buffers": "128MB", "max_wal_size": "1GB"}
"""As PostgreSQL comes; tests have less."""
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


@dataclass(frozen=True, slots=True)
class PageRow:
    """`scans`: large tables that a plan of this page reads from end to end."""

    page: str
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
    rows: list[PageRow]
    skipped: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_met": all(row.is_met for row in self.rows)}

    def tables(self) -> list[Table | str]:
        if not self.rows:
            return [f"跳过 / skipped: {reason}" for reason in self.skipped]
        table = Table(
            title=f"工作台页面 / console pages · {self.people:,} 人 / people · postgresql",
            caption=f"装入 / loaded in {self.load_s:.0f} s · p95 ≤ {TARGET_MS:.0f} ms，无全表扫描 / no full scans",
        )
        table.add_column(heading("页面", "page"), no_wrap=True)
        table.add_column(heading("谁", "who"))
        for zh, en in (("中位", "p50 ms"), ("95%", "p95 ms"), ("语句", "SQL"), ("全表扫描", "scans")):
            table.add_column(heading(zh, en), justify="right")
        table.add_column("")
        for row in self.rows:
            figures = (f"{row.p50_ms:.1f}", f"{row.p95_ms:.1f}", str(row.statements), ", ".join(row.scans))
            table.add_row(f"{row.name_zh} / {row.page}", row.who, *figures, mark(row.is_met))
        return [table]


def measure(*, people: int = PEOPLE, rounds: int = ROUNDS, who: Collection[str] = WHO) -> ConsoleResult:
    from tests.issuance.postgres import binaries, running

    programs = binaries()
    if programs is None:
        return ConsoleResult(people, 0.0, [], ["PostgreSQL: no server is installed"])
    with tempfile.TemporaryDirectory(prefix="onecard-bench-") as folder, running(programs, **SERVER) as server:
        server.create("bench")
        return asyncio.run(_measure(server.url("bench"), Path(folder), people, rounds, who))


async def _measure(url: str, folder: Path, people: int, rounds: int, who: Collection[str]) -> ConsoleResult:
    migrate(url)
    await bootstrap_client(url, CLIENT, ClientKey.generate(CLIENT).public_jwk(), ("operator",))
    with SoftKeyService.create(folder / "keys", "bench passphrase", cost=ScryptCost(n=1 << 4)) as keys:
        app = create_app(Settings(database_url=url, tasks_pause_s=0), keys)
        services: Services = app.state.services
        try:
            started = time.perf_counter()
            loader = Loader(url, services.sealer, datetime.now(UTC), people)
            holders = await asyncio.to_thread(loader.load)
            await keep_openings(services)
            load_s = time.perf_counter() - started
            return ConsoleResult(people, load_s, await Visits(app, holders, rounds).rows(who), [])
        finally:
            await close_services(services)


class Visits:
    def __init__(self, app: Any, holders: list[Holder], rounds: int) -> None:
        self._app = app
        self._engine = app.state.services.database.engine
        self._holders = holders
        self._rounds = rounds
        self._chance = random.Random(7)

    async def rows(self, who: Collection[str]) -> list[PageRow]:
        clerks = [clerk for clerk in await staff(self._app.state.services) if clerk.who in who]
        found = [await self._row(sight, clerk) for clerk in clerks for sight in await self._sights(clerk)]
        return [*found, await self._row(citizen(), None)]

    async def _sights(self, clerk: Clerk) -> list[Sight]:
        """The queues are those to which this clerk's own page leads."""
        async with self._browser(clerk) as http:
            queues = await http.get("/console/queues")
        return sights(clerk, queues.text)

    async def _row(self, sight: Sight, clerk: Clerk | None) -> PageRow:
        mine = [holder for holder in self._holders if clerk is None or holder.region.startswith(clerk.prefix)]
        times = []
        for number in range(self._rounds):
            path, fields = sight.ask(self._chance.choice(mine))
            async with self._browser(clerk, number) as http:
                started = time.perf_counter()
                response = await self._send(http, path, fields, clerk)
                times.append((time.perf_counter() - started) * 1000)
            _demand_shown(sight, path, response)
        with self._statements() as seen:
            async with self._browser(clerk, self._rounds) as http:
                await self._send(http, *sight.ask(self._chance.choice(mine)), clerk)
        return PageRow(
            page=sight.name,
            name_zh=sight.name_zh,
            who="citizen" if clerk is None else clerk.who,
            p50_ms=round(statistics.median(times), 2),
            p95_ms=round(statistics.quantiles(times, n=20)[18], 2),
            statements=len(seen),
            scans=await self._scans(seen),
        )

    def _browser(self, clerk: Clerk | None, number: int = 0) -> httpx.AsyncClient:
        """Each from another network: citizens may ask ten times a minute from one."""
        transport = httpx.ASGITransport(self._app, client=(f"10.{number % 256}.0.1", 40000))
        cookies = {} if clerk is None else {"onecard": clerk.token}
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers={"Origin": ORIGIN}, cookies=cookies)

    async def _send(
        self, http: httpx.AsyncClient, path: str, fields: dict[str, str] | None, clerk: Clerk | None
    ) -> httpx.Response:
        if fields is None:
            return await http.get(path)
        return await http.post(path, data=fields | ({} if clerk is None else {"csrf": clerk.csrf}))

    @contextmanager
    def _statements(self) -> Iterator[list[tuple[str, Any]]]:
        seen: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            seen.append((statement, parameters))

        event.listen(self._engine.sync_engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(self._engine.sync_engine, "before_cursor_execute", note)

    async def _scans(self, seen: list[tuple[str, Any]]) -> list[str]:
        """Large tables that PostgreSQL reads from end to end for one of these statements."""
        found: set[str] = set()
        async with self._engine.connect() as connection:
            for statement, parameters in seen:
                if not statement.lstrip().upper().startswith(("SELECT", "WITH", "(SELECT")):
                    continue
                plan = await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
                made = plan.scalar_one()
                found |= set(_scanned(made if isinstance(made, list) else json.loads(made)))
        return sorted(found & LARGE)


def _demand_shown(sight: Sight, path: str, response: httpx.Response) -> None:
    """Raises BenchError for a page that was not shown: a refusal is quick."""
    location = response.headers.get("location", "")
    is_shown = response.status_code == 200 and SHOWN in response.text
    if not is_shown and not location.startswith("/console/cards/"):
        raise BenchError(f"{sight.name} {path}: {response.status_code} {location}")


def _scanned(plan: Any) -> Iterator[str]:
    if isinstance(plan, list):
        for part in plan:
            yield from _scanned(part)
    elif isinstance(plan, dict):
        if plan.get("Node Type") == "Seq Scan":
            yield plan["Relation Name"]
        for part in plan.values():
            yield from _scanned(part)
