"""Rounds in which all contenders take turns, and the median over the rounds.

One figure alone says little on a machine that others use; contenders measured in turns share its moods.
"""

from __future__ import annotations

import gc
import os
import platform
import ssl
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Protocol

from cryptography.hazmat.backends.openssl.backend import backend
from rich.table import Table

Action = Callable[[], object]

STATUS = Path("/proc/self/status")
_PEERS = ("cryptography", "gmssl", "pycryptodome", "pyscard", "yubikey-manager")


class BenchError(ValueError):
    """A part that does not exist, or contenders that do not give the same result."""

    failure: ClassVar[str] = "INPUT_INVALID"


class Part(Protocol):
    """Figures of one part: the same for people and for programs."""

    def tables(self) -> list[Table | str]:
        """What goes to the screen; a plain sentence where a part was skipped."""
        ...

    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """What a figure depends on. `openssl` is Python's own library, which also computes SM2."""

    cores: int
    architecture: str
    python: str
    openssl: str
    cryptography_openssl: str
    packages: dict[str, str]
    date: str

    @classmethod
    def here(cls) -> Machine:
        return cls(
            cores=os.cpu_count() or 1,
            architecture=platform.machine(),
            python=platform.python_version(),
            openssl=ssl.OPENSSL_VERSION,
            cryptography_openssl=backend.openssl_version_text(),
            packages={name: found for name in _PEERS if (found := _version(name))},
            date=datetime.now(UTC).isoformat(timespec="minutes"),
        )

    def line(self) -> str:
        packages = " · ".join(f"{name} {number}" for name, number in self.packages.items())
        return (
            f"{self.cores} 核 / cores · {self.architecture} · Python {self.python} · {_short(self.openssl)} "
            f"(cryptography: {_short(self.cryptography_openssl)}) · {packages} · {self.date}"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _short(text: str) -> str:
    """`OpenSSL 3.0.19` of `OpenSSL 3.0.19 27 Jan 2026`."""
    return " ".join(text.split()[:2])


def peak_kib() -> int:
    """Most memory this program ever had, 0 where the system does not say; getrusage counts its parent's too."""
    if not STATUS.exists():
        return 0
    return int(STATUS.read_text(encoding="ascii").partition("VmHWM:")[2].split(maxsplit=1)[0])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one call, in microseconds; both are medians of the rounds' own percentiles."""

    p50_us: float
    p99_us: float


def rates(
    actions: Mapping[str, Action], *, rounds: int, slot_s: float, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Calls per second of each action. In every round each one runs for about `slot_s`, in changing order.

    With `clock=time.thread_time` what others do on the machine counts for less, but only this thread is counted.
    """
    counts = {name: _calls_in(action, slot_s) for name, action in actions.items()}
    seen: dict[str, list[float]] = {name: [] for name in actions}
    with _without_collector():
        for number in range(rounds):
            for name in _turns(list(actions), number):
                action, count = actions[name], counts[name]
                started = clock()
                for _ in range(count):
                    action()
                seen[name].append(count / (clock() - started))
    return {name: statistics.median(values) for name, values in seen.items()}


def latencies(actions: Mapping[str, Action], *, rounds: int, calls: int) -> dict[str, Latency]:
    """Each call timed by itself, `calls` in a row per round and action; the first round only warms up."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    clock = time.perf_counter_ns
    with _without_collector():
        for number in range(rounds + 1):
            for name in _turns(list(actions), number):
                action, durations = actions[name], []
                for _ in range(calls):
                    started = clock()
                    action()
                    durations.append(clock() - started)
                if number:
                    durations.sort()
                    seen[name].append((durations[calls // 2] / 1000, durations[calls * 99 // 100] / 1000))
    return {
        name: Latency(*(round(statistics.median(column), 1) for column in zip(*values, strict=True)))
        for name, values in seen.items()
    }


def agree(what: str, results: Mapping[str, object]) -> None:
    """Raise BenchError unless all contenders computed the same and not nothing: only then may they be compared."""
    first, *others = results.values()
    if not first or any(other != first for other in others):
        raise BenchError(f"{what}: {', '.join(results)} disagree")


def heading(name_zh: str, name_en: str) -> str:
    """Of a column; in two lines, so that a table fits a terminal."""
    return f"{name_zh}\n{name_en}"


def mark(is_met: bool | None) -> str:
    return "" if is_met is None else "[green]✓[/]" if is_met else "[red]✗[/]"


def times(ratio: float) -> str:
    return f"{ratio:.2f}×" if ratio < 2 else f"{ratio:.1f}×" if ratio < 20 else f"{ratio:,.0f}×"


def _calls_in(action: Action, slot_s: float) -> int:
    """How many calls fill the slot, from a run long enough to be told from the clock's own grain."""
    count = 1
    while True:
        started = time.perf_counter()
        for _ in range(count):
            action()
        elapsed = time.perf_counter() - started
        if elapsed >= slot_s / 8:
            return max(1, round(count * slot_s / elapsed))
        count *= 4


def _turns(names: list[str], number: int) -> list[str]:
    start = number % len(names)
    return names[start:] + names[:start]


@contextmanager
def _without_collector() -> Iterator[None]:
    """A collection would be charged to whoever happens to be running."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
