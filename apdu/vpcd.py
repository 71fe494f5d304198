"""The reader side of the vpcd protocol of vsmartcard: software cards of other processes without any PC/SC service.

A card connects to a slot's TCP port on the loopback interface. Every message is length(2, big-endian) || body. The
reader sends one-byte bodies 00 power off, 01 power on, 02 reset and 04 ATR wanted, of which 04 alone is answered, and
command APDUs, each answered with a response APDU. An open connection is an inserted card.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from apdu.atr import MAX_LENGTH as MAX_ATR_LENGTH
from apdu.errors import CardAbsentError, EncodingError, ReaderOccupiedError
from apdu.inprocess import InProcessConnection, InProcessReaders, InProcessWatch

LOOPBACK: Final = "127.0.0.1"
DEFAULT_SLOTS: Final = 2
POWER_OFF, POWER_ON, RESET, GET_ATR = b"\x00", b"\x01", b"\x02", b"\x04"
MAX_MESSAGE: Final = 0xFFFF
ANSWER_TIMEOUT_S: Final = 10.0
POWER_TIMEOUT_S: Final = 2.0
_POLL_S: Final = 0.2

_log = logging.getLogger(__name__)


class VpcdReaders:
    """A ReaderService of slots that listen. `ports` are fixed by the caller or, with 0, chosen by the system."""

    def __init__(self, ports: tuple[int, ...] = (0,) * DEFAULT_SLOTS, *, name: str = "OneCard Virtual PCD") -> None:
        self._slots: list[_Listener] = []
        names = [f"{name} 00 {number:02d}" for number in range(len(ports))]
        self._readers = InProcessReaders(names)
        try:
            for slot_name, port in zip(names, ports, strict=True):
                self._slots.append(_Listener(self._readers, slot_name, port))
        except BaseException:
            self.close()
            raise

    @property
    def ports(self) -> list[int]:
        """In the order of `readers()`."""
        return [slot.port for slot in self._slots]

    def readers(self) -> list[str]:
        return self._readers.readers()

    def connect(self, name: str) -> InProcessConnection:
        return self._readers.connect(name)

    def watch(self) -> InProcessWatch:
        return self._readers.watch()

    def close(self) -> None:
        """Frees the ports and drops all cards. Idempotent."""
        for slot in self._slots:
            slot.stop()
        for slot in self._slots:
            slot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Listener:
    """One slot's thread: accepts a card, inserts it, waits until it goes, accepts the next."""

    def __init__(self, readers: InProcessReaders, name: str, port: int) -> None:
        self._readers = readers
        self._name = name
        self._is_closing = threading.Event()
        self._socket = socket.socket()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((LOOPBACK, port))
            self._socket.listen(1)
        except BaseException:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name=f"vpcd-{self.port}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_closing.set()

    def close(self) -> None:
        self.stop()
        self._thread.join(POWER_TIMEOUT_S + 1)
        self._socket.close()

    def _run(self) -> None:
        while not self._is_closing.is_set():
            if not _is_readable(self._socket, _POLL_S):
                continue
            try:
                connection, _ = self._socket.accept()
            except OSError as error:
                _log.debug("%s: %s", self._name, error)
                continue
            card = RemoteCard(connection)
            try:
                self._serve(card)
            finally:
                card.close()

    def _serve(self, card: RemoteCard) -> None:
        try:
            self._readers.insert(self._name, card)
        except ReaderOccupiedError:
            return
        while not self._is_closing.is_set() and not card.has_left(_POLL_S):
            pass
        with suppress(CardAbsentError):
            self._readers.remove(self._name)


class RemoteCard:
    """A PluggedCard at the other end of a socket. Any fault of the link ends it: an answer that came late would be
    taken for the answer to the next command."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._lock = threading.Lock()
        self._is_open = True
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def power_on(self) -> bytes:
        """The ATR. More bytes than an ATR may have are how a card process shows a dead chip to pcscd: none."""
        with self._lock:
            self._send(POWER_ON)
            atr = self._ask(GET_ATR, POWER_TIMEOUT_S)
            return atr if len(atr) <= MAX_ATR_LENGTH else b""

    def power_off(self) -> None:
        with self._lock:
            if self._is_open:
                self._send(POWER_OFF)

    def transmit(self, command: bytes) -> bytes:
        if len(command) > MAX_MESSAGE:
            raise EncodingError(f"{len(command)} bytes do not fit into one vpcd message")
        with self._lock:
            return self._ask(command, ANSWER_TIMEOUT_S)

    def has_left(self, timeout_s: float) -> bool:
        """Waits up to `timeout_s` for the end of the link. What an idle card sends is no answer and ends it too."""
        if not self._is_open:
            return True
        if not _is_readable(self._socket, timeout_s):
            return False
        with self._lock:
            # Behind the lock no exchange is running, so what is readable now is no answer.
            is_over = not self._is_open or _is_readable(self._socket, 0)
        if is_over:
            self.close()
        return is_over

    def close(self) -> None:
        """May be called from any thread; a running exchange ends with ConnectionError."""
        self._is_open = False
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _ask(self, message: bytes, timeout_s: float) -> bytes:
        self._send(message)
        try:
            self._socket.settimeout(timeout_s)
            length = int.from_bytes(self._receive(2), "big")
            return self._receive(length)
        except TimeoutError as error:
            self.close()
            raise TimeoutError(f"no answer within {timeout_s} s") from error
        except OSError as error:
            self.close()
            raise ConnectionError("the card closed its connection") from error

    def _send(self, message: bytes) -> None:
        try:
            self._socket.settimeout(ANSWER_TIMEOUT_S)
            self._socket.sendall(len(message).to_bytes(2, "big") + message)
        except OSError as error:
            self.close()
            raise ConnectionError("the card closed its connection") from error

    def _receive(self, length: int) -> bytes:
        received = bytearray()
        while len(received) < length:
            part = self._socket.recv(length - len(received))
            if not part:
                raise ConnectionError("end of stream")
            received += part
        return bytes(received)


def _is_readable(endpoint: socket.socket, timeout_s: float) -> bool:
    """True as well for a socket another thread has closed: the next call on it says so."""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(endpoint, selectors.EVENT_READ)
            return bool(selector.select(timeout_s))
    except (OSError, ValueError):
        return True
