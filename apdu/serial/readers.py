"""MT3 readers as a ReaderService.

Every reader has a thread of its own, which opens the port, looks for cards and notices when the reader has gone; one
that hangs holds up nobody but the callers of its own slots. The protocol has no command that asks for a card: a slot
without a powered card is looked at by powering it, one in use is not looked at at all, so that a removal during use
shows with the next command. An error status does not tell a mute card from an empty slot either.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import PurePath
from types import TracebackType
from typing import Final, Self

from apdu.errors import (
    CardMuteError,
    CardRemovedError,
    ReaderLostError,
    ReaderServiceError,
    TransportError,
)
from apdu.inprocess import InProcessConnection, InProcessReaders, InProcessWatch
from apdu.serial import mt3, port
from apdu.serial.errors import DeviceSilentError, FrameError
from apdu.serial.mt3 import Form, FrameDecoder, Reply, Slot

POWER_TIMEOUT_S: Final = 3.0
PROBE_TIMEOUT_S: Final = 1.0
REOPEN_S: Final = 0.5
MAX_LATE: Final = 8  # replies that are still under way when a line is opened again
SAM_ROUNDS: Final = 20  # a key card stays where it is: its empty slot is looked at once in so many rounds

_NUMBERS: Final = {Slot.USER: 0, Slot.SAM1: 1, Slot.SAM2: 2, Slot.CONTACTLESS: 3}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mt3Port:
    """One reader. Ports are named, never searched for: a probe sent to a stranger's device may do harm."""

    path: str
    form: Form = Form.SPLIT
    baud: int = port.DEFAULT_BAUD
    slots: tuple[Slot, ...] = (Slot.USER, Slot.SAM1)
    label: str = ""
    poll_s: float = 0.5
    answer_timeout_s: float = 10.0

    def reader_name(self, slot: Slot) -> str:
        """As `MT3 ttyUSB0 00 01`: the last number is 00 user, 01 and 02 key cards, 03 contactless."""
        return f"MT3 {self.label or PurePath(self.path).name} 00 {_NUMBERS[slot]:02d}"


class SerialReaders:
    """A ReaderService. Readers that do not answer are not listed; they appear when they do. Thread-safe."""

    def __init__(self, ports: Iterable[Mt3Port]) -> None:
        """Raises ReaderServiceError without pyserial, EncodingError for a slot the port's form has no code for."""
        usable, reason = port.is_available()
        if not usable:
            raise ReaderServiceError(reason)
        self._readers = InProcessReaders(())
        configs = list(ports)
        for config in configs:
            for slot in config.slots:
                mt3.power_on(slot, config.form)
        self._devices = [_Device(config, self._readers) for config in configs]

    def readers(self) -> list[str]:
        return self._readers.readers()

    def connect(self, name: str) -> SerialConnection:
        try:
            return SerialConnection(self._readers.connect(name))
        except CardRemovedError as error:
            raise _reason(error) from error

    def watch(self) -> InProcessWatch:
        return self._readers.watch()

    def close(self) -> None:
        """Ends all threads and closes all ports, also those in the middle of a command."""
        for device in self._devices:
            device.stop()
        for device in self._devices:
            device.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SerialConnection:
    """A CardConnection that tells a lost reader (ReaderLostError) from a lost card (CardRemovedError)."""

    def __init__(self, inner: InProcessConnection) -> None:
        self._inner = inner
        self.atr = inner.atr
        self.protocol = inner.protocol

    def transmit(self, command: bytes) -> bytes:
        try:
            return self._inner.transmit(command)
        except CardRemovedError as error:
            raise _reason(error) from error

    def transaction(self) -> AbstractContextManager[None]:
        return self._inner.transaction()

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _LineDownError(ConnectionError):
    """Makes the in-process slot give its card up without the traceback it keeps for bugs."""


def _reason(error: CardRemovedError) -> TransportError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ReaderLostError):
            return cause
        cause = cause.__cause__
    return error


