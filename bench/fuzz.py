"""Hostile bytes for every parser of outside data: any input is taken, or refused with the parser's own error.

Inputs come from a seed, so a fault can be made again: half changed copies of valid samples, half other bytes. Every
target has a process of its own, which tells its memory from the others'; the processes share the cores.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.table import Table

from bench.measure import heading, mark, peak_kib

INPUTS = 1_000_000
SEED = 20261122
KEPT_FAULTS = 3
_EDGES: Final = bytes.fromhex("00017F80818283FF1F5F9F3B30026190")
"""Bytes that begin, end or lengthen something in one of the formats."""
_SHORT, _LONG, _LONGEST = 48, 400, 5000


@dataclass(frozen=True, slots=True)
class Target:
    """`feed` takes one input or raises one of `refusals`; it raises AssertionError when what it took is not right.

    The first of `samples` is taken; others may be what a peer says when it refuses.
    """

    name_zh: str
    name: str
    samples: tuple[bytes, ...]
    feed: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]


@dataclass(frozen=True, slots=True)
class FuzzRow:
    """Times are of the processor; `memory_kib` is what the process grew by; `faults` holds the first ones as
    `Error <- hex`, `fault_count` counts all."""

    target: str
    name_zh: str
    inputs: int
    taken: int
    refused: int
    fault_count: int
    seconds: float
    slowest_ms: float
    memory_kib: int
    faults: list[str]

    @property
    def is_clean(self) -> bool:
        return not self.fault_count


@dataclass(frozen=True, slots=True)
class FuzzResult:
    rows: list[FuzzRow]
    seed: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        table = Table(
            title=f"模糊测试 / hostile input · seed {self.seed}",
            caption="接受，或以类型化错误拒绝；其余皆为缺陷\ntaken, or refused with a typed error; all else is a fault",
        )
        table.add_column(heading("对象", "target"), no_wrap=True)
        for zh, en in (
            ("输入", "inputs"),
            ("接受", "taken"),
            ("拒绝", "refused"),
            ("缺陷", "faults"),
            ("CPU 秒", "CPU s"),
            ("最慢毫秒", "slowest ms"),
            ("内存增量", "KiB grown"),
        ):
            table.add_column(heading(zh, en), justify="right")
        for row in self.rows:
            table.add_row(
                f"{row.name_zh} / {row.target}",
                *(f"{count:,}" for count in (row.inputs, row.taken, row.refused)),
                f"{row.fault_count} {mark(row.is_clean)}",
                f"{row.seconds:.1f}",
                f"{row.slowest_ms:.1f}",
                f"{row.memory_kib:,}",
            )
        return [table, *(f"✗ {row.target}: {fault}" for row in self.rows for fault in row.faults)]


def measure(*, inputs: int = INPUTS, workers: int | None = None, only: Collection[str] = ()) -> FuzzResult:
    """Every target, or those named by `only`, with `inputs` inputs. One worker stays in this process."""
    from bench.fuzz_targets import targets

    chosen = [target for target in targets() if not only or target.name in only]
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        return FuzzResult([run(target, inputs) for target in chosen], SEED)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
        names = [target.name for target in chosen]
        return FuzzResult(list(pool.map(_run_named, names, [inputs] * len(names))), SEED)


def _run_named(name: str, inputs: int) -> FuzzRow:
    """In a fresh process, where what refusals write to a log is nobody's."""
    from bench.fuzz_targets import targets

    logging.disable(logging.CRITICAL)
    return run(next(target for target in targets() if target.name == name), inputs)


def run(target: Target, inputs: int) -> FuzzRow:
    """One target. Raises what `feed` does when it does not take the first sample: then the rest would say little."""
    feed, refusals = target.feed, target.refusals
    feed(target.samples[0])
    taken = refused = 0
    slowest, faults, fault_count = 0.0, dict[str, str](), 0
    # What the machine does meanwhile is no fault of a parser: time of this process alone.
    memory, clock = peak_kib(), time.process_time
    started = clock()
    for raw in mutations(target.samples, inputs, f"{SEED} {target.name}"):
        before = clock()
        try:
            feed(raw)
            taken += 1
        except refusals:
            refused += 1
        except Exception as error:
            # Whatever else comes out of a parser is what this looks for.
            fault_count += 1
            kind = f"{type(error).__name__}: {error}"[:120]
            if len(faults) < KEPT_FAULTS:
                faults.setdefault(kind, raw.hex())
        slowest = max(slowest, clock() - before)
    seconds = clock() - started
    return FuzzRow(
        target.name,
        target.name_zh,
        inputs,
        taken,
        refused,
        fault_count,
        round(seconds, 2),
        round(slowest * 1000, 2),
        peak_kib() - memory,
        [f"{kind} <- {raw[:400]}" for kind, raw in faults.items()],
    )


def mutations(samples: tuple[bytes, ...], count: int, seed: str) -> Iterator[bytes]:
    """`count` inputs, always the same for the same samples and seed."""
    rng = random.Random(seed)
    for _ in range(count):
        draw = rng.random()
        if draw < 0.3:
            yield rng.randbytes(int(rng.random() * _SHORT))
        elif draw < 0.301:
            yield rng.randbytes(int(rng.random() * _LONGEST))
        elif draw < 0.35:
            yield bytes(rng.choices(_EDGES, k=int(rng.random() * _LONG)))
        else:
            raw = bytearray(samples[int(rng.random() * len(samples))])
            for _ in range(1 + int(rng.random() * 3)):
                _change(raw, rng, samples)
            yield bytes(raw)


def _change(raw: bytearray, rng: random.Random, samples: tuple[bytes, ...]) -> None:
    """One edit in place: of a byte, of a stretch, or a piece of another sample."""
    at = int(rng.random() * (len(raw) + 1))
    size = 1 + int(rng.random() * 8)
    edit = int(rng.random() * 8)
    if edit == 0 and at < len(raw):
        raw[at] ^= 1 << int(rng.random() * 8)
    elif edit == 1 and at < len(raw):
        raw[at] = int(rng.random() * 256)
    elif edit == 2 and at < len(raw):
        raw[at] = _EDGES[int(rng.random() * len(_EDGES))]
    elif edit == 3:
        del raw[at : at + size]
    elif edit == 4:
        raw[at:at] = rng.randbytes(size)
    elif edit == 5:
        raw[at:at] = raw[at : at + size] * (1 + int(rng.random() * 6))
    elif edit == 6:
        del raw[at:]
    else:
        other = samples[int(rng.random() * len(samples))]
        raw[at:] = other[int(rng.random() * (len(other) + 1)) :]
