"""The audit log at a million entries: how fast entries are added, taken into the tree, verified; what a proof costs.

The service's own code over a SQLite file in this process. Entries are added in transactions of one and of many while
the sequencer stands still, then sequenced; at 1, 10 and 100 % of the size proofs are made from the database and
checked.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.table import Table

from bench.keys import simulated_keys
from bench.measure import heading, mark
from hsm.soft import SoftKeyService
from issuance.app import close_services, create_services
from issuance.audit.heads import sm3
from issuance.audit.log import LogRepository
from issuance.audit.merkle import inclusion_path, wanted
from issuance.audit.report import fingerprints, prove_entry, prove_growth, verify_log
from issuance.audit.sequencer import sequence_due
from issuance.audit.verifier import check_proof
from issuance.database import migrate
from issuance.services import Services
from issuance.settings import Settings
from issuance.unit import system_unit

ENTRIES: Final = 1_000_000
SINGLE: Final = 300
CHUNK: Final = 1000
PROOFS: Final = 40


@dataclass(frozen=True, slots=True)
class ProofRow:
    """At `size` entries: hashes of the longest inclusion and consistency proof, medians of the time to make one."""

    size: int
    inclusion: int
    consistency: int
    rows_read: int
    inclusion_ms: float
    consistency_ms: float
    is_valid: bool

    @property
    def bound(self) -> int:
        """ceil(log2 n); a consistency proof may have one hash more."""
        return (self.size - 1).bit_length()

    @property
    def is_met(self) -> bool:
        return self.is_valid and self.inclusion <= self.bound and self.consistency <= self.bound + 1


@dataclass(slots=True)
class AuditResult:
    """Entries a second; `single` in a transaction each, `bulk` many in one."""

    entries: int
    single: float = 0.0
    bulk: float = 0.0
    sequenced: float = 0.0
    verified: float = 0.0
    is_intact: bool = False
    proofs: list[ProofRow] = field(default_factory=list)

    @property
    def is_met(self) -> bool:
        return self.is_intact and all(row.is_met for row in self.proofs)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_met": self.is_met}

    def tables(self) -> list[Table | str]:
        rates = Table(title=f"审计日志 / audit log, {self.entries:,} entries (SQLite)")
        for zh, en in (("步骤", "step"), ("条/秒", "entries/s")):
            rates.add_column(heading(zh, en), justify="right")
        for name, rate in (
            ("写入，各自一个事务 / added, a transaction each", self.single),
            ("写入，成批 / added in bulk", self.bulk),
            ("入树并签名 / into the tree, signed", self.sequenced),
            (f"逐条核对 / verified {mark(self.is_intact)}", self.verified),
        ):
            rates.add_row(name, f"{rate:,.0f}")
        proofs = Table(title="证明 / proofs")
        for zh, en in (
            ("条数", "entries"),
            ("在内，杂凑数", "inclusion, hashes"),
            ("一致，杂凑数", "consistency, hashes"),
            ("读行", "rows read"),
            ("毫秒", "ms"),
        ):
            proofs.add_column(heading(zh, en), justify="right")
        for row in self.proofs:
            proofs.add_row(
                f"{row.size:,}",
                f"{row.inclusion} ≤ {row.bound} {mark(row.is_met)} ({32 * row.inclusion} B)",
                f"{row.consistency} ≤ {row.bound + 1} ({32 * row.consistency} B)",
                f"{row.rows_read}",
                f"{row.inclusion_ms:.1f} / {row.consistency_ms:.1f}",
            )
        return [rates, proofs]


def measure(entries: int = ENTRIES) -> AuditResult:
    with simulated_keys() as (keys, _roots), tempfile.TemporaryDirectory(prefix="onecard-bench-") as folder:
        return asyncio.run(_measure(keys, Path(folder), entries))


async def _measure(keys: SoftKeyService, folder: Path, entries: int) -> AuditResult:
    result = AuditResult(entries)
    async with _services(keys, folder) as services:
        begun = time.perf_counter()
        for _ in range(SINGLE):
            await _add(services, 1)
        result.single = SINGLE / (time.perf_counter() - begun)
        done, adding, sequencing = SINGLE, 0.0, 0.0
        for size in (max(entries // 100, SINGLE), max(entries // 10, SINGLE), entries):
            while done < size:
                count = min(size - done, 50 * CHUNK)
                adding += await _timed(_fill, services, count)
                sequencing += await _timed(_sequence, services)
                done += count
            await _sequence(services)
            result.proofs.append(await _prove(services, size))
        result.bulk = (entries - SINGLE) / adding
        result.sequenced = entries / sequencing
        begun = time.perf_counter()
        report = await verify_log(services)
        result.verified = entries / (time.perf_counter() - begun)
        result.is_intact = (report.entries, report.waiting, report.findings) == (entries, 0, [])
    return result


@asynccontextmanager
async def _services(keys: SoftKeyService, folder: Path) -> AsyncIterator[Services]:
    url = f"sqlite+aiosqlite:///{folder / 'issuance.db'}"
    migrate(url)
    settings = Settings(database_url=url, tasks_pause_s=0, audit_heads_path=folder / "heads.jsonl")
    services = create_services(settings, keys)
    try:
        yield services
    finally:
        await close_services(services)


async def _timed(work: Any, *arguments: Any) -> float:
    begun = time.perf_counter()
    await work(*arguments)
    return time.perf_counter() - begun


async def _add(services: Services, count: int) -> None:
    async with system_unit(services) as unit:
        for number in range(count):
            subject = f"card:A{number:08d}"
            await unit.audit("card.enable", subject, region="110000", detail={"step": "enable", "number": number})


async def _fill(services: Services, count: int) -> None:
    while count:
        await _add(services, min(count, CHUNK))
        count -= min(count, CHUNK)


async def _sequence(services: Services) -> None:
    while await sequence_due(services):
        continue


async def _prove(services: Services, size: int) -> ProofRow:
    """Of entries all over the log, and of growth since heads all over it."""
    keys = set(fingerprints(services).values())
    inclusion, consistency, times, growth_times = 0, 0, [], []
    is_valid, rows = True, 0
    async with services.database.transaction(is_reading=True) as session:
        heads = [head["size"] for head in await LogRepository(session).heads_after(0, 100_000)]
        for number in range(PROOFS):
            index = number * (size - 1) // (PROOFS - 1)
            begun = time.perf_counter()
            proof = await prove_entry(services, session, index + 1)
            times.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            growth = await prove_growth(services, session, heads[number * (len(heads) - 1) // (PROOFS - 1)], None)
            growth_times.append(time.perf_counter() - begun)
            inclusion, consistency = max(inclusion, len(proof["path"])), max(consistency, len(growth["path"]))
            runs = wanted(inclusion_path(index, size)).values()
            rows = max(rows, sum(len(run) for found in runs for run in found))
            is_valid &= not check_proof(proof, keys, sm3()) and not check_proof(growth, keys, sm3())
    return ProofRow(size, inclusion, consistency, rows, 1000 * median(times), 1000 * median(growth_times), is_valid)
