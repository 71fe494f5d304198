"""One command to a card and back: through pcscd by three clients, and inside this process.

libpcsclite finds its service once per process, so the clients run in a process of their own; the card answers from
the one that started it, as a real card is nobody's thread.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rich.table import Table

from apdu import pcsc
from apdu.inprocess import DEFAULT_READERS, InProcessReaders
from bench.client import ClientError, present, run_client
from bench.measure import Action, agree, heading, latencies, times
from simulators.pcscd import PcscdError, PrivatePcscd
from simulators.vpcd import VpcdLink

COMMANDS = {
    "5 → 6": bytes.fromhex("00B0000004"),
    "5 → 258": bytes.fromhex("00B0000000"),
    "261 → 2": bytes.fromhex("00D60000FF") + bytes(range(255)) + b"\x00",
}
IN_PROCESS, RAW, PYSCARD, OURS = "in process", "scard.SCardTransmit", "pyscard connection.transmit", "apdu.pcsc"
NAMES_ZH = {IN_PROCESS: "进程内", RAW: "底层调用", PYSCARD: "pyscard 连接", OURS: "本系统"}
ATR = bytes.fromhex("3B6D000000FE00000086FE990100000001")
INSERTION_S = 20.0

_SHARED, _T0, _LEAVE = 2, 1, 0
"""Constants of winscard.h."""


class TrivialCard:
    """As many zeros as the command wants and 9000: what is left to measure is the way."""

    def power_on(self) -> bytes:
        return ATR

    def power_off(self) -> None:
        """It has no state to lose."""

    def transmit(self, command: bytes) -> bytes:
        return bytes(command[4] or 256 if len(command) == 5 else 0) + b"\x90\x00"


@dataclass(frozen=True, slots=True)
class ApduRow:
    """`ratio` is the p50 to that of the raw call."""

    path: str
    command: str
    p50_us: float
    p99_us: float
    ratio: float


@dataclass(frozen=True, slots=True)
class ApduResult:
    """`skipped` says why there are no rows; empty when there are."""

    rows: list[ApduRow]
    skipped: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        if self.skipped:
            return [f"跳过 APDU 往返 / APDU round trips skipped: {self.skipped}"]
        table = Table(
            title="APDU 往返，微秒 / APDU round trip, microseconds",
            caption="命令 → 响应，字节 / command → response in bytes\n倍数以底层调用为 1 / ratio to the raw call",
        )
        table.add_column(heading("路径", "path"), no_wrap=True)
        for name in (heading("命令", "command"), "p50", "p99", heading("倍数", "ratio")):
            table.add_column(name, justify="right")
        for command in COMMANDS:
            for row in (row for row in self.rows if row.command == command):
                table.add_row(
                    f"{NAMES_ZH[row.path]} / {row.path}",
                    row.command,
                    f"{row.p50_us:.1f}",
                    f"{row.p99_us:.1f}",
                    times(row.ratio),
                )
            table.add_section()
        return [table]


def measure(*, rounds: int = 15, calls: int = 200) -> ApduResult:
    """Raises ClientError when PC/SC is there and fails."""
    usable, reason = pcsc.is_available(needs_service=False)
    if not usable:
        return ApduResult([], reason)
    with ExitStack() as stack:
        try:
            service = stack.enter_context(PrivatePcscd())
        except PcscdError as error:
            return ApduResult([], str(error))
        stack.enter_context(VpcdLink(TrivialCard(), service.ports[0]))
        rows = run_client("bench.apdu", rounds, calls, env=service.env)
    return ApduResult([ApduRow(**row) for row in rows])


def client(rounds: int, calls: int) -> list[ApduRow]:
    """All paths to the one card in the PC/SC service this process was given."""
    rows = []
    with ExitStack() as stack:
        # pcscd notices a card up to 0.4 s after its insertion.
        reader = present(pcsc.PcscReaders(), 1, INSERTION_S)[0]
        ours = stack.enter_context(pcsc.PcscReaders(resets_on_close=False).connect(reader))
        raw, pci = stack.enter_context(_raw_card(reader))
        theirs = stack.enter_context(_pyscard_connection(reader))
        near = InProcessReaders()
        near.insert(DEFAULT_READERS[0], TrivialCard())
        inside = stack.enter_context(near.connect(DEFAULT_READERS[0]))
        transmit = importlib.import_module("smartcard.scard").SCardTransmit
        for label, command in COMMANDS.items():
            # Lists of integers are what pyscard asks of its users; ours take bytes and pay for both conversions.
            numbers = list(command)
            actions: dict[str, Action] = {
                IN_PROCESS: partial(inside.transmit, command),
                RAW: partial(transmit, raw, pci, numbers),
                PYSCARD: partial(theirs.transmit, numbers),
                OURS: partial(ours.transmit, command),
            }
            agree(label, {name: _response(action()) for name, action in actions.items()})
            found = latencies(actions, rounds=rounds, calls=calls)
            base = found[RAW].p50_us
            rows += [ApduRow(name, label, f.p50_us, f.p99_us, round(f.p50_us / base, 3)) for name, f in found.items()]
    return rows


def _response(answer: Any) -> bytes:
    """Bytes of what each path gives: bytes, (code, list), or (list, sw1, sw2)."""
    if isinstance(answer, bytes):
        return answer
    if isinstance(answer[0], int):
        return bytes(answer[1])
    return bytes((*answer[0], *answer[1:]))


@contextmanager
def _raw_card(reader: str) -> Iterator[tuple[int, int]]:
    scard: Any = importlib.import_module("smartcard.scard")
    _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    try:
        code, card, protocol = scard.SCardConnect(context, reader, _SHARED, _T0)
        if code:
            raise ClientError(f"SCardConnect answered {code & 0xFFFFFFFF:08X}")
        yield card, protocol
        scard.SCardDisconnect(card, _LEAVE)
    finally:
        scard.SCardReleaseContext(context)


@contextmanager
def _pyscard_connection(reader: str) -> Iterator[Any]:
    system: Any = importlib.import_module("smartcard.System")
    connection = next(found for found in system.readers() if str(found) == reader).createConnection()
    connection.connect()
    try:
        yield connection
    finally:
        connection.disconnect()
        connection.release()


if __name__ == "__main__":
    print(json.dumps([asdict(row) for row in client(int(sys.argv[1]), int(sys.argv[2]))]))
