"""Readers and their service taken away at the worst moment: pcscd killed under a session, readers and cards gone in
mid-command.

Each round ends with the next session on a new insertion; events, threads and file descriptors are counted over all
rounds. Recovery is the time from the service being back with a card in it to the first answer of the next session.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.table import Table

from apdu import pcsc
from apdu.errors import TransportError
from apdu.readers import EventKind, ReaderEvent, ReaderMonitor, ReaderService
from apdu.serial import port
from bench.apdu import TrivialCard
from bench.client import EVENT_S, ClientError, EventLog, run_client
from bench.measure import heading, mark
from bench.removals import (
    LIMIT_MS,
    READ,
    TRANSPORTS,
    Census,
    ChaosRow,
    DirectVpcd,
    InProcess,
    Serial,
    removals,
    removed,
    row_of,
)
from simulators.ifd import IfdLink
from simulators.pcscd import Driver, PrivatePcscd, is_available
from simulators.vpcd import VpcdLink

KILLS, REMOVALS = 100, 1000
DRIVERS: Final[tuple[Driver, ...]] = ("onecard", "vpcd")
SHARES: Final = {"in process": 57, "IFD handler": 25, "vpcd link": 10, "vpcd": 5, "serial": 3}
"""Of 100 removals. In-process and IFD rounds take milliseconds, the others up to a second."""
_ROUND_S = 2.0


@dataclass(frozen=True, slots=True)
class ChaosResult:
    """`skipped` names what this machine cannot run, with the reason."""

    rows: list[ChaosRow]
    skipped: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_met": all(row.is_met for row in self.rows)}

    def tables(self) -> list[Table | str]:
        table = Table(
            title="命令途中失去服务、读卡器或卡 / service, readers and cards lost in mid-command",
            caption=(
                f"毫秒：恢复或报错所需 / ms to recover, or to the error; ≤ {LIMIT_MS:.0f}\n"
                "漏报事件、死线程、泄漏的线程与描述符 / events missed, dead threads, leaked threads/descriptors"
            ),
        )
        table.add_column(heading("事件", "what"), no_wrap=True)
        for zh, en in (
            ("次数", "times"),
            ("中位", "median"),
            ("最长", "max"),
            ("漏报", "missed"),
            ("错误", "wrong"),
            ("死线程", "dead"),
            ("泄漏", "leaked"),
            ("", ""),
        ):
            table.add_column(heading(zh, en) if en else "", justify="right")
        for row in self.rows:
            table.add_row(
                f"{row.name_zh} / {row.what}, {row.transport}",
                str(row.rounds),
                f"{row.median_ms:.1f}",
                f"{row.max_ms:.1f}",
                *(str(count) for count in (row.missed_events, row.wrong, row.dead_threads)),
                f"{row.leaked_threads}/{row.leaked_descriptors}",
                mark(row.is_met),
            )
        return [table, *(f"跳过 / skipped: {reason}" for reason in self.skipped)]


def measure(*, kills: int = KILLS, removals: int = REMOVALS) -> ChaosResult:
    """Kills are shared out among the drivers there are, removals as `SHARES` says; each share at least one."""
    # Every loss is what this is about, and would be a warning.
    logger = logging.getLogger("apdu")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return _measure(kills, removals)
    finally:
        logger.setLevel(level)


def _measure(kills: int, removals: int) -> ChaosResult:
    rows, skipped = [], []
    usable = {driver: _usable(driver) for driver in DRIVERS}
    drivers = [driver for driver, reason in usable.items() if not reason]
    for place, driver in enumerate(drivers):
        rounds = max(1, (kills + len(drivers) - 1 - place) // len(drivers))
        rows.append(_in_own_process("kills", driver, rounds))
    shares = {name: max(1, removals * share // 100) for name, share in SHARES.items()}
    rows += [removed(InProcess(), shares["in process"]), removed(DirectVpcd(), shares["vpcd link"])]
    available, reason = port.is_available()
    if available:
        rows.append(removed(Serial(), shares["serial"]))
    else:
        skipped.append(reason)
    rows += [_in_own_process("removals", driver, shares[TRANSPORTS[driver]]) for driver in drivers]
    return ChaosResult(rows, skipped + [reason for reason in usable.values() if reason])


def _usable(driver: Driver) -> str:
    """Why not, empty when it is."""
    for available, reason in (pcsc.is_available(needs_service=False), is_available(driver)):
        if not available:
            return reason
    return ""


def _in_own_process(act: str, driver: Driver, rounds: int) -> ChaosRow:
    return ChaosRow(**run_client("bench.chaos", act, driver, rounds, timeout_s=60 + 2 * _ROUND_S * rounds))


# -- pcscd killed under a session -------------------------------------------------------------------------------------


class _Session:
    """A thread that talks to the card in a reader as long as it can, and again when `begin` names one.

    It is a worker of an agent in small; any error but a TransportError ends it, and is a dead thread.
    """

    def __init__(self, service: ReaderService) -> None:
        self._service = service
        self._inserted = threading.Event()
        self.answered = threading.Event()
        self.lost = threading.Event()
        self._reader = ""
        self._is_stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def begin(self, events: list[ReaderEvent]) -> bool:
        """Go to the reader of the insertion among `events`; whether the card answered."""
        self.answered.clear()
        self.lost.clear()
        self._reader = next((event.reader for event in events if event.kind == "card_inserted"), "")
        self._inserted.set()
        return self.answered.wait(EVENT_S)

    def stop(self) -> None:
        self._is_stopping = True
        self._inserted.set()
        self.thread.join(EVENT_S)

    def _run(self) -> None:
        while not self._is_stopping:
            self._inserted.wait()
            self._inserted.clear()
            with suppress(TransportError), self._service.connect(self._reader) as connection:
                while not self._is_stopping:
                    connection.transmit(READ)
                    self.answered.set()
            self.lost.set()


def kills(driver: Driver, rounds: int) -> ChaosRow:
    """In a process of its own. One round more than counted, to warm up."""
    wrong, log = 0, EventLog()
    with ExitStack() as stack:
        daemon = stack.enter_context(PrivatePcscd(driver=driver))
        os.environ.update(daemon.env)
        service = pcsc.PcscReaders()
        monitor = ReaderMonitor(service, log.put)
        monitor.start()
        stack.callback(monitor.stop)
        log.expect("reader_added", "reader_added")
        card, session = _insert(driver, daemon), _Session(service)
        stack.callback(session.stop)
        wrong += not session.begin(log.expect("card_inserted"))

        def recovery_ms() -> float:
            nonlocal card, wrong
            daemon.restart()
            wrong += not session.lost.wait(EVENT_S)
            card.remove()
            card = _insert(driver, daemon)
            started = time.monotonic()
            wrong += not session.begin(log.expect(*_KILLED))
            return 1000 * (time.monotonic() - started)

        recovery_ms()
        census = Census()
        times = [recovery_ms() for _ in range(rounds)]
        leaked, missed = census.leaked(), log.finish()
        dead = (not monitor.is_running) + (not session.thread.is_alive())
        stack.callback(card.remove)
    return row_of("pcscd killed", "杀死 pcscd", TRANSPORTS[driver], times, missed, wrong, dead, leaked)


_KILLED: Final[tuple[EventKind, ...]] = (
    *("card_removed", "reader_removed", "reader_removed", "service_lost"),
    *("service_restored", "reader_added", "reader_added", "card_inserted"),
)


def _insert(driver: Driver, daemon: PrivatePcscd, card: TrivialCard | None = None) -> IfdLink | VpcdLink:
    card = card or TrivialCard()
    link = IfdLink(card, daemon.sockets[0]) if driver == "onecard" else VpcdLink(card, daemon.ports[0])
    link.insert()
    return link


def main(act: str, driver: str, rounds: int) -> None:
    acts = {"kills": kills, "removals": removals}
    if act not in acts or driver not in DRIVERS:
        raise ClientError(f"no {act} with {driver}")
    print(json.dumps(asdict(acts[act](driver, rounds))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
