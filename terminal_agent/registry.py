"""The terminal's readers: what is known of each, who uses it, and the worker that serves it.

State lives on the event loop; reader events arrive from the monitor's thread and are carried over. Each reader
passes through the states of `ReaderState`; the loss of the PC/SC service is a state, not an error.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from apdu.errors import ReaderLostError, TransportError
from apdu.readers import CardConnection, ReaderEvent, ReaderMonitor, ReaderService
from terminal_agent.hub import EventHub
from terminal_agent.problems import ReaderBusyError, UnknownReaderError
from terminal_agent.worker import ReaderWorker

T = TypeVar("T")

MAX_READERS = 256
FIRST_LIST_S = 2.0
_CONTACTLESS_WORDS = frozenset({"contactless", "picc", "nfc", "rfid", "cl", "非接"})
_CONTACTLESS_ATR = re.compile(rb"\x3b[\x80-\x8f]\x80\x01", re.DOTALL)
LOG = logging.getLogger("terminal_agent.readers")


class ReaderState(StrEnum):
    """EMPTY and PRESENT say where the card is; IN_USE a card session holds the reader; AWAIT_REMOVAL the session is
    over and the card should be taken; LOST the reader or its service has gone."""

    EMPTY = "EMPTY"
    PRESENT = "PRESENT"
    IN_USE = "IN_USE"
    AWAIT_REMOVAL = "AWAIT_REMOVAL"
    LOST = "LOST"


@dataclass(slots=True)
class Reader:
    """`insertions` counts cards put in, so that a fast swap is noticed even when the state looks unchanged."""

    name: str
    service: ReaderService
    worker: ReaderWorker
    is_psam: bool
    is_lost: bool = False
    atr: bytes | None = None
    insertions: int = 0
    is_leased: bool = False
    is_session_over: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_card(self) -> bool:
        return self.atr is not None and not self.is_lost

    @property
    def is_contactless(self) -> bool:
        """By the reader's name, or by an ATR that PC/SC made up for a contactless card (PC/SC part 3, 3.1.3.2.3)."""
        words = {word for word in re.split(r"[^a-z0-9非接]+", self.name.lower()) if word}
        return bool(words & _CONTACTLESS_WORDS) or _CONTACTLESS_ATR.match(self.atr or b"") is not None

    @property
    def state(self) -> ReaderState:
        if self.is_lost:
            return ReaderState.LOST
        if self.is_leased:
            return ReaderState.IN_USE
        if self.atr is None:
            return ReaderState.EMPTY
        return ReaderState.AWAIT_REMOVAL if self.is_session_over else ReaderState.PRESENT


@dataclass(frozen=True, slots=True)
class HeldCard:
    """A card kept for several calls. `connection` may only be used inside calls to `worker`."""

    connection: CardConnection
    worker: ReaderWorker


