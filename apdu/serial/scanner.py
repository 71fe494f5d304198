"""QR scanners that type what they see into a serial line.

A scan is a line ended by CR, LF or both, or a frame `02 ... 03`; which one is a setting of the scanner. Bytes are
UTF-8 or GB 18030. What was scanned may be a code that is worth money: it is given to the callback and to nobody else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal

from apdu.errors import ReaderServiceError, TransportError
from apdu.serial import port
from apdu.serial.errors import ScanError

SCANNER_BAUD: Final = 9600
MAX_SCAN: Final = 4296  # characters of the largest QR code, alphanumeric (ISO/IEC 18004, table 7)
REPEAT_S: Final = 2.0
REOPEN_S: Final = 0.5
STALE_S: Final = 2.0  # a scan that stops in the middle is dropped, not glued to the next one
STX, ETX = 0x02, 0x03

ScanKind = Literal["scanned", "refused", "scanner_ready", "scanner_lost", "scanner_restored"]
_log = logging.getLogger(__name__)


class Framing(StrEnum):
    LINES = "lines"
    STX_ETX = "stx-etx"


@dataclass(frozen=True, slots=True)
class ScanEvent:
    """`text` for `scanned` alone; `failure` names why a scan was refused or the scanner was lost."""

    kind: ScanKind
    text: str = field(default="", repr=False)
    failure: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class ScanSplitter:
    """Scans out of a stream of bytes, cut anywhere. An over-long one is dropped up to its end and reported once."""

    def __init__(self, framing: Framing = Framing.LINES, *, max_length: int = MAX_SCAN) -> None:
        self._framing = framing
        self._max = max_length
        self._buffer = bytearray()
        self._is_overlong = False
        self._is_inside = framing is Framing.LINES

    @property
    def is_pending(self) -> bool:
        return bool(self._buffer) or self._is_overlong

    def reset(self) -> None:
        """Forget a scan that stopped in the middle."""
        self._buffer.clear()
        self._is_overlong = False
        self._is_inside = self._framing is Framing.LINES

    def feed(self, data: bytes) -> list[bytes | ScanError]:
        found: list[bytes | ScanError] = []
        for byte in data:
            if self._framing is Framing.LINES:
                is_end = byte in b"\r\n"
            else:
                is_end = byte == ETX and self._is_inside
                if byte == STX:
                    self.reset()
                    self._is_inside = True
                    continue
            if is_end:
                if self._is_overlong:
                    found.append(ScanError(f"a scan of more than {self._max} bytes"))
                elif self._buffer:
                    found.append(bytes(self._buffer))
                self.reset()
            elif self._is_inside and not self._is_overlong:
                self._buffer.append(byte)
                if len(self._buffer) > self._max:
                    self._buffer.clear()
                    self._is_overlong = True
        return found


def decode(scan: bytes) -> str:
    """Raises ScanError for bytes of neither encoding and for control characters."""
    for encoding in ("utf-8", "gb18030"):
        try:
            text = scan.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not text.isprintable():
            raise ScanError("a scan with control characters")
        return text
    raise ScanError("a scan that is no text")


class QrScanner:
    """Follows one scanner from a thread of its own; `on_event` runs there, must return soon, and what it raises is
    logged and dropped. The same text within `repeat_s` is one scan: scanners left on see a code many times."""

    def __init__(
        self,
        path: str,
        on_event: Callable[[ScanEvent], None],
        *,
        baud: int = SCANNER_BAUD,
        framing: Framing = Framing.LINES,
        max_length: int = MAX_SCAN,
        repeat_s: float = REPEAT_S,
    ) -> None:
        usable, reason = port.is_available()
        if not usable:
            raise ReaderServiceError(reason)
        self.path = path
        self._on_event = on_event
        self._baud = baud
        self._splitter = ScanSplitter(framing, max_length=max_length)
        self._repeat_s = repeat_s
        self._last: tuple[str, float] = ("", 0.0)
        self._is_lost = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"scanner {path}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Idempotent. No event comes afterwards, unless `on_event` itself calls it."""
        self._stopping.set()
        if self._thread is not threading.current_thread():
            self._thread.join(port.WRITE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with port.SerialPort(self.path, baud=self._baud) as line:
                    self._splitter.reset()
                    self._emit(ScanEvent("scanner_restored" if self._is_lost else "scanner_ready"))
                    self._is_lost = False
                    self._follow(line)
            except TransportError as error:
                if not self._is_lost:
                    self._is_lost = True
                    _log.warning("scanner lost: %s", error)
                    self._emit(ScanEvent("scanner_lost", failure=error.failure))
                self._stopping.wait(REOPEN_S)

    def _follow(self, line: port.SerialPort) -> None:
        heard_at = time.monotonic()
        while not self._stopping.is_set():
            data = line.read()
            now = time.monotonic()
            if self._splitter.is_pending and now - heard_at > STALE_S:
                self._splitter.reset()
                self._emit(ScanEvent("refused", failure=ScanError.failure))
            if not data:
                continue
            heard_at = now
            for scan in self._splitter.feed(data):
                self._report(scan, now)

    def _report(self, scan: bytes | ScanError, now: float) -> None:
        try:
            if isinstance(scan, ScanError):
                raise scan
            text = decode(scan)
        except ScanError as error:
            _log.warning("%s: %s", self.path, error)
            self._emit(ScanEvent("refused", failure=error.failure))
            return
        last, seen_at = self._last
        self._last = (text, now)
        if text != last or now - seen_at > self._repeat_s:
            self._emit(ScanEvent("scanned", text))

    def _emit(self, event: ScanEvent) -> None:
        if self._stopping.is_set():
            return
        try:
            self._on_event(event)
        except Exception:
            # A listener's bug must not end the scanner: the next code would never be seen.
            _log.error("listener failed on %s", event.kind)
