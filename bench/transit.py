"""A gate's decision: what a tap and a code cost in time, commands and bytes, and how many one process can serve.

The chips are simulated, so their own computing is taken out of every figure; the time on the air and on the PSAM's
contacts is computed from what was exchanged. What real chips need for their ciphers comes on top.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.table import Table

from apdu.errors import CardRemovedError
from bench.cards import AIR_BIT_S, ContactLine, line_seconds
from bench.ecard import gate_and_codes
from bench.keys import simulated_keys
from bench.measure import heading, mark
from bench.transit_memory import TARGET_MIB, GateProcess
from bench.transit_memory import measure as measure_process
from cardlib.transit_code_uses import FileUses
from cardlib.transit_gate import GateClock, TransitGate
from cardlib.transit_gate_result import TapResult
from cardlib.transit_journal import TransitJournal
from cardlib.transit_psam import TransitPsam
from cardlib.transit_rules import Mode, TransitRules
from simulators import personas
from simulators.apps import build
from simulators.apps.state import NeighbourState
from simulators.card import CardState
from simulators.contactless import ContactlessCard
from simulators.factory import build_card
from simulators.faults import CardGone, Faults
from simulators.ministry import RootKeys
from simulators.psam import SimPsam

TARGET_MS: Final = 100.0
TERMINAL: Final = "099900000001"
TAPS: Final = 300
NOW: Final = datetime(2026, 3, 16, 8, 0)
_FARES: Final = {"minimum_fen": 300, "maximum_fen": 900, "pairs": {"2:5-2:17": 500}}
_PRODUCTS: Final = [
    {"slug": "senior-free", "zh": "敬老免费", "en": "Senior, free", "classes": [3], "percent": 0},
]


@dataclass(frozen=True, slots=True)
class TapRow:
    """`cpu_ms` and `wall_ms` p50 and p99 of our own work from SELECT to the open gate, the journal's write to the disk
    in the wall time. Bytes both ways. `air_ms` at 106 kbit/s, `sam_ms` by baud rate, what is exchanged until then."""

    tap_zh: str
    tap: str
    commands: int
    byte_count: int
    cpu_ms: tuple[float, float]
    wall_ms: tuple[float, float]
    air_ms: float
    sam_commands: int
    sam_ms: dict[str, float]
    is_met: bool


@dataclass(frozen=True, slots=True)
class TransitResult:
    """`taps_s`: whole taps with their records, in this process, without the chips."""

    taps: list[TapRow]
    code_ms: tuple[float, float]
    taps_s: float
    taps_cpu_s: float
    process: GateProcess | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        table = Table(
            title="闸机判定 / a gate's decision",
            caption="本软件自身的时间，不含芯片运算 / our own time, without the chips' computing",
        )
        table.add_column(heading("刷卡", "tap"), no_wrap=True)
        for zh, en in (
            ("命令", "commands"),
            ("字节", "bytes"),
            ("处理器毫秒", "CPU ms p50/p99"),
            ("实际毫秒", "wall ms p50/p99"),
            ("空中毫秒", "106 kbit/s ms"),
            ("PSAM 毫秒", "PSAM 9600/115200 ms"),
        ):
            table.add_column(heading(zh, en), justify="right")
        for row in self.taps:
            table.add_row(
                f"{row.tap_zh} / {row.tap}",
                str(row.commands),
                str(row.byte_count),
                f"{row.cpu_ms[0]:.2f}/{row.cpu_ms[1]:.2f}",
                f"{row.wall_ms[0]:.2f}/{row.wall_ms[1]:.2f} {mark(row.is_met)}",
                f"{row.air_ms:.1f}",
                "/".join(f"{value:.0f}" for value in row.sam_ms.values()) if row.sam_commands else "—",
            )
        low, high = self.code_ms
        lines: list[Table | str] = [] if self.process is None else [_told(self.process)]
        return [
            table,
            f"乘车码 / code: {low:.2f} ms p50, {high:.2f} ms p99 {mark(high <= TARGET_MS)}",
            f"每秒 / per second: {self.taps_s:.0f}（实际 / wall），{self.taps_cpu_s:.0f}（处理器 / CPU）",
            *lines,
        ]


class Line(ContactLine):
    """Also this thread's own time in the chip, which may be torn away."""

    def clear(self) -> None:
        super().clear()
        self.card_cpu_s = 0.0

    def transmit(self, command: bytes) -> bytes:
        started = time.thread_time()
        try:
            return super().transmit(command)
        except CardGone as gone:
            raise CardRemovedError(str(gone)) from gone
        finally:
            self.card_cpu_s += time.thread_time() - started