class ReaderRegistry:
    """Use from the event loop between `start` and `stop`. `psam_names` as in `AgentSettings.psam_readers`.

    Each service of readers is watched by itself: one that is lost takes only its own readers with it.
    """

    def __init__(self, service: ReaderService, hub: EventHub, psam_names: tuple[str, ...] = ()) -> None:
        self._services = [service]
        self._hub = hub
        self._psam_names = psam_names
        self._readers: dict[str, Reader] = {}
        self._monitors: list[ReaderMonitor] = []
        self.is_service_lost = False

    def add(self, service: ReaderService) -> None:
        """Readers beside those of the first service; before `start`. Their names must differ from all others."""
        self._services.append(service)

    async def start(self) -> None:
        for service in self._services:
            await self._start(service)

    async def _start(self, service: ReaderService) -> None:
        loop = asyncio.get_running_loop()

        def carry(event: ReaderEvent) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._apply, service, event)

        # Names first, so that a call right after start finds its reader; cards follow from the monitor.
        scout = ReaderWorker("scout")
        try:
            for name in await scout.call(service.readers, FIRST_LIST_S):
                self._admit(service, name)
        except Exception as exc:
            LOG.info("no reader list at start: %s", exc)
        finally:
            scout.stop()
        monitor = ReaderMonitor(service, carry)
        self._monitors.append(monitor)
        monitor.start()

    async def stop(self) -> None:
        await asyncio.gather(*(asyncio.to_thread(monitor.stop) for monitor in self._monitors))
        for reader in self._readers.values():
            reader.worker.stop()

    def all(self) -> list[Reader]:
        return sorted(self._readers.values(), key=lambda reader: reader.name)

    def card_readers(self) -> list[Reader]:
        return [reader for reader in self.all() if not reader.is_psam]

    def psam_reader(self) -> Reader | None:
        """The configured PSAM slot that has a card, else None."""
        return next((reader for reader in self.all() if reader.is_psam and reader.has_card), None)

    def is_there(self, name: str) -> bool:
        reader = self._readers.get(name)
        return reader is not None and not reader.is_lost

    def get(self, name: str) -> Reader:
        """Raises UnknownReaderError; a PSAM slot is no card reader."""
        reader = self._readers.get(name)
        if reader is None or reader.is_psam:
            raise UnknownReaderError(f"no card reader named {name!r}")
        return reader

    async def use(self, reader: Reader, call: Callable[[CardConnection], T], timeout_s: float) -> T:
        """Run `call` on the reader's thread with the card connected and no other program in between."""
        if reader.is_leased:
            raise ReaderBusyError(f"{reader.name} is in a card session")
        if reader.is_lost:
            raise ReaderLostError(f"{reader.name} has gone")

        def exchange() -> T:
            with reader.service.connect(reader.name) as connection, connection.transaction():
                return call(connection)

        return await reader.worker.call(exchange, timeout_s)

    def take(self, reader: Reader) -> None:
        """Keep a reader for one card session. Raises ReaderBusyError when another session has it."""
        if reader.is_leased:
            raise ReaderBusyError(f"{reader.name} is in a card session")
        reader.is_leased = True

    def give_back(self, reader: Reader) -> None:
        reader.is_leased = False
        reader.is_session_over = reader.has_card
        reader.changed.set()

    @asynccontextmanager
    async def hold(self, reader: Reader, timeout_s: float) -> AsyncIterator[HeldCard]:
        """One connection and one PC/SC transaction over several calls: the card keeps its selection, challenge and
        security state between the batches of a session."""
        if reader.is_lost:
            raise ReaderLostError(f"{reader.name} has gone")
        worker = reader.worker
        worker.pin()
        stack = ExitStack()

        def connect() -> CardConnection:
            with ExitStack() as opening:
                connection: CardConnection = opening.enter_context(reader.service.connect(reader.name))
                opening.enter_context(connection.transaction())
                stack.push(opening.pop_all())
            return connection

        def close() -> None:
            try:
                stack.close()
            except TransportError as exc:
                LOG.debug("%s: closing: %s", reader.name, exc)

        try:
            yield HeldCard(await worker.call(connect, timeout_s), worker)
        finally:
            worker.unpin(close)

    async def wait_change(self, reader: Reader, timeout_s: float) -> None:
        """Return when something about `reader` changed, or after `timeout_s`."""
        reader.changed.clear()
        try:
            await asyncio.wait_for(reader.changed.wait(), timeout_s)
        except TimeoutError:
            return

    def _admit(self, service: ReaderService, name: str) -> Reader | None:
        reader = self._readers.get(name)
        if reader is not None and reader.is_lost:
            # The old thread may still hang in the driver of the reader that went away.
            reader.worker.stop()
            reader.worker = ReaderWorker(name)
            reader.is_lost = False
        elif reader is None:
            if len(self._readers) >= MAX_READERS:
                lost = next((known for known in self.all() if known.is_lost and not known.is_leased), None)
                if lost is None:
                    LOG.warning("more than %d readers; %s is left out", MAX_READERS, name)
                    return None
                self._readers.pop(lost.name).worker.stop()
            is_psam = any(part in name for part in self._psam_names)
            reader = self._readers[name] = Reader(name, service, ReaderWorker(name), is_psam)
        return reader

    def _apply(self, service: ReaderService, event: ReaderEvent) -> None:
        """One event of a monitor, on the loop: state first, listeners after."""
        if event.kind in ("service_lost", "service_restored"):
            self.is_service_lost = event.kind == "service_lost"
            for reader in self._readers.values() if self.is_service_lost else ():
                if reader.service is service:
                    self._lose(reader)
        elif event.kind == "reader_removed":
            if event.reader in self._readers:
                self._lose(self._readers[event.reader])
        else:
            self._apply_presence(service, event)
        reader_or_none = self._readers.get(event.reader)
        data = {"reader": event.reader, "state": None, "atr": None}
        if reader_or_none is not None:
            data |= {"state": reader_or_none.state.value, "atr": _hex(reader_or_none.atr)}
            data["role"] = "psam" if reader_or_none.is_psam else "card"
        self._hub.publish(event.kind, data)

    def _apply_presence(self, service: ReaderService, event: ReaderEvent) -> None:
        reader = self._admit(service, event.reader)
        if reader is None:
            return
        if event.kind == "card_inserted":
            reader.atr = event.atr or b""
            reader.insertions += 1
            reader.is_session_over = False
        elif event.kind == "card_removed":
            reader.atr = None
            reader.is_session_over = False
        reader.changed.set()

    @staticmethod
    def _lose(reader: Reader) -> None:
        reader.is_lost = True
        reader.atr = None
        reader.changed.set()


def _hex(atr: bytes | None) -> str | None:
    return None if atr is None else atr.hex().upper()
