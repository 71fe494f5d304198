"""One serial port. The only module that touches pyserial, and only when a port is opened.

pyserial reports an unplugged device in three ways: SerialException, a bare OSError from `in_waiting`, and
termios.error, which is not an OSError, from the flush. All of them become ReaderLostError here. Nothing that crosses
a port is ever logged: a PIN pad may be at the other end.
"""

from __future__ import annotations

import errno
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

from apdu.errors import CardBusyError, ReaderLostError, ReaderNotFoundError, ReaderServiceError
from apdu.serial.errors import DeviceSilentError
from apdu.serial.frames import FrameSource

DEFAULT_BAUD: Final = 115200
SLICE_S: Final = 0.05  # one blocking read; the time a stop or a cancellation may go unnoticed
WRITE_TIMEOUT_S: Final = 2.0
MAX_READ: Final = 4096

_BUSY: Final = frozenset({errno.EAGAIN, errno.EBUSY})


def is_available() -> tuple[bool, str]:
    """Whether serial devices can be used, and if not, what is missing."""
    try:
        _pyserial()
    except ReaderServiceError as error:
        return False, str(error)
    return True, ""


def _pyserial() -> Any:
    try:
        import serial
    except ImportError as error:
        raise ReaderServiceError("pyserial is not installed") from error
    return serial


def _loss_types() -> tuple[type[BaseException], ...]:
    try:
        termios = importlib.import_module("termios")
    except ImportError:
        # Windows has none; there OSError covers everything.
        return (OSError,)
    return (OSError, termios.error)


_LOSS: Final = _loss_types()


class SerialPort:
    """An open port, exclusively ours. One thread at a time."""

    def __init__(self, path: str, *, baud: int = DEFAULT_BAUD) -> None:
        """Raises ReaderNotFoundError, CardBusyError when another program has the port, or ReaderServiceError."""
        module = _pyserial()
        self.path = path
        try:
            self._serial = module.Serial(path, baud, timeout=SLICE_S, write_timeout=WRITE_TIMEOUT_S, exclusive=True)
        except _LOSS as error:
            number = getattr(error, "errno", None)
            if number in _BUSY:
                raise CardBusyError(f"{path}: another program has the port") from error
            if number == errno.EACCES:
                raise ReaderNotFoundError(f"{path}: no permission for this port (Debian: group dialout)") from error
            raise ReaderNotFoundError(f"{path}: no such port") from error
        except ValueError as error:
            raise ReaderNotFoundError(f"{path}: the port cannot do {baud} baud") from error

    def read(self) -> bytes:
        """What has come, after at most SLICE_S; empty when nothing has."""
        with self._guard():
            first = bytes(self._serial.read(1))
            if not first:
                return b""
            waiting = min(int(self._serial.in_waiting), MAX_READ)
            return first + bytes(self._serial.read(waiting)) if waiting else first

    def write(self, data: bytes) -> None:
        with self._guard():
            self._serial.write(data)

    def discard(self) -> None:
        """Forget what has come and was not read."""
        with self._guard():
            self._serial.reset_input_buffer()

    def close(self) -> None:
        """Idempotent; a port that is gone closes like any other."""
        try:
            self._serial.close()
        except _LOSS:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except _LOSS as error:
            raise ReaderLostError(f"{self.path}: the device was unplugged") from error


def receive(
    port: SerialPort, frames: FrameSource, timeout_s: float, is_stopped: Callable[[], bool] = lambda: False
) -> bytes:
    """The next frame. Raises DeviceSilentError when the time is over or `is_stopped` says so, FrameError for garbage,
    ReaderLostError."""
    deadline = time.monotonic() + timeout_s
    while True:
        frame = frames.next()
        if frame is not None:
            return frame
        if is_stopped() or time.monotonic() >= deadline:
            raise DeviceSilentError(f"{port.path}: no answer within {timeout_s:g} s")
        frames.feed(port.read())
