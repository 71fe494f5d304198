"""Software cards of other processes, without PC/SC."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from apdu.errors import CardAbsentError, CardMuteError, CardRemovedError, EncodingError
from apdu.readers import ReaderEvent, ReaderMonitor
from apdu.vpcd import VpcdReaders
from tests.apdu.cards import ATR, OTHER_ATR, EchoCard, VpcdLink

READ = bytes.fromhex("00B2010500")


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> Iterator[VpcdReaders]:
    monkeypatch.setattr("apdu.vpcd.POWER_TIMEOUT_S", 30)
    with VpcdReaders() as service:
        yield service


def wait_until(readers: VpcdReaders, slot: int, present: bool) -> None:
    watch, end = readers.watch(), time.monotonic() + 20
    while watch.wait(0.5)[readers.readers()[slot]].is_present != present:
        assert time.monotonic() < end


def test_two_cards_side_by_side(readers: VpcdReaders) -> None:
    cards = [EchoCard(ATR), EchoCard(OTHER_ATR)]
    links = [VpcdLink(card, port) for card, port in zip(cards, readers.ports, strict=True)]
    for slot in (0, 1):
        wait_until(readers, slot, True)
    first, second = (readers.connect(name) for name in readers.readers())
    with first, second:
        assert (first.atr, second.atr) == (ATR, OTHER_ATR)
        assert first.transmit(READ) == READ + b"\x90\x00"
        assert second.transmit(bytes(60000)) == bytes(60000) + b"\x90\x00"
        with pytest.raises(EncodingError):
            second.transmit(bytes(70000))
        assert cards[0].is_powered
    links[0].pull()
    wait_until(readers, 0, False)
    with pytest.raises(CardAbsentError):
        readers.connect(readers.readers()[0])
    # The slot takes the next card.
    VpcdLink(EchoCard(OTHER_ATR), readers.ports[0])
    wait_until(readers, 0, True)
    end = time.monotonic() + 20
    while cards[1].is_powered:  # its link hears later that nobody holds it
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_card_that_leaves_during_a_command(readers: VpcdReaders) -> None:
    def answer(command: bytes) -> bytes:
        raise EOFError

    VpcdLink(EchoCard(answer=answer), readers.ports[0])
    wait_until(readers, 0, True)
    with readers.connect(readers.readers()[0]) as connection, pytest.raises(CardRemovedError):
        connection.transmit(READ)
    wait_until(readers, 0, False)


def test_a_silent_card_times_out_and_is_dropped(readers: VpcdReaders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apdu.vpcd.ANSWER_TIMEOUT_S", 0.05)
    release = threading.Event()

    def answer(command: bytes) -> bytes:
        release.wait(30)
        return b"\x90\x00"

    VpcdLink(EchoCard(answer=answer), readers.ports[0])
    wait_until(readers, 0, True)
    with readers.connect(readers.readers()[0]) as connection:
        with pytest.raises(CardMuteError):
            connection.transmit(READ)
        release.set()
        with pytest.raises(CardRemovedError):
            connection.transmit(READ)
    wait_until(readers, 0, False)


@pytest.mark.parametrize("noise", [b"", b"\x00", b"\x00\x02\x90\x00", b"\xff\xff\x3b"])
def test_strangers_at_the_port_do_no_harm(readers: VpcdReaders, noise: bytes) -> None:
    with socket.create_connection(("127.0.0.1", readers.ports[0])) as stranger:
        stranger.sendall(noise)
    VpcdLink(EchoCard(), readers.ports[0])
    events: queue.Queue[ReaderEvent] = queue.Queue()
    monitor = ReaderMonitor(readers, events.put)
    monitor.start()
    while (event := events.get(timeout=30)).kind != "card_inserted" or event.atr != ATR:
        pass
    monitor.stop()


def test_ports_are_loopback_only_and_free_after_close() -> None:
    with VpcdReaders((0,)) as first:
        ports = tuple(first.ports)
        with pytest.raises(OSError, match="in use"):
            VpcdReaders((0, *ports))
        assert first._slots[0]._socket.getsockname()[0] == "127.0.0.1"
    with VpcdReaders(ports) as again:
        assert tuple(again.ports) == ports
    again.close()
