"""A simulated card in a slot of the virtual reader driver (vsmartcard-vpcd), over its TCP protocol."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import threading
import time
from typing import Protocol

CONTROL_OFF, CONTROL_ON, CONTROL_RESET, CONTROL_ATR = 0x00, 0x01, 0x02, 0x04
REMOVAL_POLL_S = 0.8
"""pcscd looks every 0.4 s, on a busy machine later; a card out for less may come back unnoticed, with its old ATR."""
UNPOWERED_ATR = bytes(34)
"""One byte more than an ATR may have: pcscd then reports the card as present and mute."""

OFFER_S = 0.2
STANDING_PORTS = (20000, 32000)

_log = logging.getLogger(__name__)
_removals: dict[tuple[str, int], float] = {}


class VirtualCard(Protocol):
    """What can sit in a slot: a SimCard, a SimPsam. `power_on` of a dead chip returns nothing."""

    def power_on(self) -> bytes: ...

    def power_off(self) -> None: ...

    def transmit(self, command: bytes) -> bytes: ...


class VpcdLink:
    """Insert and remove one card. A thread answers the driver while the card is in.

    Any trouble of the card closes the socket: vpcd would wait for ever for a silent one, and pcscd with it.
    """

    def __init__(
        self, card: VirtualCard, port: int, host: str = "127.0.0.1", *, removal_poll_s: float = REMOVAL_POLL_S
    ) -> None:
        self.card = card
        self._address = (host, port)
        self._removal_poll_s = removal_poll_s
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._atr: bytes | None = None

    @property
    def is_inserted(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def insert(self, timeout_s: float = 5.0) -> None:
        """Put the card in, after it has been out long enough to be noticed. Raises OSError when no reader listens."""
        if self.is_inserted:
            return
        self.remove()
        time.sleep(max(0.0, _removals.get(self._address, 0.0) + self._removal_poll_s - time.monotonic()))
        self._atr = None
        self._socket = _connect(self._address, timeout_s)
        thread = threading.Thread(target=self._serve, args=(self._socket,), name="vpcd-card", daemon=True)
        thread.start()
        self._thread = thread  # only now: another thread may remove the card at any moment, and joins it

    def remove(self) -> None:
        """Pull the card, in the middle of a command if need be; returns when the thread has ended."""
        link, thread = self._socket, self._thread
        self._socket = self._thread = None
        hang_up(link, thread)

    def wait(self, timeout_s: float) -> bool:
        """Whether the card is out, after `timeout_s` at most."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self.is_inserted

    def __enter__(self) -> VpcdLink:
        self.insert()
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def _serve(self, link: socket.socket) -> None:
        try:
            while True:
                message = _receive(link)
                answer = self._answer(message)
                if answer is not None:
                    link.sendall(len(answer).to_bytes(2, "big") + answer)
        except OSError:
            _log.debug("reader closed the link")
        except Exception as exc:
            _log.debug("card left the reader: %s", type(exc).__name__)
        finally:
            link.close()
            self.card.power_off()
            _removals[self._address] = time.monotonic()

    def _answer(self, message: bytes) -> bytes | None:
        if len(message) != 1:
            return self.card.transmit(message)
        match message[0]:
            case 0x00:
                self.card.power_off()
            case 0x01 | 0x02:
                self._atr = self.card.power_on()
            case 0x04:
                return self._current_atr()
        return None

    def _current_atr(self) -> bytes:
        """vpcd asks for the ATR to see whether a card is there, also before power-on."""
        if self._atr is None:
            self._atr = self.card.power_on()
        return self._atr or UNPOWERED_ATR


class StandingCard:
    """A card that lies ready on `port` for a reader that comes and goes: a program without PC/SC has its reader only
    while it runs. A context manager."""

    def __init__(self, card: VirtualCard, port: int) -> None:
        self._link = VpcdLink(card, port, removal_poll_s=0.0)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._offer, name="vpcd-standing", daemon=True)

    def __enter__(self) -> StandingCard:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._is_over.set()
        self._link.remove()
        self._thread.join()

    def _offer(self) -> None:
        while not self._is_over.is_set():
            try:
                self._link.insert(timeout_s=OFFER_S)
            except OSError:
                continue
            while not self._is_over.is_set() and not self._link.wait(OFFER_S):
                pass
        self._link.remove()


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, outside the range from which the system takes the own end of a connection: a card that
    keeps calling a port of that range would one day be connected with itself."""
    found: list[int] = []
    for port in random.sample(range(*STANDING_PORTS), STANDING_PORTS[1] - STANDING_PORTS[0]):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free port")


def hang_up(link: socket.socket | None, thread: threading.Thread | None) -> None:
    """Ends the line of a card, in the middle of a command if need be, and waits for the thread that served it."""
    if link is not None:
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)
    if thread is not None:
        thread.join()


def _connect(address: tuple[str, int], timeout_s: float) -> socket.socket:
    """vpcd listens with no backlog and one connection at a time, so a first refusal means little."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            link = socket.create_connection(address, timeout=timeout_s)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
            continue
        link.settimeout(None)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link


def _receive(link: socket.socket) -> bytes:
    """One message. vpcd sends length and body apart without TCP_NODELAY: acknowledge at once, every time."""
    length = int.from_bytes(_exactly(link, 2), "big")
    if hasattr(socket, "TCP_QUICKACK"):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    return _exactly(link, length)


def _exactly(link: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = link.recv(length - len(data))
        if not part:
            raise ConnectionError("the reader closed the link")
        data += part
    return data
