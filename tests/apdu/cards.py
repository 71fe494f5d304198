"""The smallest cards that can be put into a reader."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

ATR = bytes.fromhex("3B6D000000FE00000086FE990100000001")
OTHER_ATR = bytes.fromhex("3B6D000000FE00000086FE990100000002")
OK = b"\x90\x00"


class EchoCard:
    """Answers every command with itself and 9000; remembers whether it has power and how often it got it."""

    def __init__(self, atr: bytes = ATR, answer: Callable[[bytes], bytes] | None = None) -> None:
        self.atr = atr
        self.is_powered = False
        self.resets = 0
        self.commands: list[bytes] = []
        self._answer = answer or (lambda command: command + OK)

    def power_on(self) -> bytes:
        self.is_powered = True
        self.resets += 1
        return self.atr

    def power_off(self) -> None:
        self.is_powered = False

    def transmit(self, command: bytes) -> bytes:
        self.commands.append(command)
        return self._answer(command)


class Script:
    """A channel that answers from a list of (command, response) in hex and fails on any deviation."""

    def __init__(self, *exchanges: tuple[str, str]) -> None:
        self.left = list(exchanges)

    def transmit(self, command: bytes) -> bytes:
        expected, response = self.left.pop(0)
        assert command.hex().upper() == expected.replace(" ", "")
        return bytes.fromhex(response)


class VpcdLink:
    """A card at a vpcd port. `pull` closes the connection, as every error does."""

    def __init__(self, card: EchoCard, port: int) -> None:
        self._card = card
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def pull(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)

    def _run(self) -> None:
        with self._socket, suppress(OSError, EOFError):
            while True:
                message = self._read(int.from_bytes(self._read(2), "big"))
                if message in (b"\x01", b"\x02"):
                    self._card.power_on()
                elif message == b"\x00":
                    self._card.power_off()
                else:
                    answer = self._card.atr if message == b"\x04" else self._card.transmit(message)
                    self._socket.sendall(len(answer).to_bytes(2, "big") + answer)

    def _read(self, length: int) -> bytes:
        received = b""
        while len(received) < length:
            part = self._socket.recv(length - len(received))
            if not part:
                raise EOFError
            received += part
        if hasattr(socket, "TCP_QUICKACK"):
            # Debian's vpcd sends length and payload apart and waits for the acknowledgement in between (44 ms).
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return received
