"""A simulated card in a reader of our own driver."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from typing import Self

from simulators.vpcd import VirtualCard, hang_up

OK, NO_ANSWER = b"\x00", b"\x01"
_log = logging.getLogger(__name__)


class IfdLink:
    """Insert and remove one card; `path` is the reader's socket. A context manager.

    A card may have `control(code, data) -> bytes` for SCardControl: a PIN pad's features, a reader's own commands. Any
    trouble of the card takes it out of the reader.
    """

    def __init__(self, card: VirtualCard, path: str) -> None:
        self.card = card
        self._path = path
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_inserted(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def insert(self) -> None:
        """Raises OSError when no reader listens. A second card waits until the first has left."""
        if self.is_inserted:
            return
        self.remove()
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(self._path)
        except OSError:
            link.close()
            raise
        self._socket = link
        self._thread = threading.Thread(target=self._serve, args=(link,), name="ifd-card", daemon=True)
        self._thread.start()

    def remove(self) -> None:
        """Pull the card, in the middle of a command if need be."""
        link, thread = self._socket, self._thread
        self._socket = self._thread = None
        hang_up(link, thread)

    def __enter__(self) -> Self:
        self.insert()
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def _serve(self, link: socket.socket) -> None:
        try:
            with link, link.makefile("rb") as stream:
                while head := stream.read(3):
                    body = stream.read(int.from_bytes(head[1:], "big"))
                    answer = self._answer(chr(head[0]), body)
                    if answer is not None:
                        status = OK if answer else NO_ANSWER
                        link.sendall(status + len(answer).to_bytes(2, "big") + answer)
        except Exception as error:
            # Whatever happens to a card: for the reader it is out.
            _log.debug("the card left: %s", error)
        finally:
            with contextlib.suppress(Exception):
                self.card.power_off()

    def _answer(self, op: str, body: bytes) -> bytes | None:
        """None for an operation without an answer, empty when the card has none."""
        if op in "UR":
            self.card.power_off()
            return self.card.power_on()
        if op == "D":
            self.card.power_off()
            return None
        if op == "T":
            return self.card.transmit(body)
        control = getattr(self.card, "control", None)
        return bytes(control(int.from_bytes(body[:4], "big"), body[4:])) if control else b""
