"""Readers inside this process: for machines without PC/SC, and for tests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Protocol, Self

from apdu.atr import Atr
from apdu.command import HEADER_LENGTH
from apdu.errors import (
    AtrDecodingError,
    CardAbsentError,
    CardMuteError,
    CardRemovedError,
    CardUnsupportedError,
    EncodingError,
    ReaderNotFoundError,
    ReaderOccupiedError,
)
from apdu.readers import ReaderSnapshot, SlotState

DEFAULT_READERS: Final = ("OneCard In-Process 00 00", "OneCard In-Process 00 01")

_log = logging.getLogger(__name__)


class PluggedCard(Protocol):
    """A software card. No ATR makes it a mute card. No response, or an exception, means that it has left its reader;
    TimeoutError, or an exception whose `failure` is CARD_MUTE, that it is there and silent."""

    def power_on(self) -> bytes:
        """The ATR."""
        ...

    def power_off(self) -> None:
        """Volatile state is lost."""
        ...

    def transmit(self, command: bytes) -> bytes: ...


class InProcessReaders:
    """A ReaderService whose cards are Python objects. Thread-safe. Like PC/SC it powers a card with the first
    connection, lets several share it, and powers it off with the last."""

    def __init__(self, names: Iterable[str] = DEFAULT_READERS) -> None:
        self._changed = threading.Condition()
        self._version = 0
        self._slots = {name: _Slot(name, self._notify) for name in names}

    def readers(self) -> list[str]:
        with self._changed:
            return list(self._slots)

    def add_reader(self, name: str) -> None:
        with self._changed:
            self._slots.setdefault(name, _Slot(name, self._notify))
        self._notify()

    def remove_reader(self, name: str) -> None:
        """Takes the reader away with the card in it."""
        slot = self._slot(name)
        with self._changed:
            del self._slots[name]
        slot.eject()
        self._notify()

    def insert(self, name: str, card: PluggedCard) -> None:
        """Raises ReaderOccupiedError when there is one already. The card is powered once to learn its ATR."""
        self._slot(name).insert(card)

    def remove(self, name: str) -> PluggedCard | None:
        """Pulls the card out, in the middle of a command if need be, and returns it. None from an empty reader."""
        return self._slot(name).eject()

    def connect(self, name: str) -> InProcessConnection:
        return self._slot(name).connect()

    def watch(self) -> InProcessWatch:
        return InProcessWatch(self)

    def close(self) -> None:
        """Pulls all cards."""
        for name in self.readers():
            self.remove(name)

    def _slot(self, name: str) -> _Slot:
        with self._changed:
            slot = self._slots.get(name)
        if slot is None:
            raise ReaderNotFoundError(f"no reader {name!r}")
        return slot

    def _notify(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def _snapshot(self) -> dict[str, SlotState]:
        return {name: slot.state() for name, slot in self._slots.items()}


class _Seat:
    """One card's stay in a slot. `exchange` is held while the card works or is in a transaction: a card inserted
    later has a seat of its own and never waits for what was done with the one before."""

    def __init__(self, card: PluggedCard) -> None:
        self.card = card
        self.atr = b""
        self.users = 0
        self.exchange = threading.RLock()


class _Slot:
    """`_guard` protects the fields and is held only for moments."""

    def __init__(self, name: str, on_change: Callable[[], None]) -> None:
        self.name = name
        self._on_change = on_change
        self._guard = threading.Lock()
        self._seat: _Seat | None = None
        self._changes = 0

    def state(self) -> SlotState:
        with self._guard:
            seat = self._seat
            return SlotState(seat is not None, seat.atr if seat else b"", self._changes)

    def insert(self, card: PluggedCard) -> None:
        seat = _Seat(card)
        try:
            seat.atr = card.power_on()
            card.power_off()
        except Exception as error:
            # A card that cannot be powered is a mute card, whatever its reason.
            _log.debug("%s: card without ATR: %s", self.name, error)
        with self._guard:
            if self._seat is not None:
                raise ReaderOccupiedError(f"{self.name!r} holds a card already")
            self._seat = seat
            self._changes += 1
        self._on_change()

    def eject(self, only: _Seat | None = None) -> PluggedCard | None:
        """Does not wait for a running command: that is what pulling a card means."""
        with self._guard:
            seat = self._seat
            if seat is None or (only is not None and seat is not only):
                return None
            self._seat = None
            self._changes += 1
        self._on_change()
        self._power_off(seat)
        return seat.card

    def connect(self) -> InProcessConnection:
        seat = self._seat
        if seat is None:
            raise CardAbsentError(f"{self.name!r} is empty")
        with seat.exchange:
            if not seat.users:
                seat.atr = self._guarded(seat, seat.card.power_on)
            if not seat.atr:
                raise CardMuteError(f"the card in {self.name!r} gives no ATR")
            try:
                offered = Atr.from_bytes(seat.atr).protocols
            except AtrDecodingError as error:
                raise CardUnsupportedError(f"{self.name!r}: {error}") from error
            if not {0, 1} & set(offered):
                raise CardUnsupportedError(f"the card in {self.name!r} offers {offered} only")
            self.expect(seat)
            seat.users += 1
            return InProcessConnection(self, seat, "T=1" if offered[0] == 1 else "T=0")

    def transmit(self, seat: _Seat, command: bytes) -> bytes:
        with seat.exchange:
            self.expect(seat)
            response = self._guarded(seat, lambda: seat.card.transmit(command))
            if not response:
                self.eject(seat)
            self.expect(seat)
            if len(response) < 2:
                raise CardMuteError(f"the card in {self.name!r} sent an incomplete response")
            return response

    def release(self, seat: _Seat) -> None:
        with seat.exchange:
            seat.users -= 1
            if not seat.users and self._seat is seat:
                self._power_off(seat)

    def expect(self, seat: _Seat) -> None:
        """Raises CardRemovedError when this card is not in the slot any more."""
        if self._seat is not seat:
            raise CardRemovedError(f"the card left {self.name!r}")

    def _guarded(self, seat: _Seat, call: Callable[[], bytes]) -> bytes:
        """A card's answer, its failures sorted into mute and gone; a bug in a software card also is a lost card."""
        try:
            return call()
        except EncodingError:
            raise
        except Exception as error:
            if isinstance(error, TimeoutError) or getattr(error, "failure", "") == CardMuteError.failure:
                raise CardMuteError(f"the card in {self.name!r} does not answer") from error
            if not isinstance(error, ConnectionError) and getattr(error, "failure", "") != CardRemovedError.failure:
                _log.exception("the card in %r failed", self.name)
            self.eject(seat)
            raise CardRemovedError(f"the card left {self.name!r} during a command") from error

    def _power_off(self, seat: _Seat) -> None:
        try:
            seat.card.power_off()
        except Exception as error:
            _log.debug("%s: power off: %s", self.name, error)


