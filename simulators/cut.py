"""A network line that can be cut: a TCP relay between a terminal and its centre."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from typing import Self

_CHUNK = 65536
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing is a reset, as where a router forgets a connection."""


class CutLine:
    """Listens on 127.0.0.1 from construction to `close`; a context manager. `target` is host and port.

    While it is cut, what is open breaks off and what is new breaks off at once.
    """

    def __init__(self, target: tuple[str, int], *, port: int = 0) -> None:
        self.target = target
        self.is_cut = False
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._server = _Server(("127.0.0.1", port), self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="line", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def cut(self) -> None:
        with self._guard:
            self.is_cut = True
            ends = tuple(self._open)
        for end in ends:
            _break(end)

    def mend(self) -> None:
        self.is_cut = False

    def close(self) -> None:
        self.cut()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def relay(self, near: socket.socket) -> None:
        """One connection, until either end or the line is gone."""
        with contextlib.suppress(OSError), socket.create_connection(self.target) as far:
            with self._guard:
                if self.is_cut:
                    return _break(near)
                self._open |= {near, far}
            try:
                back = threading.Thread(target=_pump, args=(far, near), daemon=True)
                back.start()
                _pump(near, far)
                back.join()
            finally:
                with self._guard:
                    self._open -= {near, far}


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], line: CutLine) -> None:
        self.line = line
        super().__init__(address, _Relay)


class _Relay(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        self.server.line.relay(self.request)


def _pump(source: socket.socket, drain: socket.socket) -> None:
    """What comes goes on; the end of one side is told to the other."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            drain.sendall(data)
    with contextlib.suppress(OSError):
        drain.shutdown(socket.SHUT_WR)


def _break(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RDWR)
