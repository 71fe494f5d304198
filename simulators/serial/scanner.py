"""A simulated QR scanner: it types and does not listen."""

from __future__ import annotations

from simulators.serial.pty import PtyDevice


class SimScanner(PtyDevice):
    def __init__(self, *, prefix: bytes = b"", suffix: bytes = b"\r\n", label: str = "scanner") -> None:
        self._prefix, self._suffix = prefix, suffix
        super().__init__(label)

    def scan(self, text: str, encoding: str = "utf-8") -> None:
        self.send(self._prefix + text.encode(encoding) + self._suffix)

    def receive(self, data: bytes) -> bytes:
        return b""