class InProcessConnection:
    """A CardConnection to a card in an InProcessReaders slot."""

    def __init__(self, slot: _Slot, seat: _Seat, protocol: str) -> None:
        self._slot = slot
        self._seat = seat
        self._is_open = True
        self.atr = seat.atr
        self.protocol = protocol

    def transmit(self, command: bytes) -> bytes:
        if len(command) < HEADER_LENGTH:
            raise EncodingError(f"{len(command)} bytes are no command")
        if not self._is_open:
            raise CardRemovedError("the connection is closed")
        return self._slot.transmit(self._seat, bytes(command))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._seat.exchange:
            self._slot.expect(self._seat)
            yield

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._slot.release(self._seat)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class InProcessWatch:
    """A ReaderWatch that sleeps until a slot changes."""

    def __init__(self, service: InProcessReaders) -> None:
        self._service = service
        self._seen = -1
        self._is_woken = False

    def wait(self, timeout_s: float) -> ReaderSnapshot:
        service = self._service
        with service._changed:
            service._changed.wait_for(lambda: self._is_woken or service._version != self._seen, timeout_s)
            self._is_woken = False
            self._seen = service._version
            return service._snapshot()

    def wake(self) -> None:
        with self._service._changed:
            self._is_woken = True
            self._service._changed.notify_all()

    def close(self) -> None:
        """Holds nothing."""
