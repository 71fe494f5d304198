"""Many readers at once: what one that hangs costs the others, in this process, on serial lines and through pcscd.

Every reader has its own thread, which sends a command every `PACE_S` with an offset of its own; in the second run the
card in the first reader never answers. Serial readers are pseudo-terminals, so their wire takes no time.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from apdu import pcsc
from apdu.errors import TransportError
from apdu.inprocess import InProcessReaders
from apdu.readers import CardConnection, ReaderService
from apdu.serial import port
from apdu.serial.mt3 import Slot
from apdu.serial.readers import Mt3Port, SerialReaders
from bench.apdu import TrivialCard
from bench.client import CLIENT_S, ClientError, present, run_client
from bench.measure import heading, mark
from simulators.ifd import IfdLink
from simulators.pcscd import Driver, PcscdError, PrivatePcscd
from simulators.serial import SimMt3Reader
from simulators.vpcd import VpcdLink

READERS, PCSC_READERS = 64, 16
READ = bytes.fromhex("00B0000004")
HANG = bytes.fromhex("00FE0000")
PACE_S = 0.05
APPEAR_S = 20.0
LIMIT_MS = 50.0
IN_PROCESS, SERIAL, PCSC, IFD = "in process", "serial", "PC/SC, vpcd", "PC/SC, IFD handler"
NAMES_ZH = {IN_PROCESS: "进程内", SERIAL: "串口", PCSC: "PC/SC", IFD: "自有驱动"}


class HangingCard(TrivialCard):
    """Does not answer HANG until released."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def transmit(self, command: bytes) -> bytes:
        if command == HANG:
            self.release.wait(2 * CLIENT_S)
        return super().transmit(command)


@dataclass(frozen=True, slots=True)
class ReadersRow:
    """Milliseconds for one command of a working reader; `is_met` when none took over LIMIT_MS beside a frozen one."""

    transport: str
    readers: int
    free_p50_ms: float
    free_max_ms: float
    frozen_p50_ms: float
    frozen_p99_ms: float
    frozen_max_ms: float
    is_met: bool


@dataclass(frozen=True, slots=True)
class ReadersResult:
    """`skipped` names the transports this machine has not, with the reason."""

    rows: list[ReadersRow]
    skipped: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        table = Table(
            title="多台读卡器同时工作，毫秒 / many readers at once, milliseconds per command",
            caption=f"一台卡死时其余不超过 {LIMIT_MS:.0f} 毫秒 / one frozen, no other above {LIMIT_MS:.0f} ms",
        )
        table.add_column(heading("接入方式", "transport"), no_wrap=True)
        for name in (
            heading("台数", "readers"),
            heading("平时", "free p50"),
            heading("平时最长", "free max"),
            heading("一台卡死", "frozen p50"),
            "p99",
            heading("最长", "max"),
            "",
        ):
            table.add_column(name, justify="right")
        for row in self.rows:
            figures = (row.free_p50_ms, row.free_max_ms, row.frozen_p50_ms, row.frozen_p99_ms, row.frozen_max_ms)
            name = f"{NAMES_ZH[row.transport]} / {row.transport}"
            table.add_row(name, str(row.readers), *(f"{figure:.2f}" for figure in figures), mark(row.is_met))
        return [table, *(f"跳过 / skipped: {reason}" for reason in self.skipped)]


def measure(*, readers: int = READERS, pcsc_readers: int = PCSC_READERS, calls: int = 60) -> ReadersResult:
    rows, skipped = [], []
    with _in_process(readers) as (service, names, card):
        rows.append(_compare(IN_PROCESS, service, names, card, calls))
    usable, reason = port.is_available()
    if usable:
        with _serial(readers) as (service, names, card):
            rows.append(_compare(SERIAL, service, names, card, calls))
    else:
        skipped.append(reason)
    for transport in (PCSC, IFD):
        row = _over_pcsc(transport, pcsc_readers, calls)
        if isinstance(row, ReadersRow):
            rows.append(row)
        else:
            skipped.append(row)
    return ReadersResult(rows, skipped)


Setting = tuple[ReaderService, list[str], HangingCard]


