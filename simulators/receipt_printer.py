"""A simulated receipt printer on TCP: what it prints is a text file for each receipt.

It understands ESC/POS with code of its own, and nothing of it that no receipt of ours uses: an unknown command is kept
in `unknown`.
"""

from __future__ import annotations

import socketserver
import threading
from pathlib import Path
from typing import Self

_LENGTHS = {b"\x1b@": 0, b"\x1c&": 0, b"\x1ba": 1, b"\x1bE": 1, b"\x1bd": 1, b"\x1d!": 1, b"\x1dV": 2, b"\x1dr": 1}
_STORE_QR, _PRINT_QR = b"\x31\x50\x30", b"\x31\x51\x30"


class SimReceiptPrinter:
    """Listens on 127.0.0.1 from construction to `close`; a context manager. `paper` counts receipts, None for no end;
    `is_cover_open` and `is_silent` are faults."""

    def __init__(self, folder: Path, *, port: int = 0, paper: int | None = None) -> None:
        self.folder, self.paper = folder, paper
        self.is_cover_open = self.is_silent = False
        self.unknown: list[bytes] = []
        self._number = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._server = _Server(("127.0.0.1", port), self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="receipt printer", daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def printed(self) -> list[str]:
        """The receipts' texts, the oldest first."""
        return [path.read_text(encoding="utf-8") for path in sorted(self.folder.glob("*.txt"))]

    def status(self, kind: int) -> int:
        """The answer to DLE EOT `kind`."""
        is_empty = self.paper == 0
        return 0x12 | {2: 0x04 * self.is_cover_open | 0x20 * is_empty, 4: 0x6C * is_empty}.get(kind, 0)

    def keep(self, text: str) -> None:
        if self.paper is not None:
            self.paper -= 1
        self._number += 1
        (self.folder / f"receipt-{self._number:04d}.txt").write_text(text, encoding="utf-8")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], printer: SimReceiptPrinter) -> None:
        self.printer = printer
        super().__init__(address, _Line)


class _Line(socketserver.StreamRequestHandler):
    """One connection: text gathers until the cut."""

    server: _Server

    def handle(self) -> None:
        text, stored = bytearray(), b""
        printer = self.server.printer
        while first := self.rfile.read(1):
            if first not in b"\x10\x1b\x1c\x1d":
                text += first
                continue
            command = first + self.rfile.read(1)
            if command == b"\x10\x04":
                self._tell(printer.status(self.rfile.read(1)[0]))
            elif command == b"\x1d(":
                self.rfile.read(1)
                body = self.rfile.read(int.from_bytes(self.rfile.read(2), "little"))
                stored = body[3:] if body.startswith(_STORE_QR) else stored
                text += b"[QR " + stored + b"]" if body.startswith(_PRINT_QR) else b""
            elif command in _LENGTHS:
                self.rfile.read(_LENGTHS[command])
                if command == b"\x1dV":
                    printer.keep(text.decode("gbk"))
                    text.clear()
                elif command == b"\x1dr":
                    self._tell(0x0C if printer.paper == 0 else 0)
            else:
                printer.unknown.append(command)

    def _tell(self, status: int) -> None:
        if not self.server.printer.is_silent:
            self.wfile.write(bytes([status]))