@dataclass(frozen=True, slots=True)
class Stand:
    """One gate on a disk of its own, and as many purses as are asked for."""

    roots: RootKeys
    base: CardState
    folder: Path
    psam: Line
    sam: TransitPsam

    def card(self, number: int, passenger_class: int = 1) -> ContactlessCard:
        whole = copy.copy(self.base)
        table = {"serial": f"0999010{number:013d}", "balance_fen": 10000, "passenger_class": passenger_class}
        whole.neighbours = NeighbourState(transit=build.purse(self.roots.root, table))
        return ContactlessCard(whole)

    def gate(self, mode: Mode, *, passed_s: float = 0.0, is_bare: bool = False) -> TransitGate:
        is_flat = mode is Mode.BUS_FLAT
        place = {"industry": 2 if is_flat else 1, "line": 2, "station": 17 if mode is Mode.METRO_EXIT else 5}
        rules = TransitRules.model_validate(
            {
                "format": "transit-rules-1",
                "version": "bench",
                "mode": mode,
                "valid_from": "2026-01-01",
                "valid_until": "2026-12-31",
                "place": place | {"city": "9901", "institution": build.ACCEPTOR.hex().upper()},
                "issuers": [{"issuer": build.ISSUER[:4].hex(), "home": True}],
                "fares": {"flat_fen": 200} if is_flat else _FARES,
                "products": [] if is_bare else _PRODUCTS,
                "policy": {"refuses_test_cards": not is_bare, "writes_trip": not is_bare},
            }
        )
        path = self.folder / f"{mode}{passed_s}{is_bare}.jsonl"
        clock = GateClock(lambda: NOW + timedelta(seconds=passed_s), time.monotonic, lambda: True)
        return TransitGate(
            rules, TransitJournal(path), is_blocked=lambda _: False, in_force=lambda *_: True, clock=clock
        )


