"""64 threads on every backend of the key service for two minutes, a machine lost in the middle: no error, nothing lost.

Every answer is compared with the expected one, computed beforehand on the bare library or checked with it. A third of
the way in, one of two machines (SDF: unplugged; PKCS#11: its token's folder gone) or the only server (killed) is taken
away; at two thirds it is back. Where there is a spare, callers must notice nothing; where there is none they get a
DeviceLostError at once, ask again, and no call is given up.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rich.table import Table

from bench.key_backends import BACKENDS, BackendMissingError, Roots, Stand, opened
from bench.key_operations import REGION, SIGNATURE, operations
from bench.measure import heading, mark
from hsm.api import Authentication, CardFactors, HsmError, Purpose
from hsm.device import DeviceLostError
from hsm.primitives import default_engine

THREADS, SECONDS = 64, 120.0
ASK_AGAIN_S: Final = 0.05
END_S: Final = 60.0
CARDS: Final = 16
BATCH_EVERY: Final = 16
"""Of a thread's calls: batches of 256 are rarer than single ones, as in service."""


@dataclass(frozen=True, slots=True)
class SoakRow:
    """`wrong` answers, `failed` calls by error, `asked_again` while nothing could answer; times in milliseconds. A loss
    that nobody felt does not meet it either."""

    backend: str
    threads: int
    seconds: float
    calls: int
    wrong: int
    failed: dict[str, int]
    asked_again: int
    lost_machines: int
    median_ms: float
    longest_ms: float
    resumed_ms: float | None
    is_met: bool


@dataclass(frozen=True, slots=True)
class SoakResult:
    rows: list[SoakRow]
    skipped: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_met": all(row.is_met for row in self.rows)}

    def tables(self) -> list[Table | str]:
        table = Table(
            title="密钥服务持续负载，中途失去一台密码机 / key service under load, a machine lost in the middle",
            caption="恢复：从失去到下一个答复 / resumed: from the loss to the next answer that began after it",
        )
        table.add_column(heading("后端", "backend"), no_wrap=True)
        for zh, en in (
            ("线程", "threads"),
            ("秒", "seconds"),
            ("次数", "calls"),
            ("每秒", "per s"),
            ("答错", "wrong"),
            ("出错", "failed"),
            ("重问", "asked again"),
            ("失机", "lost"),
            ("中位 ms", "median"),
            ("最长 ms", "longest"),
            ("恢复 ms", "resumed"),
            ("", ""),
        ):
            table.add_column(heading(zh, en), justify="right")
        for row in self.rows:
            failed = "，".join(f"{name} {count}" for name, count in row.failed.items()) or "0"
            table.add_row(
                row.backend,
                str(row.threads),
                f"{row.seconds:.0f}",
                f"{row.calls:,}",
                f"{row.calls / row.seconds:,.0f}",
                str(row.wrong),
                failed,
                str(row.asked_again),
                str(row.lost_machines),
                f"{row.median_ms:.1f}",
                f"{row.longest_ms:,.0f}",
                "—" if row.resumed_ms is None else f"{row.resumed_ms:,.0f}",
                mark(row.is_met),
            )
        return [table, *self.skipped]


