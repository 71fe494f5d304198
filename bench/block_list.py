"""Ten million blocked cards: size, build, a day's delta, lookups, and the memory of an agent that holds them."""

from __future__ import annotations

import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.table import Table

from apps_catalog.block_list import BlockList, Kind, Verdict, build, build_delta
from apps_catalog.block_list.files import DELTA, EXACT, FILTER
from bench.measure import BenchError, heading, mark, peak_kib

ENTRIES: Final = 10_000_000
BLOCKED_SHARE: Final = 10 / 116
"""Of all holders of the three provinces."""

ADDED: Final = 10_000
RELEASED: Final = 5_000
"""A day: 3 % of 116 million cards are lost in a year, half of them found again. Assumed; no figure is published."""

CALLS: Final = 20_000
GOOD: Final = 200_000
BYTES_TARGET: Final = 1.6
LOOKUP_TARGET_US: Final = 2.0
DELTA_TARGET: Final = 0.01
MEMORY_TARGET_MIB: Final = 150
_AT: Final = 1_800_000_000
_SPREAD: Final = 0x9E3779B97F4A7C15F39CC0605CEDC835
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BlockListFigures:
    """Times are of the processor, medians of rounds. The agent's memory is its peak with all its modules: before the
    list, with the filter in memory and the exact list on the disk, and with the exact list in memory instead.
    """

    entries: int
    filter_bytes: int
    list_bytes: int
    delta_bytes: int
    delta_entries: int
    build_s: float
    build_peak_mib: float
    delta_s: float
    open_s: float
    disk_us: dict[str, float]
    held_us: dict[str, float]
    false_share: float
    agent_before_mib: float
    agent_peak_mib: float
    agent_held_peak_mib: float

    def tables(self) -> list[Table | str]:
        table = Table(title=f"黑名单 / block list: {self.entries:,} 张 / cards", title_justify="left")
        for column in ("", heading("实测", "measured"), heading("目标", "target"), ""):
            table.add_column(column)
        for name, value, target, is_met in self._rows():
            table.add_row(name, value, target, mark(is_met))
        return [table]

    def _rows(self) -> Iterator[tuple[str, str, str, bool | None]]:
        each = self.filter_bytes / self.entries
        share = self.delta_bytes / (self.filter_bytes + self.list_bytes)
        yield "过滤器 / filter, bytes per entry", f"{each:.3f}", f"≤ {BYTES_TARGET}", each <= BYTES_TARGET
        yield "精确名单 / exact list, bytes per entry", f"{self.list_bytes / self.entries:.3f}", "", None
        yield "一天增量 / delta of a day, of the full edition", f"{share:.3%}", "≤ 1 %", share <= DELTA_TARGET
        yield "　of the filter alone", f"{self.delta_bytes / self.filter_bytes:.3%}", "", None
        for place, costs in (("名单在磁盘 / list on disk", self.disk_us), ("名单在内存 / in memory", self.held_us)):
            for name, cost in (costs | {"any holder's": mean_us(costs)}).items():
                yield (
                    f"查询 / lookup, {place}, {name}",
                    f"{cost:.2f} µs",
                    f"≤ {LOOKUP_TARGET_US}",
                    cost <= LOOKUP_TARGET_US,
                )
        yield "过滤器误报 / false hits of the filter", f"{self.false_share:.3%}", "", None
        yield "确认后误拦 / false blocks after confirmation", "0", "0", True
        yield "生成 / build", f"{self.build_s:.1f} s, {self.build_peak_mib:.0f} MiB", "", None
        yield "增量 / delta", f"{self.delta_s:.1f} s", "", None
        yield "打开 / open", f"{self.open_s:.2f} s", "", None
        yield "终端内存 / agent's memory before", f"{self.agent_before_mib:.0f} MiB", "", None
        for place, peak in (("disk", self.agent_peak_mib), ("in memory", self.agent_held_peak_mib)):
            met = peak <= MEMORY_TARGET_MIB
            yield f"　峰值 / peak, list {place}", f"{peak:.0f} MiB", f"≤ {MEMORY_TARGET_MIB} MiB", met

    def to_json(self) -> dict[str, Any]:
        means = {"disk": mean_us(self.disk_us), "held": mean_us(self.held_us)}
        return asdict(self) | {"mean_lookup_us": means}


