"""The terminal's readers: what is known of each, who uses it, and the worker that serves it.

State lives on the event loop; reader events arrive from the monitor's thread and are carried over. Each reader
passes through the states of `ReaderState`; the loss of the PC/SC service is a state, not an error.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeVar

from apdu.errors import CardBusyError, CardResetError, CardUnsupportedError, ReaderLostError, TransportError
from apdu.readers import CardConnection, ReaderEvent, ReaderMonitor, ReaderService
from terminal_agent.hub import EventHub
from terminal_agent.problems import ReaderBusyError, UnknownReaderError
from terminal_agent.processes import card_programs
from terminal_agent.worker import ReaderWorker

T = TypeVar("T")

MAX_READERS = 256
FIRST_LIST_S = 2.0
NEIGHBOUR_S = 2.0
NEIGHBOUR_PAUSE_S = 0.1
RESETTING_S = 0.3  # a card that another program resets at this moment seems to have no protocol
_CONTACTLESS_WORDS = frozenset({"contactless", "picc", "nfc", "rfid", "cl", "非接"})
_CONTACTLESS_ATR = re.compile(rb"\x3b[\x80-\x8f]\x80\x01", re.DOTALL)
LOG = logging.getLogger("terminal_agent.readers")


class ReaderState(StrEnum):
    """EMPTY and PRESENT say where the card is; IN_USE somebody holds the reader; AWAIT_REMOVAL the session is
    over and the card should be taken; LOST the reader or its service has gone."""

    EMPTY = "EMPTY"
    PRESENT = "PRESENT"
    IN_USE = "IN_USE"
    AWAIT_REMOVAL = "AWAIT_REMOVAL"
    LOST = "LOST"


@dataclass(slots=True)
class Holder:
    """Who has a reader for longer than one call: by a lease, or implicitly while a session is on the card.

    `owner` is what the program calls itself, `origin` the page's own, empty for a program of this computer.
    """

    owner: str
    origin: str = ""
    kind: Literal["lease", "session"] = "lease"
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __str__(self) -> str:
        who = f"{self.owner} ({self.origin})" if self.origin else self.owner
        return f"{who}, since {self.since:%H:%M:%S} UTC"

    def public(self) -> dict[str, Any]:
        """For every listener."""
        since = self.since.isoformat(timespec="seconds").replace("+00:00", "Z")
        return {"owner": self.owner, "origin": self.origin or None, "kind": self.kind, "since": since}


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
    holder: Holder | None = None
    """Who has it implicitly; leases are the keeper's."""
    is_session_over: bool = False
    seen_at: float = 0.0
    """Seconds of the monotonic clock when the monitor saw the card come; `added_at`: the reader, 0 once a card has
    been taken out of it."""
    added_at: float = 0.0
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
        if self.holder is not None:
            return ReaderState.IN_USE
        if self.atr is None:
            return ReaderState.EMPTY
        return ReaderState.AWAIT_REMOVAL if self.is_session_over else ReaderState.PRESENT


@dataclass(frozen=True, slots=True)
class HeldCard:
    """A card kept for several calls. `connection` may only be used inside calls to `worker`."""

    connection: CardConnection
    worker: ReaderWorker