class _Device:
    """One port and its thread. `_line` is held for one exchange."""

    def __init__(self, config: Mt3Port, readers: InProcessReaders) -> None:
        self.config = config
        self._readers = readers
        self._line = threading.Lock()
        self._port: port.SerialPort | None = None
        self._cards: dict[Slot, _SlotCard] = {}
        self._wake = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"mt3 {config.path}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_stopping = True
        self._wake.set()

    def join(self) -> None:
        self._thread.join(port.WRITE_TIMEOUT_S + 1)

    def exchange(self, request: bytes, timeout_s: float) -> Reply:
        """One request and its reply. Nothing is ever sent twice: whether the card saw it is unknown. Any trouble
        closes the line, since a late reply must not be taken for the next one."""
        with self._line:
            if self._port is None:
                raise ReaderLostError(f"{self.config.path}: the reader is not connected")
            try:
                self._port.discard()
                return self._converse(self._port, request, timeout_s)
            except ReaderLostError:
                self._port.close()
                self._port = None
                self._wake.set()
                raise

    def _converse(self, line: port.SerialPort, request: bytes, timeout_s: float) -> Reply:
        form = self.config.form
        line.write(mt3.encode(request, form))
        return Reply.from_body(port.receive(line, FrameDecoder(form), timeout_s, lambda: self._is_stopping), form)

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self._open()
            except TransportError as error:
                _log.debug("%s", error)
                self._wait(REOPEN_S)
                continue
            _log.info("reader %s is connected", self.config.path)
            try:
                self._follow()
            except TransportError as error:
                _log.warning("reader lost: %s", error)
            finally:
                self._leave()

    def _open(self) -> None:
        """Opens the port and makes sure that a reader answers there, and answers what it is asked."""
        line = port.SerialPort(self.config.path, baud=self.config.baud)
        try:
            self._settle(line)
        except BaseException:
            line.close()
            raise
        with self._line:
            self._port = line
        for slot in self.config.slots:
            self._readers.add_reader(self.config.reader_name(slot))

    def _settle(self, line: port.SerialPort) -> None:
        """Takes all that is under way off the line.

        No reply names its request: one to a request of before the line broke, however late, would be taken for the
        next one's, and so would every reply after it. So two things are asked whose replies differ: with a power-off
        comes a status and nothing else, with the version comes text, and after it nothing. Each may wait for a
        power-off that is still under way.
        """
        form, frames = self.config.form, FrameDecoder(self.config.form)

        def reply() -> Reply:
            return Reply.from_body(port.receive(line, frames, POWER_TIMEOUT_S, lambda: self._is_stopping), form)

        line.write(mt3.encode(mt3.power_off(self.config.slots[0], form), form))
        reply()
        line.write(mt3.encode(mt3.version(form), form))
        found = reply()
        for _ in range(MAX_LATE):
            if found.payload:
                return
            try:
                found = reply()
            except DeviceSilentError:
                return  # a reader whose version is empty: it has said all
        if not found.payload:
            raise FrameError(f"{self.config.path}: more replies than requests")

    def _follow(self) -> None:
        rounds = 0
        while not self._is_stopping:
            for slot in self.config.slots:
                if slot in (Slot.USER, Slot.CONTACTLESS) or rounds % SAM_ROUNDS == 0:
                    self._look(slot)
            self._wait(self.config.poll_s)
            if not self._is_stopping:
                self.exchange(mt3.version(self.config.form), PROBE_TIMEOUT_S)
            rounds += 1

    def _look(self, slot: Slot) -> None:
        name, card = self.config.reader_name(slot), self._cards.get(slot)
        if card is not None and card.is_in():
            return
        if card is not None:
            del self._cards[slot]
            self._readers.remove(name)
        atr = self.power_on(slot)
        if atr is not None:
            card = self._cards[slot] = _SlotCard(self, slot, atr)
            self._readers.insert(name, card)

    def power_on(self, slot: Slot) -> bytes | None:
        reply = self.exchange(mt3.power_on(slot, self.config.form), POWER_TIMEOUT_S)
        return reply.payload if reply.is_ok else None

    def _leave(self) -> None:
        with self._line:
            if self._port is not None:
                self._port.close()
                self._port = None
        for card in self._cards.values():
            card.is_gone = True
        self._cards.clear()
        for slot in self.config.slots:
            self._readers.remove_reader(self.config.reader_name(slot))

    def _wait(self, seconds: float) -> None:
        """Ends early when the line broke or everything is to stop."""
        self._wake.wait(seconds)
        if not self._is_stopping:
            self._wake.clear()


class _SlotCard:
    """What the in-process slot takes for a card: the one in the reader. `_power` keeps looks and uses apart."""

    def __init__(self, device: _Device, slot: Slot, atr: bytes) -> None:
        self.is_gone = False
        self._device = device
        self._slot = slot
        self._atr = atr
        self._power = threading.Lock()
        self._is_fresh = True  # powered by the look that found it
        self._is_powered = True

    def is_in(self) -> bool:
        """Powers a card that nobody uses, to see whether it answers; true for one in use. Raises ReaderLostError."""
        with self._power:
            if self.is_gone or self._is_powered:
                return not self.is_gone
            atr = self._device.power_on(self._slot)
            if atr is None or atr != self._atr:
                self.is_gone = True
                return False
            self._switch_off()
            return True

    def power_on(self) -> bytes:
        with self._power:
            if not self._is_fresh:
                try:
                    atr = self._device.power_on(self._slot)
                except ReaderLostError as error:
                    raise self._lost(error) from error
                if atr != self._atr:
                    self.is_gone = True
                    raise CardRemovedError("the card was taken out, or exchanged")
            self._is_fresh = False
            self._is_powered = True
            return self._atr

    def power_off(self) -> None:
        with self._power:
            if self._is_powered and not self.is_gone:
                self._switch_off()

    def transmit(self, command: bytes) -> bytes:
        config = self._device.config
        request = mt3.apdu(self._slot, command, config.form)
        with self._power:
            if not self._is_powered:
                raise CardMuteError("the card has lost its power: connect again")
            try:
                reply = self._device.exchange(request, config.answer_timeout_s)
                if reply.is_ok:
                    return reply.payload
                return self._sort_out(reply.status)
            except ReaderLostError as error:
                raise self._lost(error) from error

    def _sort_out(self, status: int) -> bytes:
        """Raises: a card that answers to reset is there and was mute, another is gone."""
        self._is_powered = False
        if self._device.power_on(self._slot) != self._atr:
            self.is_gone = True
            raise CardRemovedError(f"the card left during a command (reader status {status:04X})")
        self._switch_off()
        raise CardMuteError(f"the card did not answer (reader status {status:04X})")

    def _switch_off(self) -> None:
        self._is_powered = False
        with suppress(ReaderLostError):
            self._device.exchange(mt3.power_off(self._slot, self._device.config.form), POWER_TIMEOUT_S)

    def _lost(self, error: ReaderLostError) -> _LineDownError:
        self.is_gone = True
        return _LineDownError(str(error))
