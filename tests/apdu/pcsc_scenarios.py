"""Scenarios against a real pcscd. Each runs in a process of its own, because libpcsclite finds its daemon once per
process: `python -m tests.apdu.pcsc_scenarios NAME`."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from apdu.errors import (
    CardAbsentError,
    CardBusyError,
    CardMuteError,
    CardRemovedError,
    CardResetError,
    CardUnsupportedError,
    EncodingError,
    ReaderNotFoundError,
    ReaderServiceError,
    TransportError,
)
from apdu.pcsc import PcscConnection, PcscReaders, is_available
from apdu.readers import ReaderEvent, ReaderMonitor
from tests.apdu.cards import ATR, OTHER_ATR, EchoCard, VpcdLink
from tests.apdu.pcscd import TestPcscd

READ = bytes.fromhex("00B2010500")
ECHO = READ + b"\x90\x00"


@contextmanager
def refused(kind: type[TransportError]) -> Iterator[None]:
    with pytest.raises(TransportError) as caught:
        yield
    assert type(caught.value) is kind, repr(caught.value)


def insert(daemon: TestPcscd, card: EchoCard, slot: int = 0) -> tuple[str, VpcdLink]:
    link = VpcdLink(card, daemon.ports[slot])
    name = PcscReaders().readers()[slot]
    await_card(name, True)
    return name, link


def await_card(name: str, present: bool) -> None:
    watch = PcscReaders().watch()
    end = time.monotonic() + 30
    while watch.wait(1)[name].is_present != present:
        assert time.monotonic() < end
    watch.close()


def exchange(daemon: TestPcscd) -> None:
    readers = PcscReaders()
    card = EchoCard()
    name, _ = insert(daemon, card)
    assert readers.readers() == ["Virtual PCD 00 00", "Virtual PCD 00 01"]
    with readers.connect(name) as connection:
        assert (connection.atr, connection.protocol) == (ATR, "T=0")
        assert connection.transmit(READ) == ECHO
        long = bytes.fromhex("00D60000007D00") + bytes(range(256)) * 125
        assert connection.transmit(long) == long + b"\x90\x00"
        for stub in (b"", b"\x04", b"\0\0\0"):
            with pytest.raises(EncodingError):
                connection.transmit(stub)
        assert connection.transmit(READ) == ECHO
        resets = card.resets
    assert card.resets > resets or not card.is_powered, "the security state outlived the connection"
    with refused(CardRemovedError):
        connection.transmit(READ)
    with refused(CardAbsentError):
        readers.connect(readers.readers()[1])
    with refused(ReaderNotFoundError):
        readers.connect("no such reader")


def cards_that_cannot_be_used(daemon: TestPcscd) -> None:
    for slot, (atr, kind) in enumerate(((b"\x3b" * 34, CardMuteError), (b"\xff\x01\x02", CardUnsupportedError))):
        name, _ = insert(daemon, EchoCard(atr), slot)
        with refused(kind):
            PcscReaders().connect(name)


def both_protocols(daemon: TestPcscd) -> None:
    name, _ = insert(daemon, EchoCard(bytes.fromhex("3B80800101")))
    with PcscReaders().connect(name) as connection:
        assert connection.protocol == "T=1"
        assert connection.transmit(READ) == ECHO


def pulled_during_a_command(daemon: TestPcscd) -> None:
    def answer(_: bytes) -> bytes:
        raise EOFError

    readers = PcscReaders()
    name, _ = insert(daemon, EchoCard(answer=answer))
    with readers.connect(name) as connection, connection.transaction():
        for _ in range(3):
            with refused(CardRemovedError):
                connection.transmit(READ)
    await_card(name, False)
    insert(daemon, EchoCard())
    with readers.connect(name) as connection:
        assert connection.transmit(READ) == ECHO


def pulled_between_commands(daemon: TestPcscd) -> None:
    name, link = insert(daemon, EchoCard())
    connection = PcscReaders().connect(name)
    connection.transmit(READ)
    link.pull()
    with refused(CardRemovedError):
        connection.transmit(READ)
    await_card(name, False)
    insert(daemon, EchoCard(OTHER_ATR))
    with refused(CardRemovedError):
        connection.transmit(READ)
    connection.close()


def exchanged_unnoticed(daemon: TestPcscd) -> None:
    """Another card in the slot before the old connection speaks again."""
    name, link = insert(daemon, EchoCard())
    connection = PcscReaders().connect(name)
    connection.transmit(READ)
    link.pull()
    await_card(name, False)
    insert(daemon, EchoCard(OTHER_ATR))
    with refused(CardRemovedError):
        connection.transmit(READ)
    connection.close()


def reset_by_another(daemon: TestPcscd) -> None:
    readers = PcscReaders()
    name, _ = insert(daemon, EchoCard())
    with readers.connect(name) as connection:
        connection.transmit(READ)
        readers.connect(name).close()
        with refused(CardResetError):
            connection.transmit(READ)
        # Told once; nothing more is lost until the next command, so a further reset passes unnoticed.
        readers.connect(name).close()
        assert connection.transmit(READ) == ECHO
        readers.connect(name).close()
        with refused(CardResetError), connection.transaction():
            raise AssertionError("the transaction began on a reset card")
        with connection.transaction():
            assert connection.transmit(READ) == ECHO
        kind = PcscReaders(resets_on_close=False)
        kind.connect(name).close()
        assert connection.transmit(READ) == ECHO


def sharing(daemon: TestPcscd) -> None:
    from smartcard import scard

    readers = PcscReaders()
    name, _ = insert(daemon, EchoCard())
    _, context = scard.SCardEstablishContext(2)
    code, handle, _ = scard.SCardConnect(context, name, scard.SCARD_SHARE_EXCLUSIVE, 3)
    assert code == 0
    with refused(CardBusyError):
        readers.connect(name)
    scard.SCardDisconnect(handle, 0)
    scard.SCardReleaseContext(context)
    with readers.connect(name) as ours, readers.connect(name) as theirs:
        order: list[str] = []

        def other() -> None:
            theirs.transmit(READ)
            order.append("other")

        with ours.transaction(), ours.transaction():
            worker = threading.Thread(target=other)
            worker.start()
            time.sleep(0.2)
            ours.transmit(READ)
            order.append("ours")
        worker.join(30)
    assert order == ["ours", "other"]


def service_killed(daemon: TestPcscd) -> None:
    readers = PcscReaders()
    assert is_available() == (True, "")
    name, _ = insert(daemon, EchoCard())
    connection = readers.connect(name)
    entered = threading.Event()
    hanging_name, _ = insert(daemon, EchoCard(answer=lambda _: entered.set() or time.sleep(60) or b""), 1)
    hanging = readers.connect(hanging_name)
    freed: queue.Queue[Exception] = queue.Queue()

    def hang() -> None:
        with suppress(TransportError):
            hanging.transmit(READ)
        freed.put(ValueError())

    threading.Thread(target=hang, daemon=True).start()
    assert entered.wait(20)
    daemon.kill()
    freed.get(timeout=20)
    for call in (readers.readers, readers.watch, lambda: readers.connect(name), lambda: connection.transmit(READ)):
        with refused(ReaderServiceError):
            call()
    with refused(ReaderServiceError), connection.transaction():
        pass
    connection.close()
    hanging.close()
    available, reason = is_available()
    assert not available
    assert "not running" in reason
    assert is_available(needs_service=False) == (True, "")
    daemon.start()
    insert(daemon, EchoCard())
    with readers.connect(name) as connection:
        assert connection.transmit(READ) == ECHO


def killed_with_open_transaction(daemon: TestPcscd) -> None:
    name, _ = insert(daemon, EchoCard())
    with refused(ReaderServiceError), PcscReaders().connect(name) as connection, connection.transaction():
        daemon.kill()
        connection.transmit(READ)


def many_connections_leak_nothing(daemon: TestPcscd) -> None:
    """pcscd refuses the 201st context."""
    readers = PcscReaders()
    name, _ = insert(daemon, EchoCard())
    for _ in range(210):
        readers.readers()
        with readers.connect(name) as connection:
            connection.transmit(READ)
        with refused(ReaderNotFoundError):
            readers.connect("none")
    held: list[PcscConnection] = []
    try:
        with refused(ReaderServiceError):
            while True:
                held.append(readers.connect(name))
    finally:
        for connection in held:
            connection.close()
    assert len(held) > 100
    assert readers.readers()


def monitor(daemon: TestPcscd) -> None:
    events: queue.Queue[ReaderEvent] = queue.Queue()

    def expect(*kinds: str) -> list[ReaderEvent]:
        got = [events.get(timeout=30) for _ in kinds]
        assert [event.kind for event in got] == list(kinds), got
        return got

    watcher = ReaderMonitor(PcscReaders, events.put)
    watcher.start()
    expect("reader_added", "reader_added")
    card = EchoCard()
    name, link = insert(daemon, card)
    (event,) = expect("card_inserted")
    assert (event.reader, event.atr) == (name, ATR)
    # Use by others is no event.
    with PcscReaders().connect(name) as connection:
        connection.transmit(READ)
    link.pull()
    expect("card_removed")
    _, link = insert(daemon, card)
    expect("card_inserted")
    daemon.kill()
    expect("card_removed", "reader_removed", "reader_removed", "service_lost")
    time.sleep(0.6)
    assert events.empty()
    daemon.start()
    expect("service_restored", "reader_added", "reader_added")
    insert(daemon, EchoCard(OTHER_ATR), 1)
    assert expect("card_inserted")[0].atr == OTHER_ATR
    watcher.stop(30)
    assert not watcher.is_running
    assert events.empty()


def monitor_before_the_service(daemon: TestPcscd) -> None:
    daemon.kill()
    events: queue.Queue[ReaderEvent] = queue.Queue()
    watcher = ReaderMonitor(PcscReaders(), events.put)
    watcher.start()
    assert events.get(timeout=30).kind == "service_lost"
    daemon.start()
    assert events.get(timeout=30).kind == "service_restored"
    watcher.stop()


SCENARIOS: dict[str, Callable[[TestPcscd], None]] = {
    scenario.__name__: scenario
    for scenario in (
        exchange,
        cards_that_cannot_be_used,
        both_protocols,
        pulled_during_a_command,
        pulled_between_commands,
        exchanged_unnoticed,
        reset_by_another,
        sharing,
        service_killed,
        killed_with_open_transaction,
        many_connections_leak_nothing,
        monitor,
        monitor_before_the_service,
    )
}


def main(name: str) -> None:
    daemon = TestPcscd()
    os.environ["PCSCLITE_CSOCK_NAME"] = str(daemon.socket)
    try:
        daemon.start()
        SCENARIOS[name](daemon)
    finally:
        daemon.stop()


if __name__ == "__main__":
    main(sys.argv[1])