class Keeper(Protocol):
    """Knows who has leased which reader."""

    def check(self, reader: Reader) -> None:
        """Raises when the caller may not use the reader now."""

    def serve(self, reader: Reader) -> None:
        """The reader has become free."""

    def holder_of(self, reader: Reader) -> Holder | None: ...

    def waiting(self, reader: Reader) -> int: ...


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
        self.keeper: Keeper | None = None
        self.gate: Callable[[], None] = lambda: None
        """Raises where no card may be touched now."""

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
                loop.call_soon_threadsafe(self._apply, service, event, time.monotonic())

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

    @property
    def stuck_s(self) -> float:
        """The longest that a reader's thread is overdue."""
        return max((reader.worker.overdue_s for reader in self._readers.values()), default=0.0)

    def all(self) -> list[Reader]:
        return sorted(self._readers.values(), key=lambda reader: reader.name)

    def card_readers(self) -> list[Reader]:
        return [reader for reader in self.all() if not reader.is_psam]

    def psam_reader(self) -> Reader | None:
        """The configured PSAM slot that has a card and no holder, else None."""
        return next((reader for reader in self.all() if reader.is_psam and reader.has_card and not reader.holder), None)

    def is_there(self, name: str) -> bool:
        reader = self._readers.get(name)
        return reader is not None and not reader.is_lost

    def get(self, name: str) -> Reader:
        """Raises UnknownReaderError; a PSAM slot is no card reader."""
        reader = self._readers.get(name)
        if reader is None or reader.is_psam:
            raise UnknownReaderError(f"no card reader named {name!r}")
        return reader

    def holder_of(self, reader: Reader) -> Holder | None:
        """A lease goes before the session that its holder runs."""
        lease = self.keeper.holder_of(reader) if self.keeper is not None else None
        return lease or reader.holder

    def is_held(self, reader: Reader) -> bool:
        return self.holder_of(reader) is not None

    def waiting(self, reader: Reader) -> int:
        return 0 if self.keeper is None else self.keeper.waiting(reader)

    def state_of(self, reader: Reader) -> ReaderState:
        """As `Reader.state`, knowing of leases."""
        return ReaderState.IN_USE if not reader.is_lost and self.is_held(reader) else reader.state

    async def use(self, reader: Reader, call: Callable[[CardConnection], T], timeout_s: float) -> T:
        """Run `call` on the reader's thread with the card connected and no other program in between."""
        self._expect_free(reader)
        if reader.is_lost:
            raise ReaderLostError(f"{reader.name} has gone")

        def exchange() -> T:
            with ExitStack() as stack:
                return call(_begun(reader, stack))

        return await reader.worker.call(exchange, timeout_s)

    def take(self, reader: Reader, owner: str, origin: str = "") -> None:
        """Keep a reader for one session. Raises ReaderBusyError when another session has it, and as the keeper."""
        self._expect_free(reader)
        reader.holder = Holder(owner, origin, "session")

    def give_back(self, reader: Reader) -> None:
        reader.holder = None
        reader.is_session_over = reader.has_card
        reader.changed.set()
        if self.keeper is not None:
            self.keeper.serve(reader)

    def _expect_free(self, reader: Reader) -> None:
        self.gate()
        if self.keeper is not None:
            self.keeper.check(reader)
        if reader.holder is not None:
            error = ReaderBusyError(f"{reader.name}: {reader.holder}")
            error.extra = {"holder": reader.holder.public() | {"waiting": self.waiting(reader)}}
            raise error

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
            return _begun(reader, stack)

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
        change = asyncio.ensure_future(reader.changed.wait())
        try:
            await asyncio.wait([change], timeout=timeout_s)  # wait_for can lose a cancellation (ReaderWorker.call)
        finally:
            change.cancel()

    def _admit(self, service: ReaderService, name: str) -> Reader | None:
        reader = self._readers.get(name)
        if reader is not None and reader.is_lost:
            reader.worker = ReaderWorker(name)
            reader.is_lost = False
        elif reader is None:
            if len(self._readers) >= MAX_READERS:
                lost = next((known for known in self.all() if known.is_lost and not self.is_held(known)), None)
                if lost is None:
                    LOG.warning("more than %d readers; %s is left out", MAX_READERS, name)
                    return None
                del self._readers[lost.name]
            is_psam = any(part in name for part in self._psam_names)
            reader = self._readers[name] = Reader(name, service, ReaderWorker(name), is_psam)
        return reader

    def _apply(self, service: ReaderService, event: ReaderEvent, at: float) -> None:
        """One event of a monitor, which saw it `at`, on the loop: state first, listeners after."""
        if event.kind in ("service_lost", "service_restored"):
            self.is_service_lost = event.kind == "service_lost"
            for reader in self._readers.values() if self.is_service_lost else ():
                if reader.service is service:
                    self._lose(reader)
        elif event.kind == "reader_removed":
            if event.reader in self._readers:
                self._lose(self._readers[event.reader])
        else:
            self._apply_presence(service, event, at)
        reader_or_none = self._readers.get(event.reader)
        data = {"reader": event.reader, "state": None, "atr": None}
        if reader_or_none is not None:
            data |= {"state": self.state_of(reader_or_none).value, "atr": _hex(reader_or_none.atr)}
            data["role"] = "psam" if reader_or_none.is_psam else "card"
        self._hub.publish(event.kind, data)

    def _apply_presence(self, service: ReaderService, event: ReaderEvent, at: float) -> None:
        reader = self._admit(service, event.reader)
        if reader is None:
            return
        if event.kind == "reader_added":
            reader.added_at = at
        elif event.kind == "card_inserted":
            reader.atr, reader.seen_at = event.atr or b"", at
            reader.insertions += 1
            reader.is_session_over = False
        elif event.kind == "card_removed":
            reader.atr, reader.added_at = None, 0.0
            reader.is_session_over = False
        reader.changed.set()

    @staticmethod
    def _lose(reader: Reader) -> None:
        reader.is_lost = True
        reader.atr = None
        # The thread may hang in the driver of the reader that went away: one that comes back gets a new one.
        reader.worker.stop()
        reader.changed.set()


def _begun(reader: Reader, stack: ExitStack) -> CardConnection:
    """A transaction on the reader's card, ended by `stack`. Other card software here is waited for a little.

    Raises CardBusyError, which names what may have the card, and CardResetError when it is reset again and again.
    """
    begun = time.monotonic()
    while True:
        try:
            with ExitStack() as opening:
                connection: CardConnection = opening.enter_context(reader.service.connect(reader.name))
                opening.enter_context(connection.transaction())
                stack.push(opening.pop_all())
            return connection
        except (CardBusyError, CardResetError, CardUnsupportedError) as error:
            patience_s = RESETTING_S if isinstance(error, CardUnsupportedError) else NEIGHBOUR_S
            if time.monotonic() - begun > patience_s:
                programs = ", ".join(card_programs()) if isinstance(error, CardBusyError) else ""
                if programs:
                    raise CardBusyError(f"{error}; programs using cards: {programs}") from error
                raise
        time.sleep(random.uniform(0, NEIGHBOUR_PAUSE_S))  # noqa: S311 - to fall out of step


def _hex(atr: bytes | None) -> str | None:
    return None if atr is None else atr.hex().upper()
