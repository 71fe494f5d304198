"""HTTP connections with limits the server itself has not: time and size of a request's head, their number.

One that sends its head a byte at a time (slow-loris), or never any, is closed; so is one whose head has no end.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S: Final = 10.0
MAX_HEAD_BYTES: Final = 16 * 1024
MAX_CONNECTIONS: Final = 512
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_OTHER_HOST: Final = (b"host", b"")
"""Beside the one that was sent: a target that is no path names its own host, which counts instead (RFC 9112 §3.2.2)."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol; `head_timer` runs while the head of a request is awaited."""

    head_timer: asyncio.TimerHandle | None = None
    head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.close()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        if self.head_timer is None and not self._is_answering():
            self._await_head()
        self.head_bytes += len(data)
        super().data_received(data)
        if self.head_timer is None:
            return
        if self._is_answering():
            self._stop()
        elif self.head_bytes > MAX_HEAD_BYTES:
            self._stop()
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        if not self.url.startswith(b"/"):
            self.headers.append(_OTHER_HOST)
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        self._stop()
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        self.head_bytes = 0
        self.head_timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None
