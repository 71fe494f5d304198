"""A batch of synthetic people from the roster to the outlets: lines per second of every stage, memory, exact counts.

The service's own code runs in this process over its database, without HTTP; the partners are simulators whose time is
told apart. One line in a hundred of every return file is spoiled, and exactly those lines have to come back refused.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from rich.table import Table

from bench.measure import STATUS, BenchError, heading, mark
from cardlib.client_auth import ClientKey
from cardlib.identity import citizen_number
from cardlib.spec import Generation
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.app import close_services, create_services
from issuance.clients.auth import Caller
from issuance.clients.schemas import Role
from issuance.clients.service import bootstrap_client
from issuance.clock import china_date
from issuance.database import migrate
from issuance.production import jobs
from issuance.production.files import PART_BYTES
from issuance.production.handling import HandlingService
from issuance.production.schemas import BatchRequest, BatchView, FileView, HandOut, NewFile, Order
from issuance.production.service import BatchService
from issuance.production.states import Stage
from issuance.scope import EVERYWHERE
from issuance.services import Services
from issuance.settings import Settings
from issuance.stock.balance import BalanceService
from issuance.stock.movement_schemas import PlaceRequest, Receipt
from issuance.stock.movements import MovementService
from issuance.stock.schemas import NumberRange
from issuance.stock.service import StockService
from issuance.unit import Unit
from onecard_cli.home import import_roots
from simulators.ministry import RootKeys
from simulators.production import (
    ENCODING,
    END,
    Answer,
    Faults,
    Partner,
    bank,
    card_factory,
    certification_authority,
    initialization_centre,
)

PEOPLE = 100_000
BAD_SHARE = 0.01
REGION = "110000"
GROWTH_MIB = 48.0
"""What memory may grow by between 10 % and 100 % of the work."""
SHARES: Final = (10, 50, 100)
_POOL = 20_000
_NUMERALS = str.maketrans("0123456789", "零一二三四五六七八九")
_TITLES = "序号,社会保障号码,姓名,性别,民族,出生地,出生日期,联系电话,监护人姓名,监护人证号,监护关系,监护人电话"


@dataclass(frozen=True, slots=True)
class StageRow:
    """`lines` were worked through in `seconds`; `bad` were spoiled by the partner, `refused` by us."""

    stage: str
    name_zh: str
    lines: int
    seconds: float
    bad: int = 0
    refused: int = 0
    is_exact: bool = True

    @property
    def rate(self) -> float:
        return self.lines / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class EngineResult:
    engine: str
    people: int
    rows: list[StageRow] = field(default_factory=list)
    memory_mib: dict[int, float] = field(default_factory=dict)
    partners_s: float = 0.0
    is_balanced: bool = False
    handed_out: int = 0

    @property
    def total_s(self) -> float:
        return sum(row.seconds for row in self.rows)

    @property
    def growth_mib(self) -> float:
        return self.memory_mib.get(100, 0.0) - self.memory_mib.get(10, 0.0)

    @property
    def is_met(self) -> bool:
        return self.is_balanced and self.growth_mib <= GROWTH_MIB and all(row.is_exact for row in self.rows)


@dataclass(frozen=True, slots=True)
class ProductionResult:
    engines: list[EngineResult]
    skipped: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_met": all(engine.is_met for engine in self.engines)}

    def tables(self) -> list[Table | str]:
        return [*(self._table(engine) for engine in self.engines), *(f"跳过 / skipped: {s}" for s in self.skipped)]

    def _table(self, engine: EngineResult) -> Table:
        memory = " · ".join(f"{share} %: {mib:.0f}" for share, mib in engine.memory_mib.items())
        table = Table(
            title=f"批量制卡 / batch production · {engine.people:,} 人 / people · {engine.engine}",
            caption=(
                f"内存 MiB / memory: {memory}; ≤ +{GROWTH_MIB:.0f} {mark(engine.growth_mib <= GROWTH_MIB)} · "
                f"合计 / all {engine.total_s:.0f} s，{engine.people / engine.total_s:,.0f} 张每秒 / cards per s "
                f"(模拟伙伴另计 / partners apart: {engine.partners_s:.0f} s)\n"
                f"下发网点 / handed out {engine.handed_out:,} · 库存平衡为零 / balance zero {mark(engine.is_balanced)}"
            ),
        )
        table.add_column(heading("环节", "stage"), no_wrap=True)
        for zh, en in (("行", "lines"), ("每秒", "per s"), ("秒", "s"), ("坏行", "bad"), ("退回", "refused")):
            table.add_column(heading(zh, en), justify="right")
        table.add_column("", justify="right")
        for row in engine.rows:
            counts = (str(row.bad or ""), str(row.refused or ""))
            table.add_row(
                f"{row.name_zh} / {row.stage}",
                f"{row.lines:,}",
                f"{row.rate:,.0f}",
                f"{row.seconds:.1f}",
                *counts,
                mark(row.is_exact),
            )
        return table


def measure(*, people: int = PEOPLE, engines: tuple[str, ...] = ("sqlite", "postgresql")) -> ProductionResult:
    """Each engine in turn; PostgreSQL where a server is installed."""
    found, skipped = [], []
    for engine in engines:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onecard-bench-")))
            url = _address(engine, folder, stack)
            if url is None:
                skipped.append("PostgreSQL: no server is installed")
                continue
            found.append(asyncio.run(_Run(engine, people, folder).measure(url)))
    return ProductionResult(found, skipped)


def _address(engine: str, folder: Path, stack: ExitStack) -> str | None:
    if engine == "sqlite":
        return f"sqlite+aiosqlite:///{folder / 'issuance.db'}"
    from tests.issuance.postgres import binaries, running

    programs = binaries()
    if programs is None:
        return None
    server = stack.enter_context(running(programs))
    server.create("bench")
    return server.url("bench")


def roster_line(serial: int) -> str:
    """An invented adult; a hundred thousand of them have different numbers."""
    day = f"{1950 + serial // 156_000 % 50:04d}{1 + serial // 500 % 12:02d}{1 + serial // 6000 % 26:02d}"
    number = citizen_number(f"990100{day}{serial % 500 * 2 + 1:03d}")
    name = f"测试{serial}".translate(_NUMERALS)
    return f"{serial + 1},{number},{name},1,01,990100,{day},,,,,"


class _Run:
    """One batch on one engine."""

    def __init__(self, engine: str, people: int, folder: Path) -> None:
        self._result = EngineResult(engine, people)
        self._people = people
        self._folder = folder
        self._roots = RootKeys.generate()
        self._done = 0
        self._services: Services
        self._batch = ""

    async def measure(self, url: str) -> EngineResult:
        migrate(url)
        await bootstrap_client(url, "bench", ClientKey.generate("bench").public_jwk(), ("operator",))
        with SoftKeyService.create(self._folder / "keys", "bench passphrase", cost=ScryptCost(n=1 << 4)) as keys:
            import_roots(keys, self._roots)
            settings = Settings(database_url=url, tasks_pause_s=0)
            self._services = create_services(settings, keys)
            try:
                await self._produce()
            finally:
                await close_services(self._services)
        return self._result

    async def _produce(self) -> None:
        await self._prepare()
        await self._take("roster", "名册导入", self._roster(), None)
        partners: dict[Stage, tuple[str, Partner]] = {
            Stage.BANK: ("银行", bank()),
            Stage.CA: ("CA", certification_authority()),
            Stage.FACTORY: ("工厂", card_factory(REGION)),
            Stage.KEYS: ("密钥核验", initialization_centre(REGION, Generation.V3, self._roots)),
        }
        for seed, (stage, (name, partner)) in enumerate(partners.items(), start=1):
            sent = await self._send(stage, f"{name}导出")
            started = time.perf_counter()
            path = self._folder / f"{stage.value}.back"
            with sent.open("rb") as source, path.open("wb") as target:
                answer = partner.answer(source, target, Faults(bad=BAD_SHARE, seed=seed))
            self._result.partners_s += time.perf_counter() - started
            await self._take(stage.value, f"{name}回盘", path, answer)
            sent.unlink()
            path.unlink()
        await self._hand_out()
        self._note_memory(is_end=True)

    async def _prepare(self) -> None:
        async with self._unit() as unit:
            for start in range(0, self._people + _POOL, _POOL):
                order = NumberRange(region=REGION, body_from=f"A{start + 1:07d}", count=_POOL)
                await StockService(unit).add_numbers(order)
            await MovementService(unit).add_place(
                PlaceRequest(id="outlet-1", kind="outlet", name="网点", region=REGION, parent_id=None)
            )
            request = BatchRequest(region=REGION, unit_code="SCH-1", unit_name="示例小学", has_certificates=True)
            self._batch = (await BatchService(unit).create(request)).id

    def _roster(self) -> Path:
        path = self._folder / "roster"
        with path.open("wb") as file:
            file.write(_TITLES.encode(ENCODING) + END)
            for serial in range(self._people):
                file.write(roster_line(serial).encode(ENCODING) + END)
        return path

    async def _take(self, stage: str, name_zh: str, path: Path, answer: Answer | None) -> None:
        """Bring a file in, work it off, and see whether exactly the spoiled lines were refused."""
        started = time.perf_counter()
        file_id = await self._upload(stage, path)
        await self._work()
        seconds = time.perf_counter() - started
        file = await self._file(file_id)
        refused = await self._refused(file_id)
        bad = set() if answer is None else set(answer.bad)
        is_exact = refused == bad and file.accepted + file.refused == file.lines and await self._adds_up()
        self._result.rows.append(
            StageRow(f"{stage} in", name_zh, file.lines, seconds, len(bad), file.refused, is_exact)
        )

    async def _upload(self, stage: str, path: Path) -> str:
        async with self._unit() as unit:
            file_id = (await BatchService(unit).open_file(self._batch, stage, NewFile(name=f"{stage}.txt"))).id
        with path.open("rb") as source:
            for number, data in enumerate(_parts(source)):
                async with self._unit() as unit:
                    await BatchService(unit).put_part(file_id, number, data)
        async with self._unit() as unit:
            await BatchService(unit).complete(file_id)
        return file_id

    async def _send(self, stage: Stage, name_zh: str) -> Path:
        started = time.perf_counter()
        async with self._unit() as unit:
            service = BatchService(unit)
            job = await service.send(self._batch, stage, Order(version=(await service.view(self._batch)).version))
        await self._work()
        seconds = time.perf_counter() - started
        file = await self._file(job.file_id)
        path = self._folder / f"{stage.value}.out"
        with path.open("wb") as target:
            for number in range(file.parts):
                async with self._unit() as unit:
                    target.write(await BatchService(unit).part(file.id, number))
        self._result.rows.append(StageRow(f"{stage.value} out", name_zh, file.accepted, seconds))
        return path

    async def _work(self) -> None:
        while (done := await jobs.step(self._services)) is not None:
            self._done += done
            self._note_memory()
        async with self._unit() as unit:
            stopped = [job for job in await BatchService(unit).jobs(self._batch) if job.state != "done"]
        if stopped:
            raise BenchError(f"{stopped[0].kind} {stopped[0].stage}: {stopped[0].failure} {stopped[0].detail}")

    async def _hand_out(self) -> None:
        started = time.perf_counter()
        async with self._unit() as unit:
            version = (await BatchService(unit).view(self._batch)).version
            handed = await HandlingService(unit).hand_out(self._batch, HandOut(version=version, place_id="outlet-1"))
        async with self._unit() as unit:
            await MovementService(unit).receive(handed.transfer_id, Receipt(version=1))
        seconds = time.perf_counter() - started
        self._result.rows.append(StageRow("hand-out", "下发网点", handed.cards, seconds))
        self._result.handed_out = handed.cards
        async with self._unit() as unit:
            balance = await BalanceService(unit).report(china_date(unit.now))
            places = {line.place_id: line.closing for line in balance.lines}
        self._result.is_balanced = balance.is_zero and places.get("outlet-1") == handed.cards

    async def _file(self, file_id: str) -> FileView:
        async with self._unit() as unit:
            return next(file for file in await BatchService(unit).files(self._batch) if file.id == file_id)

    async def _refused(self, file_id: str) -> set[int]:
        from sqlalchemy import select

        from issuance.production.models import RejectRow

        async with self._unit() as unit:
            query = select(RejectRow.line_number).where(RejectRow.file_id == file_id)
            return set(await unit.session.scalars(query))

    async def _adds_up(self) -> bool:
        async with self._unit() as unit:
            view: BatchView = await BatchService(unit).view(self._batch)
        return all(c.sent == c.ok + c.failed + c.bad + c.missing for c in view.stages)

    def _note_memory(self, *, is_end: bool = False) -> None:
        """At the shares of the whole way: a roster, four files out, four files back."""
        share = 100 if is_end else 100 * self._done // (9 * self._people)
        for wanted in SHARES:
            if share >= wanted:
                self._result.memory_mib.setdefault(wanted, _resident_mib())

    @asynccontextmanager
    async def _unit(self) -> AsyncIterator[Unit]:
        caller = Caller("bench", frozenset({Role.OPERATOR}))
        async with self._services.database.transaction(scope=EVERYWHERE) as session:
            yield Unit(session, self._services, caller, self._services.clock())


def _parts(source: BinaryIO) -> Iterator[bytes]:
    while data := source.read(PART_BYTES):
        yield data


def _resident_mib() -> float:
    """0 where the system does not tell."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
