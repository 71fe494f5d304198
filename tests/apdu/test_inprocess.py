"""The in-process reader service and the monitor over it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import pytest

from apdu.errors import (
    CardAbsentError,
    CardMuteError,
    CardRemovedError,
    CardUnsupportedError,
    EncodingError,
    ReaderNotFoundError,
    ReaderOccupiedError,
    ReaderServiceError,
)
from apdu.inprocess import InProcessReaders
from apdu.readers import ReaderEvent, ReaderMonitor, ReaderSnapshot, SlotState, changes
from tests.apdu.cards import ATR, OTHER_ATR, EchoCard

READ = bytes.fromhex("00B2010500")


def put(card: EchoCard) -> InProcessReaders:
    readers = InProcessReaders(["A"])
    readers.insert("A", card)
    return readers


def test_power_follows_the_connections() -> None:
    card = EchoCard()
    readers = put(card)
    assert not card.is_powered
    with readers.connect("A") as first:
        assert (first.atr, first.protocol) == (ATR, "T=0")
        assert first.transmit(READ) == READ + b"\x90\x00"
        with readers.connect("A") as second, second.transaction():
            second.transmit(READ)
        second.close()
        assert card.is_powered
    assert not card.is_powered
    with pytest.raises(CardRemovedError):
        first.transmit(READ)


def test_what_can_be_wrong_at_connect() -> None:
    readers = InProcessReaders(["A"])
    for name, kind in (("A", CardAbsentError), ("B", ReaderNotFoundError)):
        with pytest.raises(kind):
            readers.connect(name)
    for atr, kind in ((b"", CardMuteError), (b"\xff\x01\x02", CardUnsupportedError), (b"\x3b\x80\x0f\x8f", None)):
        readers.insert("A", EchoCard(atr))
        with pytest.raises(kind or CardUnsupportedError):
            readers.connect("A")
        readers.remove("A")
    with pytest.raises(ReaderOccupiedError):
        readers.insert("A", EchoCard()) or readers.insert("A", EchoCard())


class GoneError(Exception):
    failure = "CARD_REMOVED"


class SilentError(Exception):
    failure = "CARD_MUTE"


def raising(error: Exception) -> Callable[[bytes], bytes]:
    def answer(_: bytes) -> bytes:
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "kind", "stays"),
    [
        (raising(ConnectionResetError()), CardRemovedError, False),
        (raising(GoneError()), CardRemovedError, False),
        (raising(KeyError("a bug")), CardRemovedError, False),
        (lambda _: b"", CardRemovedError, False),
        (raising(TimeoutError()), CardMuteError, True),
        (raising(SilentError()), CardMuteError, True),
        (lambda _: b"\x90", CardMuteError, True),
    ],
)
def test_failing_cards(answer: Callable[[bytes], bytes], kind: type[Exception], stays: bool) -> None:
    readers = put(EchoCard(answer=answer))
    with readers.connect("A") as connection:
        with pytest.raises(kind):
            connection.transmit(READ)
        assert readers.watch().wait(0)["A"].is_present == stays


def test_removal_during_a_command() -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(command: bytes) -> bytes:
        entered.set()
        leave.wait(30)
        return command + b"\x90\x00"

    card = EchoCard(answer=slow)
    readers = put(card)
    failures: queue.Queue[Exception] = queue.Queue()

    def exchange() -> None:
        with readers.connect("A") as connection, connection.transaction():
            try:
                connection.transmit(READ)
            except CardRemovedError as error:
                failures.put(error)
            with pytest.raises(CardRemovedError):
                connection.transmit(READ)

    worker = threading.Thread(target=exchange)
    worker.start()
    assert entered.wait(30)
    assert readers.remove("A") is card
    # The next card does not wait for the old one's transaction.
    readers.insert("A", EchoCard(OTHER_ATR))
    with readers.connect("A") as connection:
        assert connection.atr == OTHER_ATR
        connection.transmit(READ)
    leave.set()
    worker.join(30)
    assert isinstance(failures.get_nowait(), CardRemovedError)


def test_a_transaction_keeps_others_away() -> None:
    readers = put(EchoCard())
    order: list[str] = []
    with readers.connect("A") as ours, readers.connect("A") as theirs:

        def other() -> None:
            theirs.transmit(READ)
            order.append("other")

        with ours.transaction(), ours.transaction():
            worker = threading.Thread(target=other)
            worker.start()
            time.sleep(0.05)
            ours.transmit(READ)
            order.append("ours")
        worker.join(30)
    assert order == ["ours", "other"]


def test_too_short_a_command_is_the_callers_fault() -> None:
    readers = put(EchoCard())
    with readers.connect("A") as connection, pytest.raises(EncodingError):
        connection.transmit(b"\x04")
    assert readers.watch().wait(0)["A"].is_present


Events = queue.Queue[ReaderEvent]


def expect(events: Events, *kinds: str) -> list[ReaderEvent]:
    got = [events.get(timeout=20) for _ in kinds]
    assert [event.kind for event in got] == list(kinds)
    return got


def test_monitor_reports_every_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apdu.readers.WAIT_SLICE_S", 600)  # nothing but a change, or its end, wakes it
    readers, events = InProcessReaders(["A"]), Events()
    monitor = ReaderMonitor(readers, events.put)
    readers.insert("A", EchoCard())
    monitor.start()
    with pytest.raises(RuntimeError):
        monitor.start()
    _, inserted = expect(events, "reader_added", "card_inserted")
    assert (inserted.reader, inserted.atr) == ("A", ATR)
    assert inserted.at.utcoffset() is not None
    readers.remove("A")
    expect(events, "card_removed")
    readers.add_reader("B")
    expect(events, "reader_added")
    readers.insert("B", EchoCard(b""))
    assert expect(events, "card_inserted")[0].atr == b""
    readers.remove_reader("B")
    expect(events, "card_removed", "reader_removed")
    monitor.stop(30)
    monitor.stop()
    assert not monitor.is_running
    readers.insert("A", EchoCard())
    assert events.empty()
    monitor.start()
    expect(events, "reader_added", "card_inserted")
    monitor.stop()


def test_a_failing_listener_does_not_end_the_watch() -> None:
    readers, events = InProcessReaders(["A"]), Events()

    def listener(event: ReaderEvent) -> None:
        events.put(event)
        raise ValueError(event.kind)

    monitor = ReaderMonitor(readers, listener)
    monitor.start()
    expect(events, "reader_added")
    readers.insert("A", EchoCard())
    expect(events, "card_inserted")
    monitor.stop()


class FlakyService(InProcessReaders):
    """Its service is away as long as `is_down`."""

    is_down = False

    def watch(self) -> FlakyWatch:  # type: ignore[override]
        if self.is_down:
            raise ReaderServiceError("down")
        return FlakyWatch(self)


class FlakyWatch:
    def __init__(self, service: FlakyService) -> None:
        self._service = service
        self._inner = InProcessReaders.watch(service)

    def wait(self, timeout_s: float) -> ReaderSnapshot:
        snapshot = self._inner.wait(min(timeout_s, 0.02))
        if self._service.is_down:
            raise ReaderServiceError("died")
        return snapshot

    def wake(self) -> None:
        self._inner.wake()

    def close(self) -> None:
        self._inner.close()


def test_a_lost_service_is_an_event_and_comes_back() -> None:
    service, events = FlakyService(["A"]), Events()
    service.insert("A", EchoCard())
    monitor = ReaderMonitor(lambda: service, events.put)
    monitor.start()
    expect(events, "reader_added", "card_inserted")
    service.is_down = True
    expect(events, "card_removed", "reader_removed", "service_lost")
    time.sleep(0.3)
    assert events.empty()
    service.is_down = False
    expect(events, "service_restored", "reader_added", "card_inserted")
    service.is_down = True
    expect(events, "card_removed", "reader_removed", "service_lost")
    monitor.stop(30)
    assert not monitor.is_running


EMPTY, FIRST, SECOND = SlotState(), SlotState(True, ATR, 1), SlotState(True, OTHER_ATR, 1)
DIFFS = [
    ({"A": FIRST}, {"A": FIRST}, []),
    ({"A": FIRST}, {"A": SECOND}, ["card_removed", "card_inserted"]),
    ({"A": FIRST}, {"A": SlotState(True, ATR, 3)}, ["card_removed", "card_inserted"]),
    ({"A": SlotState(True, b"", 1)}, {"A": FIRST}, []),
    ({"A": FIRST}, {"B": FIRST}, ["card_removed", "reader_removed", "reader_added", "card_inserted"]),
    ({"A": EMPTY}, {}, ["reader_removed"]),
]


@pytest.mark.parametrize(("before", "after", "kinds"), DIFFS)
def test_changes(before: ReaderSnapshot, after: ReaderSnapshot, kinds: list[str]) -> None:
    assert [event.kind for event in changes(before, after)] == kinds
