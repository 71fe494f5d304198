"""Appending to the agent's journal beside bare SQLite: both put each record on the disk before they go on.

The bare one inserts the same texts into a table with a primary key, in WAL with synchronous=FULL, a transaction each:
what no journal on SQLite can be faster than. Ours adds the chain, the key, the schema of the record and the look at
what is there already.
"""

from __future__ import annotations

import sqlite3
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.table import Table

from bench.measure import heading, mark
from cardlib.terminal_records import CardUse
from terminal_agent.journal.store import RecordJournal

RECORDS, ROUNDS = 500, 7
TARGET = 0.5
USE = CardUse(act="read", identification_code="990100D15600000500000001FFFFFFFF", card_number="A00000011")


@dataclass(frozen=True, slots=True)
class JournalResult:
    """Medians over the rounds; processor time without what the disk takes."""

    records: int
    journal_per_s: float
    bare_per_s: float
    journal_cpu_us: float
    bare_cpu_us: float
    target: float = TARGET

    @property
    def ratio(self) -> float:
        return self.journal_per_s / self.bare_per_s

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio, "is_met": self.ratio >= self.target}

    def tables(self) -> list[Table | str]:
        table = Table(title="终端记录落盘 / journal appends, each with fsync")
        for zh, en in (
            ("每秒", "per second"),
            ("CPU µs", "CPU µs"),
            ("比裸 SQLite", "of bare SQLite"),
            ("目标", "target"),
        ):
            table.add_column(heading(zh, en), justify="right")
        ours = (f"{self.journal_per_s:,.0f}", f"{self.journal_cpu_us:.0f}", f"{self.ratio:.2f}", f"≥ {self.target}")
        table.add_row(*ours, mark(self.ratio >= self.target))
        table.add_row(f"{self.bare_per_s:,.0f}", f"{self.bare_cpu_us:.0f}", "1", "bare SQLite")
        return [table]


def measure(*, records: int = RECORDS, rounds: int = ROUNDS) -> JournalResult:
    ours: list[tuple[float, float]] = []
    bare: list[tuple[float, float]] = []
    with TemporaryDirectory(prefix="onecard-bench-") as folder:
        for number in range(rounds):
            ours.append(_journal(Path(folder) / f"journal-{number}", records))
            bare.append(_bare(Path(folder) / f"bare-{number}.sqlite", records))
    return JournalResult(
        records=records,
        journal_per_s=records / statistics.median(wall for wall, _ in ours),
        bare_per_s=records / statistics.median(wall for wall, _ in bare),
        journal_cpu_us=statistics.median(cpu for _, cpu in ours) / records * 1e6,
        bare_cpu_us=statistics.median(cpu for _, cpu in bare) / records * 1e6,
    )


def _journal(folder: Path, records: int) -> tuple[float, float]:
    """Seconds on the wall and of the processor."""
    journal = RecordJournal(folder)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(records):
        journal.append(USE)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    journal.close()
    return spent


def _bare(path: Path, records: int) -> tuple[float, float]:
    text = '{"kind":"card_use"' + "x" * 236
    sql = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        sql.execute(f"PRAGMA {pragma}")
    sql.execute("CREATE TABLE records (sequence INTEGER PRIMARY KEY, body TEXT NOT NULL)")
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(records):
        sql.execute("INSERT INTO records (body) VALUES (?)", (text,))
    spent = time.perf_counter() - wall, time.process_time() - cpu
    sql.close()
    return spent
