"""Our own reader driver beside vpcd: how soon a card is noticed, and what a card that hangs costs.

The event arrives at a monitor in the process that plugs the card in; 16 readers on one library are measured with the
others in `bench.readers`. vpcd has no figure for a card that hangs: it waits for ever.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from apdu import pcsc
from apdu.errors import TransportError
from apdu.readers import EventKind, ReaderMonitor
from bench.apdu import TrivialCard
from bench.client import EventLog, run_client
from bench.measure import heading, mark
from bench.removals import HeldCard
from simulators.ifd import IfdLink
from simulators.pcscd import Driver, PrivatePcscd, is_available
from simulators.vpcd import VpcdLink

ROUNDS, PEER_ROUNDS, HUNG_ROUNDS = 100, 10, 3
EVENT_TARGET_MS = 1.0
CARD_TIMEOUT_S = 0.5
SLACK_MS = 50.0
NAMES_ZH = {"insertion": "插卡事件", "removal": "拔卡事件", "a card that hangs": "卡无应答报错"}
DRIVERS: dict[Driver, str] = {"onecard": "IFD handler", "vpcd": "vpcd"}


@dataclass(frozen=True, slots=True)
class IfdRow:
    """From the act to its event, or to the error at the caller. `target_ms` is of the median."""

    what: str
    driver: str
    rounds: int
    median_ms: float
    max_ms: float
    target_ms: float | None
    is_met: bool | None


@dataclass(frozen=True, slots=True)
class IfdResult:
    """`skipped` says why a driver has no rows."""

    rows: list[IfdRow]
    skipped: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        table = Table(
            title="读卡器驱动，毫秒 / reader drivers, milliseconds",
            caption=f"卡超时 {CARD_TIMEOUT_S * 1000:.0f} 毫秒；vpcd 无超时 / time-out of a card; vpcd has none",
        )
        table.add_column(heading("事项", "what"), no_wrap=True)
        table.add_column(heading("驱动", "driver"))
        for zh, en in (("次数", "times"), ("中位", "median"), ("最长", "max"), ("目标", "target")):
            table.add_column(heading(zh, en), justify="right")
        for row in self.rows:
            table.add_row(
                f"{NAMES_ZH[row.what]} / {row.what}",
                row.driver,
                str(row.rounds),
                f"{row.median_ms:.2f}",
                f"{row.max_ms:.2f}",
                f"≤ {row.target_ms:.0f} {mark(row.is_met)}" if row.target_ms else "—",
            )
        return [table, *(f"跳过 / skipped: {reason}" for reason in self.skipped)]


def measure(*, rounds: int = ROUNDS, peer_rounds: int = PEER_ROUNDS, hung_rounds: int = HUNG_ROUNDS) -> IfdResult:
    rows, skipped = list[IfdRow](), list[str]()
    counts: dict[Driver, int] = {"onecard": rounds, "vpcd": peer_rounds}
    for driver, count in counts.items():
        for usable, reason in (pcsc.is_available(needs_service=False), is_available(driver)):
            if not usable:
                skipped.append(f"{DRIVERS[driver]}: {reason}")
                break
        else:
            rows += [IfdRow(**row) for row in run_client("bench.ifd", driver, count, hung_rounds)]
    return IfdResult(rows, skipped)


def client(driver: Driver, rounds: int, hung_rounds: int) -> list[IfdRow]:
    """In a process of its own."""
    with PrivatePcscd(driver=driver, card_timeout_s=CARD_TIMEOUT_S) as daemon:
        os.environ.update(daemon.env)
        rows = _events(driver, daemon, rounds)
        if driver == "onecard":
            times = [_hung_ms(daemon) for _ in range(hung_rounds)]
            rows.append(_row("a card that hangs", driver, times, CARD_TIMEOUT_S * 1000 + SLACK_MS))
    return rows


def _events(driver: Driver, daemon: PrivatePcscd, rounds: int) -> list[IfdRow]:
    log = EventLog()
    monitor = ReaderMonitor(pcsc.PcscReaders(), log.put)
    monitor.start()
    log.expect("reader_added", "reader_added")
    times: dict[str, list[float]] = {"insertion": [], "removal": []}
    for _ in range(rounds):
        link: IfdLink | VpcdLink = (
            IfdLink(TrivialCard(), daemon.sockets[0])
            if driver == "onecard"
            else VpcdLink(TrivialCard(), daemon.ports[0])
        )
        acts: tuple[tuple[str, Any, EventKind], ...] = (
            ("insertion", link.insert, "card_inserted"),
            ("removal", link.remove, "card_removed"),
        )
        for what, act, kind in acts:
            # VpcdLink itself waits until a removal must have been noticed; never in step with vpcd's polls.
            time.sleep(0.5 + random.random() * 0.4 if driver == "vpcd" else 0.002)
            started = time.monotonic()
            act()
            log.expect(kind)
            times[what].append(1000 * (time.monotonic() - started))
    monitor.stop()
    target = EVENT_TARGET_MS if driver == "onecard" else None
    return [_row(what, driver, found, target) for what, found in times.items()]


def _link(driver: Driver, daemon: PrivatePcscd) -> IfdLink | VpcdLink:
    card = TrivialCard()
    return IfdLink(card, daemon.sockets[0]) if driver == "onecard" else VpcdLink(card, daemon.ports[0])


def _hung_ms(daemon: PrivatePcscd) -> float:
    """Until the caller of a card that does not answer has its error."""
    log, card = EventLog(), HeldCard()
    monitor = ReaderMonitor(pcsc.PcscReaders(), log.put)
    monitor.start()
    log.expect("reader_added", "reader_added")
    with IfdLink(card, daemon.sockets[0]):
        reader = log.expect("card_inserted")[0].reader
        with pcsc.PcscReaders().connect(reader) as connection:
            started = time.monotonic()
            try:
                connection.transmit(HeldCard.HOLD)
            except TransportError:
                took_ms = 1000 * (time.monotonic() - started)
            else:
                took_ms = float("inf")
        card.leave.set()
    monitor.stop()
    return took_ms


def _row(what: str, driver: Driver, times: list[float], target_ms: float | None) -> IfdRow:
    median = round(statistics.median(times), 3)
    is_met = median <= target_ms if target_ms else None
    return IfdRow(what, DRIVERS[driver], len(times), median, round(max(times), 3), target_ms, is_met)


if __name__ == "__main__":
    chosen: Driver = "vpcd" if sys.argv[1] == "vpcd" else "onecard"
    print(json.dumps([asdict(row) for row in client(chosen, int(sys.argv[2]), int(sys.argv[3]))]), flush=True)
