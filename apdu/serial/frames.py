"""Frames out of a stream of bytes that may be cut anywhere and begin with noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from apdu.serial.errors import FrameError

MAX_NOISE: Final = 256  # bytes before a frame: echo of a line that was opened in the middle of a frame


class FrameSource(ABC):
    """Incremental parser of frames that begin with `mark`. After a FrameError it starts anew with what comes next."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._buffer = bytearray()
        self._noise = 0

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> bytes | None:
        """What the next frame carries, None when more bytes are needed. Raises FrameError."""
        try:
            self._drop_noise()
            found = self._first() if self._buffer.startswith(self._mark) else None
        except FrameError:
            self._buffer.clear()
            self._noise = 0
            raise
        if found is None:
            return None
        content, length = found
        del self._buffer[:length]
        self._noise = 0
        return content

    @abstractmethod
    def _first(self) -> tuple[bytes, int] | None:
        """What the frame at the beginning of the buffer carries, and its whole length; None when it is not all there.
        Raises FrameError."""

    def _drop_noise(self) -> None:
        start = self._buffer.find(self._mark)
        # Without a mark the last bytes may be the beginning of one.
        noise = start if start >= 0 else max(0, len(self._buffer) - len(self._mark) + 1)
        self._noise += noise
        del self._buffer[:noise]
        if self._noise > MAX_NOISE:
            raise FrameError(f"more than {MAX_NOISE} bytes before a frame")