def mean_us(costs: dict[str, float]) -> float:
    """Over the cards of all holders, of whom a few are blocked."""
    return costs["clear"] * (1 - BLOCKED_SHARE) + costs["blocked"] * BLOCKED_SHARE


def measure(*, entries: int = ENTRIES, added: int = ADDED, released: int = RELEASED) -> BlockListFigures:
    """Raises BenchError when one answer is wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_s, build_peak = _apart(_build, folder, entries)
        delta_s, _ = _apart(_delta, folder, entries, added, released)
        sizes = {part: (folder / part).stat().st_size for part in (FILTER, EXACT, DELTA)}
        seen = _apart(_agent, folder, entries, added, released)
    return BlockListFigures(
        entries=entries,
        filter_bytes=sizes[FILTER],
        list_bytes=sizes[EXACT],
        delta_bytes=sizes[DELTA],
        delta_entries=added + released,
        build_s=build_s,
        build_peak_mib=build_peak,
        delta_s=delta_s,
        **seen,
    )


def _apart(work: Callable[..., T], *arguments: object) -> T:
    """In a process of its own, as a peak of memory is of a whole process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _card(at: int) -> tuple[Kind, str]:
    return (Kind.ECARD if at % 2 else Kind.CARD), f"{at * _SPREAD % (1 << 128):032X}"


def _build(folder: Path, entries: int) -> tuple[float, float]:
    started = time.process_time()
    build(folder, map(_card, range(entries)), as_of=_AT)
    return time.process_time() - started, peak_kib() / 1024


def _delta(folder: Path, entries: int, added: int, released: int) -> tuple[float, float]:
    started = time.process_time()
    build_delta(folder, map(_card, range(released, entries + added)), as_of=_AT + 1)
    return time.process_time() - started, peak_kib() / 1024


def _agent(folder: Path, entries: int, added: int, released: int) -> dict[str, Any]:
    import_module("terminal_agent.app")
    before = peak_kib() / 1024
    chance = random.Random(1)
    picks: dict[str, tuple[Callable[[int], int], Verdict]] = {
        "clear": (lambda at: entries + added + at, Verdict.CLEAR),
        "blocked": (lambda at: chance.randrange(released, entries), Verdict.BLOCKED),
        "added": (lambda at: entries + at % added, Verdict.BLOCKED),
        "released": (lambda at: at % released, Verdict.CLEAR),
    }
    asked = {name: ([_card(pick(at)) for at in range(CALLS)], verdict) for name, (pick, verdict) in picks.items()}
    asking = peak_kib() / 1024 - before
    started = time.process_time()
    with BlockList(folder) as block_list:
        open_s = time.process_time() - started
        disk_us = _costs(block_list, asked)
        peak = peak_kib() / 1024
        block_list.hold()
        held_us = _costs(block_list, asked)
        held_peak = peak_kib() / 1024
    (folder / EXACT).unlink()
    with BlockList(folder) as filter_alone:
        good = range(entries + added, entries + added + GOOD)
        suspected = sum(filter_alone.look(*_card(at)) is Verdict.SUSPECTED for at in good)
    return {
        "open_s": open_s,
        "disk_us": disk_us,
        "held_us": held_us,
        "false_share": suspected / GOOD,
        "agent_before_mib": before,
        "agent_peak_mib": peak - asking,
        "agent_held_peak_mib": held_peak - asking,
    }


def _costs(block_list: BlockList, asked: dict[str, tuple[list[tuple[Kind, str]], Verdict]]) -> dict[str, float]:
    for name, (cards, verdict) in asked.items():
        if any(block_list.look(*card) is not verdict for card in cards):
            raise BenchError(f"a card that is {name} was not found {verdict}")
    return {name: _cost_us(block_list, cards) for name, (cards, _) in asked.items()}


def _cost_us(block_list: BlockList, cards: list[tuple[Kind, str]], rounds: int = 5) -> float:
    """Median of the rounds; the loop around the call included."""
    seen = []
    look = block_list.look
    for _ in range(rounds):
        started = time.process_time()
        for kind, number in cards:
            look(kind, number)
        seen.append((time.process_time() - started) / len(cards) * 1e6)
    return statistics.median(seen)