@dataclass(slots=True)
class Tally:
    """Of all threads; each adds its own under the lock, once."""

    calls: int = 0
    wrong: int = 0
    asked_again: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    begun_and_done: list[tuple[float, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, other: Tally) -> None:
        with self.lock:
            self.calls += other.calls
            self.wrong += other.wrong
            self.asked_again += other.asked_again
            self.failed += other.failed
            self.begun_and_done += other.begun_and_done


Check = Callable[[], bool]


def measure(*, seconds: float = SECONDS, threads: int = THREADS, only: tuple[str, ...] = tuple(BACKENDS)) -> SoakResult:
    rows, skipped, roots = [], [], Roots.random()
    for name in only:
        try:
            with opened(name, roots) as stand:
                rows.append(_soaked(stand, checks(stand, roots), seconds, threads))
        except BackendMissingError as error:
            skipped.append(f"{name}: {error}")
    return SoakResult(rows, skipped)


def checks(stand: Stand, roots: Roots) -> tuple[list[Check], list[Check]]:
    """Calls that tell whether the answer was right: single ones, and rarer, heavier ones."""
    service, engine = stand.service, default_engine()
    light: list[Check] = []
    heavy: list[Check] = []
    for operation in operations(stand, roots, engine):
        expected = operation.same(operation.bare())
        heavy.append(lambda o=operation, e=expected: bool(o.same(o.through()) == e))  # type: ignore[misc]
        if operation.name == SIGNATURE:
            light += [heavy.pop()]
    for ref in stand.refs("IRK"):
        for number in range(CARDS):
            card = CardFactors(REGION, bytes((number,)) * 8)
            asked = Authentication(card, bytes((number,)) * 8, bytes(8))
            light.append(_equal(lambda r=ref, c=card: service.card_kcv(r, c)))  # type: ignore[misc]
            light.append(_equal(lambda r=ref, a=asked: service.authentication_value_batch(r, [a])))  # type: ignore[misc]
    listed = service.keys()
    sealer = next(info.ref for info in listed if info.purpose is Purpose.SEAL and info.ref.name == "records")
    light.append(lambda: service.unseal(sealer, service.seal(sealer, b"row 7", b"7"), b"7") == b"row 7")
    return light, heavy


def _equal(call: Callable[[], object]) -> Check:
    """Always the answer of before the soak, which `operations` compared with the bare library for its like."""
    expected = call()
    return lambda: call() == expected


def _soaked(stand: Stand, work: tuple[list[Check], list[Check]], seconds: float, count: int) -> SoakRow:
    tally, is_over, started = Tally(), threading.Event(), time.monotonic()
    threads = [threading.Thread(target=_work, args=(n, *work, is_over, tally), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 3)
    lost_at = time.monotonic()
    stand.lose()
    time.sleep(seconds / 3)
    stand.restore()
    # A third for work after it, however long a server takes to start.
    time.sleep(seconds / 3)
    is_over.set()
    elapsed, end = time.monotonic() - started, time.monotonic() + END_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    hanging = sum(thread.is_alive() for thread in threads)
    if hanging:
        tally.failed["hanging"] += hanging
    return _row(stand, tally, elapsed, count, lost_at)


def _row(stand: Stand, tally: Tally, seconds: float, count: int, lost_at: float) -> SoakRow:
    durations = sorted(done - begun for begun, done in tally.begun_and_done) or [0.0]
    after = [done for begun, done in tally.begun_and_done if begun >= lost_at]
    lost = sum(found.lost for found in stand.pool.figures()) if stand.pool else int(bool(tally.asked_again))
    was_hit = bool(lost) or stand.name == "soft"
    is_right = bool(after) and not tally.wrong and not tally.failed
    is_met = is_right and was_hit and bool(tally.asked_again) != stand.has_spare
    return SoakRow(
        stand.name,
        count,
        round(seconds, 1),
        tally.calls,
        tally.wrong,
        dict(tally.failed),
        tally.asked_again,
        lost,
        round(1000 * durations[len(durations) // 2], 2),
        round(1000 * durations[-1], 1),
        round(1000 * (min(after) - lost_at), 1) if after else None,
        is_met,
    )


def _work(number: int, light: list[Check], heavy: list[Check], is_over: threading.Event, tally: Tally) -> None:
    own, turn = Tally(), number
    while not is_over.is_set():
        turn += 1
        is_heavy = bool(heavy) and turn % BATCH_EVERY == 0
        check = heavy[turn // BATCH_EVERY % len(heavy)] if is_heavy else light[turn % len(light)]
        _ask(check, is_over, own)
    tally.add(own)


def _ask(check: Check, is_over: threading.Event, own: Tally) -> None:
    """Until it is answered: a call is not given up because a machine was lost, only when it never comes back."""
    begun, last_try = time.monotonic(), None
    while True:
        try:
            is_right = check()
        except DeviceLostError as error:
            if is_over.is_set():
                last_try = last_try or time.monotonic() + END_S / 2
                if time.monotonic() > last_try:
                    own.failed[type(error).__name__] += 1
                    return
            own.asked_again += 1
            time.sleep(ASK_AGAIN_S)
        except (HsmError, OSError, ValueError, RuntimeError) as error:
            own.failed[type(error).__name__] += 1
            return
        else:
            own.calls += 1
            own.wrong += not is_right
            own.begun_and_done.append((begun, time.monotonic()))
            return
