"""Receipts (凭条) on a printer that speaks ESC/POS: text, a QR code, a cut.

The commands are those that printers of the field share. Before and after a receipt the printer is asked by real-time
status (DLE EOT); that a receipt was printed is known by the paper status (GS r), which is answered in its turn, after
everything before it.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Protocol

from apdu.errors import TransportError
from apdu.serial.port import SerialPort
from terminal_agent.problems import AgentError

ANSWER_S: Final = 3.0
PRINT_S: Final = 15.0
WIDTH: Final = 32
"""Narrow characters of a line on 58 mm paper, the smallest in use; 80 mm paper has room to spare."""
MAX_LINES, MAX_TEXT, MAX_QR = 80, 128, 300
_ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}")
_ESC, _GS, _DLE_EOT = b"\x1b", b"\x1d", b"\x10\x04"
_START: Final = _ESC + b"@" + b"\x1c&"  # reset; double-byte characters on
_CUT: Final = _ESC + b"d\x04" + _GS + b"VB\x00"
_OFFLINE, _ERRORS, _PAPER = 2, 3, 4
_FIXED, _FIXED_VALUE = 0x93, 0x12
_PAPER_END: Final = 0x60
_PAPER_STATUS: Final = _GS + b"r\x01"
_GSR_END: Final = 0x0C
_ALIGN: Final = {"left": b"\x00", "centre": b"\x01", "right": b"\x02"}


class ReceiptPrinterLostError(AgentError):
    """No answer, or none a printer gives; whether a receipt was printed is not known."""

    failure: ClassVar[str] = "RECEIPT_PRINTER_LOST"


class ReceiptPrinterFaultError(AgentError):
    """Cover open, jam, or another fault of its own."""

    failure: ClassVar[str] = "RECEIPT_PRINTER_FAULT"


class ReceiptPaperOutError(AgentError):
    """Nothing was printed, or the roll ended in the middle."""

    failure: ClassVar[str] = "RECEIPT_PAPER_OUT"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text without control characters; `is_large` doubles both sides."""

    text: str
    align: Literal["left", "centre", "right"] = "left"
    is_large: bool = False
    is_bold: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """`qr` is printed below the lines; empty for none."""

    lines: tuple[Line, ...]
    qr: str = ""

    def encode(self) -> bytes:
        """Text goes out as GBK, the set of the printers' fonts; a character outside of it becomes 〓."""
        parts = [_START]
        for line in self.lines:
            size = b"\x11" if line.is_large else b"\x00"
            weight = b"\x01" if line.is_bold else b"\x00"
            text = "".join(char if _is_printable(char) else "〓" for char in line.text)
            parts += [_ESC + b"a" + _ALIGN[line.align], _GS + b"!" + size, _ESC + b"E" + weight]
            parts.append(text.encode("gbk") + b"\n")
        if self.qr:
            parts += [_GS + b"!\x00" + _ESC + b"a\x01", *_qr(self.qr.encode()), b"\n"]
        return b"".join([*parts, _CUT])


class ReceiptLine(Protocol):
    """An open connection; `read` gives what has come after a short while, empty for nothing."""

    def write(self, data: bytes) -> None: ...

    def read(self) -> bytes: ...


class ReceiptPrinter:
    """`where` is host:port, or a serial port. One caller at a time; every call opens the line anew and blocks."""

    def __init__(self, where: str, *, baud: int) -> None:
        self._where, self._baud = where, baud

    def check(self) -> None:
        """Raises ReceiptPrinterLostError, ReceiptPrinterFaultError, ReceiptPaperOutError."""
        with self._open() as line:
            _check(line)

    def print(self, receipt: Receipt) -> None:
        """Returns when the printer has worked through it. Raises as `check`."""
        with self._open() as line:
            _check(line)
            line.write(receipt.encode() + _PAPER_STATUS)
            status = _answer(line, PRINT_S)
            if status & _GSR_END:
                raise ReceiptPaperOutError("the paper ended while printing")
            _check(line)

    @contextmanager
    def _open(self) -> Iterator[ReceiptLine]:
        try:
            if _ADDRESS.fullmatch(self._where):
                host, _, port = self._where.rpartition(":")
                with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S) as link:
                    yield _NetworkLine(link)
            else:
                with SerialPort(self._where, baud=self._baud) as port_line:
                    port_line.discard()
                    yield port_line
        except (OSError, OverflowError, UnicodeError, TransportError) as error:  # also of an address that is none
            raise ReceiptPrinterLostError(type(error).__name__) from error


class _NetworkLine:
    def __init__(self, link: socket.socket) -> None:
        self._link = link

    def write(self, data: bytes) -> None:
        self._link.settimeout(PRINT_S)
        self._link.sendall(data)

    def read(self) -> bytes:
        self._link.settimeout(0.1)
        try:
            data = self._link.recv(64)
        except TimeoutError:
            return b""
        if not data:
            raise ConnectionResetError("the printer closed the connection")
        return data


def _check(line: ReceiptLine) -> None:
    if _asked(line, _PAPER) & _PAPER_END:
        raise ReceiptPaperOutError("no paper")
    if _asked(line, _OFFLINE) & 0x44 or _asked(line, _ERRORS) & 0x6C:
        raise ReceiptPrinterFaultError("cover open, jam or cutter")


def _asked(line: ReceiptLine, what: int) -> int:
    line.write(_DLE_EOT + bytes([what]))
    status = _answer(line, ANSWER_S)
    if status & _FIXED != _FIXED_VALUE:
        raise ReceiptPrinterLostError("not the status of a receipt printer")
    return status


def _answer(line: ReceiptLine, timeout_s: float) -> int:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if data := line.read():
            return data[0]
    raise ReceiptPrinterLostError("no answer")


def _is_printable(char: str) -> bool:
    try:
        char.encode("gbk")
    except UnicodeEncodeError:
        return False
    return char.isprintable()


def _qr(content: bytes) -> Iterator[bytes]:
    """Model 2, four dots a module, level M; store, then print (GS ( k, functions 165, 167, 169, 180, 181)."""
    for body in (b"\x31\x41\x32\x00", b"\x31\x43\x04", b"\x31\x45\x31", b"\x31\x50\x30" + content, b"\x31\x51\x30"):
        yield _GS + b"(k" + len(body).to_bytes(2, "little") + body