@dataclass(slots=True)
class _Spent:
    """Milliseconds until the gate opened, without the chips."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    line: Line | None = None
    sam: tuple[int, dict[str, float]] = (0, {})


def _tap(gate: TransitGate, holder: ContactlessCard, stand: Stand, spent: _Spent) -> TapResult:
    """One tap; only what happens until the gate opens is counted."""
    holder.power_on()
    line = Line(holder)
    stand.psam.clear()
    cpu, wall = time.thread_time(), time.perf_counter()

    def opened(_result: TapResult) -> None:
        chips_cpu, chips = line.card_cpu_s + stand.psam.card_cpu_s, line.card_s + stand.psam.card_s
        spent.cpu.append(1000 * (time.thread_time() - cpu - chips_cpu))
        spent.wall.append(1000 * (time.perf_counter() - wall - chips))
        spent.sam = stand.psam.apdus, line_seconds(stand.psam.characters)

    result = gate.tap(line, stand.sam, opened=opened)
    gate.delivered(result.records)
    spent.line = line
    return result


def _row(zh: str, en: str, stand: Stand, tap: Callable[[int, _Spent], TapResult], count: int) -> TapRow:
    spent = _Spent()
    for number in range(count):
        result = tap(number, spent)
        assert result.state == "go", result
    assert spent.line is not None
    cpu, wall = _percentiles(spent.cpu), _percentiles(spent.wall)
    return TapRow(
        zh,
        en,
        spent.line.apdus,
        spent.line.bytes_sent + spent.line.bytes_received,
        cpu,
        wall,
        round(1000 * spent.line.air_bits * AIR_BIT_S, 1),
        spent.sam[0],
        {speed: round(1000 * seconds, 1) for speed, seconds in spent.sam[1].items()},
        wall[1] <= TARGET_MS,
    )


def _percentiles(values: list[float]) -> tuple[float, float]:
    found = sorted(values)
    return round(found[len(found) // 2], 3), round(found[len(found) * 99 // 100], 3)


def _rows(stand: Stand, count: int) -> list[TapRow]:
    def simple(mode: Mode, passenger_class: int = 1, *, is_bare: bool = False) -> Callable[[int, _Spent], TapResult]:
        gate = stand.gate(mode, is_bare=is_bare)
        return lambda number, spent: _tap(gate, stand.card(number, passenger_class), stand, spent)

    start = stand.gate(Mode.METRO_ENTRY)
    end, ride = stand.gate(Mode.METRO_EXIT, passed_s=600), stand.gate(Mode.BUS_FLAT)

    def leave(number: int, spent: _Spent) -> TapResult:
        holder = stand.card(number)
        _tap(start, holder, stand, _Spent())
        return _tap(end, holder, stand, spent)

    def again(number: int, spent: _Spent) -> TapResult:
        holder = stand.card(1000 + number)
        holder.faults = Faults(tear_after=5)
        _tap(ride, holder, stand, _Spent())
        holder.faults = Faults()
        return _tap(ride, holder, stand, spent)

    kinds: tuple[tuple[str, str, Callable[[int, _Spent], TapResult]], ...] = (
        ("公交，最少命令", "bus, fewest commands", simple(Mode.BUS_FLAT, is_bare=True)),
        ("公交", "bus", simple(Mode.BUS_FLAT)),
        ("公交，敬老免费", "bus, senior free", lambda n, spent: _tap(ride, stand.card(n, 3), stand, spent)),
        ("地铁进站", "metro in", simple(Mode.METRO_ENTRY)),
        ("地铁出站", "metro out", leave),
        ("断卡后再刷", "torn, tapped again", again),
    )
    return [_row(zh, en, stand, tap, count) for zh, en, tap in kinds]


def _throughput(stand: Stand, count: int) -> tuple[float, float]:
    """Taps a second with everything until the record is handed over: of the wall and of the processor."""
    gate, holders = stand.gate(Mode.BUS_FLAT, passed_s=1), [stand.card(number) for number in range(count)]
    chips = chips_cpu = 0.0
    cpu, wall = time.process_time(), time.perf_counter()
    for holder in holders:
        spent = _Spent()
        _tap(gate, holder, stand, spent)
        assert spent.line is not None
        chips += spent.line.card_s + stand.psam.card_s
        chips_cpu += spent.line.card_cpu_s + stand.psam.card_cpu_s
    wall_s, cpu_s = time.perf_counter() - wall - chips, time.process_time() - cpu - chips_cpu
    return round(count / wall_s, 1), round(count / cpu_s, 1)


def _codes(folder: Path) -> tuple[float, float]:
    """Every code of another phone, remembered on the disk before the gate opens."""
    gate, codes = gate_and_codes()
    uses = FileUses(folder / "used")
    gate.used = uses
    spent = []
    try:
        for raw in codes:
            started = time.perf_counter()
            gate.verify(raw, 300)
            spent.append(1000 * (time.perf_counter() - started))
    finally:
        uses.close()
    return _percentiles(spent)


def _told(process: GateProcess) -> str:
    low, high = process.decision_ms
    memory = f"{process.bare_mib:.0f} → {process.mib:.0f} MiB（最高 / peak {process.peak_mib:.0f}）"
    is_met = process.peak_mib <= TARGET_MIB
    return (
        f"代理进程，{process.entries:,} 张停用卡 / agent process, blocked cards: {memory} {mark(is_met)}；"
        f"见卡到判定 / card seen to decision {low:.1f}/{high:.1f} ms p50/p99 {mark(high <= TARGET_MS)}"
    )


def measure(*, count: int = TAPS, has_process: bool = True) -> TransitResult:
    """With the agent's own process, which takes a minute and a half."""
    with simulated_keys() as (_, roots), TemporaryDirectory(prefix="onecard-bench-") as name:
        chip = SimPsam(roots, region="990100", terminal_number=TERMINAL)
        chip.transit = build.transit_sam(roots.root, bytes.fromhex(TERMINAL))
        chip.power_on()
        psam = Line(chip)
        sam = TransitPsam(psam)
        assert sam.key_index
        stand = Stand(roots, build_card(personas.load("adult-3.0"), roots), Path(name), psam, sam)
        taps = _rows(stand, count)
        taps_s, taps_cpu_s = _throughput(stand, count)
        codes = _codes(Path(name))
    process = measure_process() if has_process else None
    return TransitResult(taps, codes, taps_s, taps_cpu_s, process)