@contextmanager
def _in_process(count: int) -> Iterator[Setting]:
    names = [f"reader {number}" for number in range(count)]
    service, first = InProcessReaders(names), HangingCard()
    for name in names:
        service.insert(name, first if name == names[0] else TrivialCard())
    try:
        yield service, names, first
    finally:
        first.release.set()
        service.close()


@contextmanager
def _serial(count: int) -> Iterator[Setting]:
    first = HangingCard()
    with ExitStack() as stack:
        devices = [
            stack.enter_context(SimMt3Reader({"user": TrivialCard() if number else first}, label=str(number)))
            for number in range(count)
        ]
        ports = [
            Mt3Port(device.path, label=str(number), slots=(Slot.USER,), answer_timeout_s=2 * CLIENT_S)
            for number, device in enumerate(devices)
        ]
        stack.callback(first.release.set)
        service = stack.enter_context(SerialReaders(ports))
        yield service, [config.reader_name(Slot.USER) for config in ports], first


def _over_pcsc(transport: str, count: int, calls: int) -> ReadersRow | str:
    """The client is a process of its own: libpcsclite finds its service once. A string says why not."""
    usable, reason = pcsc.is_available(needs_service=False)
    if not usable:
        return reason
    first = HangingCard()
    with ExitStack() as stack:
        try:
            driver: Driver = "onecard" if transport == IFD else "vpcd"
            # A card that hangs stays frozen for the whole measurement.
            service = stack.enter_context(PrivatePcscd(vpcds=count // 2, driver=driver, card_timeout_s=2 * CLIENT_S))
        except PcscdError as error:
            return str(error)
        for number in range(count):
            card = TrivialCard() if number else first
            stack.enter_context(
                IfdLink(card, service.sockets[number]) if transport == IFD else VpcdLink(card, service.ports[number])
            )
        stack.callback(first.release.set)
        return ReadersRow(**run_client("bench.readers", transport, count, calls, env=service.env))


def client(transport: str, count: int, calls: int) -> ReadersRow:
    """In the service this process was given."""
    service = pcsc.PcscReaders(resets_on_close=False)
    names = present(service, count, APPEAR_S)
    return _compare(transport, service, names, None, calls)


def _compare(
    transport: str, service: ReaderService, names: list[str], card: HangingCard | None, calls: int
) -> ReadersRow:
    """All readers, then all but the first, which hangs meanwhile. `card` is released when it is ours to release."""
    present(service, len(names), APPEAR_S)
    with ExitStack() as stack:
        connections = [service.connect(name) for name in names]
        for connection in connections[1:]:
            stack.callback(connection.close)
        free = _drive(connections, calls)
        stuck = threading.Thread(target=_hang, args=(connections[0],), daemon=True)
        stuck.start()
        frozen = _drive(connections[1:], calls)
        if not stuck.is_alive():
            raise ClientError(f"{transport}: the frozen reader was not frozen")
        if card is not None:
            card.release.set()
            stuck.join()
            connections[0].close()
    worst = frozen[-1]
    return ReadersRow(
        transport, len(names), _at(free, 50), free[-1], _at(frozen, 50), _at(frozen, 99), worst, worst <= LIMIT_MS
    )


def _drive(connections: list[CardConnection], calls: int) -> list[float]:
    """Sorted milliseconds of all commands. A reader that fails ends the measurement."""
    figures: list[list[float]] = [[] for _ in connections]

    def work(connection: CardConnection, found: list[float]) -> None:
        time.sleep(random.random() * PACE_S)
        for _ in range(calls):
            started = time.perf_counter()
            connection.transmit(READ)
            elapsed = time.perf_counter() - started
            found.append(elapsed * 1000)
            time.sleep(max(0.0, PACE_S - elapsed))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(connections, figures, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if any(len(found) != calls for found in figures):
        raise ClientError("a reader that should work did not")
    return sorted(round(figure, 3) for found in figures for figure in found)


def _hang(connection: CardConnection) -> None:
    with suppress(TransportError):
        connection.transmit(HANG)


def _at(figures: list[float], percent: int) -> float:
    return figures[min(len(figures) - 1, len(figures) * percent // 100)]


if __name__ == "__main__":
    print(json.dumps(asdict(client(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
    sys.stdout.flush()
    # The thread at the frozen card waits inside the library and would keep a normal exit waiting.
    os._exit(0)
