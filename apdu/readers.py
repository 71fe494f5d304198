"""Readers, connections to the cards in them, and the monitor that watches both."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Literal, Protocol, Self

from apdu.channel import Channel
from apdu.errors import TransportError

EventKind = Literal[
    "reader_added", "reader_removed", "card_inserted", "card_removed", "service_lost", "service_restored"
]

WAIT_SLICE_S: Final = 0.4  # upper bound of one wait, and so of the time `stop` takes when a wake-up is missed
RETRY_S: Final = 0.25  # pause between attempts to reach a lost service

_log = logging.getLogger(__name__)


class CardConnection(Channel, Protocol):
    """An open, powered card. One thread at a time; other connections to the same card may exist."""

    @property
    def atr(self) -> bytes: ...

    @property
    def protocol(self) -> str:
        """ "T=0" or "T=1"."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Keeps every other connection away from the card until the block ends. May be nested."""
        ...

    def close(self) -> None:
        """Idempotent. The card's security state does not outlive the connection."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class SlotState:
    """What one reader holds. `atr` is empty without a card and for a mute one.

    `changes` counts insertions and removals where the service counts them, so that a card exchanged between two
    looks is seen; otherwise it stays 0.
    """

    is_present: bool = False
    atr: bytes = b""
    changes: int = 0


ReaderSnapshot = Mapping[str, SlotState]


class ReaderWatch(Protocol):
    """One watcher's own line to a service. `wait` belongs to one thread; `wake` may be called from any."""

    def wait(self, timeout_s: float) -> ReaderSnapshot:
        """All readers: at once on the first call, afterwards as soon as something differs from the last answer, or
        unchanged when the time is over. Raises a TransportError when the service is gone; the watch is then dead."""
        ...

    def wake(self) -> None:
        """Ends a running `wait` early."""
        ...

    def close(self) -> None: ...


class ReaderService(Protocol):
    """A source of readers."""

    def readers(self) -> list[str]:
        """Names in the service's order. Raises ReaderServiceError when the service is gone."""
        ...

    def connect(self, name: str) -> CardConnection:
        """Powers the card when nobody has. Raises ReaderNotFoundError, CardAbsentError, CardMuteError, CardBusyError,
        CardUnsupportedError or ReaderServiceError."""
        ...

    def watch(self) -> ReaderWatch:
        """A new watcher, independent of every connection. Raises ReaderServiceError when the service is gone."""
        ...


@dataclass(frozen=True, slots=True)
class ReaderEvent:
    """`reader` is empty for the two service events; `atr` is set for `card_inserted` alone, empty for a mute card."""

    kind: EventKind
    reader: str = ""
    atr: bytes | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class ReaderMonitor:
    """Reports every change of readers and cards from a thread of its own.

    The first look reports what is already there. Losing the service is an event, preceded by the removal of all
    cards and readers; the monitor then tries again until the service is back. `on_event` runs on the monitor's
    thread and must return soon; what it raises is logged and dropped. A monitor may be started again after `stop`.
    """

    def __init__(
        self, service: ReaderService | Callable[[], ReaderService], on_event: Callable[[ReaderEvent], None]
    ) -> None:
        self._factory: Callable[[], ReaderService] = service if callable(service) else lambda: service
        self._on_event = on_event
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._watch: ReaderWatch | None = None
        self._thread: threading.Thread | None = None
        self._known: dict[str, SlotState] = {}
        self._is_lost = False

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Raises RuntimeError when it runs already."""
        if self.is_running:
            raise RuntimeError("the monitor is already running")
        self._stopping.clear()
        self._known, self._is_lost = {}, False
        self._thread = threading.Thread(target=self._run, name="reader-monitor", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Idempotent. No event comes after it has returned, unless `on_event` itself calls it."""
        self._stopping.set()
        with self._lock:
            if self._watch is not None:
                self._watch.wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow(self._factory().watch())
            except TransportError as error:
                self._lose(error)
                self._stopping.wait(RETRY_S)

    def _follow(self, watch: ReaderWatch) -> None:
        with self._lock:
            self._watch = watch
        try:
            while not self._stopping.is_set():
                snapshot = watch.wait(WAIT_SLICE_S)
                if self._stopping.is_set():
                    return
                if self._is_lost:
                    self._is_lost = False
                    self._emit(ReaderEvent("service_restored"))
                for event in changes(self._known, snapshot):
                    self._emit(event)
                self._known = dict(snapshot)
        finally:
            with self._lock:
                self._watch = None
            watch.close()

    def _lose(self, error: TransportError) -> None:
        if self._is_lost or self._stopping.is_set():
            return
        self._is_lost = True
        _log.warning("reader service lost: %s", error)
        for event in changes(self._known, {}):
            self._emit(event)
        self._known = {}
        self._emit(ReaderEvent("service_lost"))

    def _emit(self, event: ReaderEvent) -> None:
        try:
            self._on_event(event)
        except Exception:
            # A listener's bug must not end the watch: the next card would never be seen.
            _log.exception("listener failed on %s", event.kind)


def changes(before: ReaderSnapshot, after: ReaderSnapshot) -> Iterator[ReaderEvent]:
    """What happened between two looks. A card is removed before its reader and inserted after it."""
    for name, old in before.items():
        new = after.get(name)
        swapped = new is not None and old.is_present and new.is_present and _is_other_card(old, new)
        if old.is_present and (new is None or not new.is_present or swapped):
            yield ReaderEvent("card_removed", name)
        if new is None:
            yield ReaderEvent("reader_removed", name)
    for name, new in after.items():
        previous = before.get(name)
        if previous is None:
            yield ReaderEvent("reader_added", name)
        seen = previous is not None and previous.is_present
        if new.is_present and (previous is None or not seen or _is_other_card(previous, new)):
            yield ReaderEvent("card_inserted", name, new.atr)


def _is_other_card(old: SlotState, new: SlotState) -> bool:
    """An ATR that appears late (a card powered after it was seen) is not another card; a counted removal is."""
    return (bool(old.atr) and old.atr != new.atr) or new.changes - old.changes >= 2
