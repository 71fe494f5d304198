"""Readers and cards removed in mid-command, on every transport there is."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Protocol

from apdu.errors import TransportError
from apdu.inprocess import DEFAULT_READERS, InProcessReaders
from apdu.pcsc import PcscReaders
from apdu.readers import EventKind, ReaderMonitor, ReaderService
from apdu.serial.mt3 import Slot
from apdu.serial.readers import Mt3Port, SerialReaders
from apdu.vpcd import VpcdReaders
from bench.apdu import TrivialCard
from bench.client import EVENT_S, EventLog
from simulators.ifd import IfdLink
from simulators.pcscd import Driver, PrivatePcscd
from simulators.serial import SimMt3Reader
from simulators.vpcd import VpcdLink

LIMIT_MS = 2000.0
READ = bytes.fromhex("00B0000004")
TRANSPORTS: Final[dict[Driver, str]] = {"onecard": "IFD handler", "vpcd": "vpcd"}
NAMES_ZH: Final = {
    "in process": "进程内读卡器拔出",
    "IFD handler": "自有驱动，卡拔出",
    "vpcd link": "vpcd 直连，卡拔出",
    "vpcd": "vpcd 驱动，卡拔出",
    "serial": "串口线拔出",
}
_DESCRIPTORS = Path("/proc/self/fd")
_LOOKS: Final = 5
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class ChaosRow:
    """`median_ms`, `max_ms`: recovery after a kill, or from a removal to the error at the caller.

    `wrong` counts commands that ended otherwise than with a TransportError in time.
    """

    what: str
    name_zh: str
    transport: str
    rounds: int
    median_ms: float
    max_ms: float
    missed_events: int
    wrong: int
    dead_threads: int
    leaked_threads: int
    leaked_descriptors: int

    @property
    def is_clean(self) -> bool:
        """Nothing missed, wrong, dead or leaked, however long it took."""
        faults = (self.missed_events, self.wrong, self.dead_threads, self.leaked_threads, self.leaked_descriptors)
        return not any(faults)

    @property
    def is_met(self) -> bool:
        return self.is_clean and self.max_ms <= LIMIT_MS


class Census:
    """Threads and descriptors now and later; rounds before it is taken warm up what stays."""

    def __init__(self) -> None:
        # The median of some looks: a thread that waits in turns has a selector, but not at every moment.
        looks = [self._count()]
        while len(looks) < _LOOKS:
            time.sleep(_LOOK_S)
            looks.append(self._count())
        self._threads, self._descriptors = (statistics.median_low(column) for column in zip(*looks, strict=True))

    @staticmethod
    def _count() -> tuple[int, int]:
        descriptors = len(list(_DESCRIPTORS.iterdir())) if _DESCRIPTORS.exists() else 0
        return threading.active_count(), descriptors

    def leaked(self) -> tuple[int, int]:
        """More than before, when what is about to end had time to."""
        end = time.monotonic() + EVENT_S
        while True:
            threads, descriptors = self._count()
            found = max(0, threads - self._threads), max(0, descriptors - self._descriptors)
            if not any(found) or time.monotonic() > end:
                return found
            time.sleep(0.05)


class HeldCard(TrivialCard):
    """Does not answer HOLD; when `leave` is set it is gone."""

    HOLD: ClassVar = bytes.fromhex("00FE0000")

    def __init__(self) -> None:
        self.is_busy = threading.Event()
        self.leave = threading.Event()

    def transmit(self, command: bytes) -> bytes:
        if command != self.HOLD:
            return super().transmit(command)
        self.is_busy.set()
        self.leave.wait(EVENT_S)
        raise ConnectionResetError("the card has left")


class Stand(Protocol):
    """One way to have a reader and to lose it. `insert` and `pull` return the events that belong to them."""

    transport: str
    service: ReaderService
    start: tuple[EventKind, ...]

    def insert(self, card: HeldCard) -> tuple[EventKind, ...]: ...

    def pull(self, card: HeldCard) -> tuple[EventKind, ...]: ...

    def close(self) -> None: ...


class InProcess:
    """The reader goes with its card."""

    transport = "in process"
    start: tuple[EventKind, ...] = ()

    def __init__(self) -> None:
        self._readers = InProcessReaders(())
        self.service: ReaderService = self._readers

    def insert(self, card: HeldCard) -> tuple[EventKind, ...]:
        self._readers.add_reader(DEFAULT_READERS[0])
        self._readers.insert(DEFAULT_READERS[0], card)
        return "reader_added", "card_inserted"

    def pull(self, card: HeldCard) -> tuple[EventKind, ...]:
        self._readers.remove_reader(DEFAULT_READERS[0])
        card.leave.set()
        return "card_removed", "reader_removed"

    def close(self) -> None:
        self._readers.close()


class Links:
    """Cards at the end of a link, which they cut."""

    def __init__(self, link: Callable[[HeldCard], IfdLink | VpcdLink], transport: str, service: ReaderService) -> None:
        self.transport = transport
        self.service = service
        self.start: tuple[EventKind, ...] = ("reader_added", "reader_added")
        self._make = link
        self._link: IfdLink | VpcdLink | None = None

    def insert(self, card: HeldCard) -> tuple[EventKind, ...]:
        self._link = self._make(card)
        self._link.insert()
        return ("card_inserted",)

    def pull(self, card: HeldCard) -> tuple[EventKind, ...]:
        card.leave.set()
        return ("card_removed",)

    def close(self) -> None:
        if self._link is not None:
            self._link.remove()


class DirectVpcd(Links):
    """Our own reader side of the vpcd protocol."""

    def __init__(self) -> None:
        self._readers = VpcdReaders()
        super().__init__(lambda card: VpcdLink(card, self._readers.ports[0]), "vpcd link", self._readers)

    def close(self) -> None:
        super().close()
        self._readers.close()


class Serial:
    """The cable of an MT3 reader."""

    transport = "serial"
    start: tuple[EventKind, ...] = ()

    def __init__(self) -> None:
        self._device = SimMt3Reader()
        self._device.unplug()
        self._readers = SerialReaders([Mt3Port(self._device.path, slots=(Slot.USER,), poll_s=0.05)])
        self.service: ReaderService = self._readers

    def insert(self, card: HeldCard) -> tuple[EventKind, ...]:
        self._device.remove()
        self._device.insert(card)
        self._device.plug()
        return "reader_added", "card_inserted"

    def pull(self, card: HeldCard) -> tuple[EventKind, ...]:
        puller = threading.Thread(target=self._device.unplug)
        puller.start()
        # The simulated reader's own thread stays with its card until the line is gone.
        while Path(self._device.path).is_symlink():
            time.sleep(0.0005)
        card.leave.set()
        puller.join()
        return "card_removed", "reader_removed"

    def close(self) -> None:
        self._readers.close()
        self._device.close()


def removals(driver: Driver, rounds: int) -> ChaosRow:
    """In a process of its own."""
    with PrivatePcscd(driver=driver) as daemon:
        os.environ.update(daemon.env)

        def link(card: HeldCard) -> IfdLink | VpcdLink:
            return IfdLink(card, daemon.sockets[0]) if driver == "onecard" else VpcdLink(card, daemon.ports[0])

        return removed(Links(link, TRANSPORTS[driver], PcscReaders()), rounds)


def removed(stand: Stand, rounds: int) -> ChaosRow:
    """One round more than counted, to warm up."""
    log, times, wrong = EventLog(), list[float](), 0
    monitor = ReaderMonitor(stand.service, log.put)
    monitor.start()
    log.expect(*stand.start)
    try:
        _removal(stand, log)
        census = Census()
        for _ in range(rounds):
            took_ms = _removal(stand, log)
            times.append(took_ms or 0.0)
            wrong += took_ms is None
        leaked = census.leaked()
        dead = int(not monitor.is_running)
    finally:
        monitor.stop()
        stand.close()
    zh = NAMES_ZH[stand.transport]
    return row_of("removed", zh, stand.transport, times, log.finish(), wrong, dead, leaked)


def _removal(stand: Stand, log: EventLog) -> float | None:
    """Milliseconds from the removal to the TransportError of the running command; None when there was none."""
    card = HeldCard()
    inserted = stand.insert(card)
    reader = next((event.reader for event in log.expect(*inserted) if event.kind == "card_inserted"), "")
    ended_at: list[float] = []

    def hold() -> None:
        with suppress(TransportError):
            connection.transmit(HeldCard.HOLD)
            return
        ended_at.append(time.monotonic())

    with stand.service.connect(reader) as connection:
        connection.transmit(READ)
        caller = threading.Thread(target=hold, daemon=True)
        caller.start()
        card.is_busy.wait(EVENT_S)
        pulled_at = time.monotonic()
        gone = stand.pull(card)
        caller.join(EVENT_S)
    log.expect(*gone)
    return 1000 * (ended_at[0] - pulled_at) if ended_at else None


def row_of(
    what: str,
    name_zh: str,
    transport: str,
    times: list[float],
    missed: int,
    wrong: int,
    dead: int,
    leaked: tuple[int, int],
) -> ChaosRow:
    median = round(statistics.median(times), 2)
    return ChaosRow(what, name_zh, transport, len(times), median, round(max(times), 2), missed, wrong, dead, *leaked)
