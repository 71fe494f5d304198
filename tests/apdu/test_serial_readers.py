"""MT3 readers on pseudo-terminals: cards, events, loss and recovery, many at once."""

from __future__ import annotations

import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from apdu.channel import follow_up, transceive
from apdu.command import CommandApdu
from apdu.errors import (
    CardAbsentError,
    CardBusyError,
    CardMuteError,
    CardRemovedError,
    EncodingError,
    ReaderLostError,
    ReaderNotFoundError,
    ReaderServiceError,
    TransportError,
)
from apdu.inprocess import InProcessReaders
from apdu.readers import ReaderEvent, ReaderMonitor
from apdu.serial import port, readers
from apdu.serial.errors import DeviceSilentError, FrameError
from apdu.serial.mt3 import Form, Slot
from apdu.serial.port import SerialPort
from apdu.serial.readers import Mt3Port, SerialReaders
from simulators import personas
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.psam import SimPsam
from simulators.serial import SimMt3Reader
from tests.apdu.cards import ATR, OTHER_ATR, EchoCard
from tests.simulators.support import vector_roots

READ = bytes.fromhex("00B2010500")
USER, SAM = "MT3 desk 00 00", "MT3 desk 00 01"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "REOPEN_S", 0.02)


@contextmanager
def desk(device: SimMt3Reader, form: Form = Form.SPLIT, *, answer_timeout_s: float = 5.0) -> Iterator[SerialReaders]:
    config = Mt3Port(device.path, form, label="desk", poll_s=0.02, answer_timeout_s=answer_timeout_s)
    with device, SerialReaders([config]) as service:
        yield service


def wait_until(service: SerialReaders, reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    watch = service.watch()
    while not reached():
        assert time.monotonic() < end
        watch.wait(0.05)


def present(service: SerialReaders, name: str = USER) -> bool:
    state = service.watch().wait(0).get(name)
    return state is not None and state.is_present


@pytest.mark.parametrize("form", list(Form))
def test_a_social_security_card_and_a_key_card(form: Form) -> None:
    card = SimCard(build_card(personas.load("adult-2.0"), vector_roots()))
    device = SimMt3Reader({"user": card, "sam1": SimPsam(vector_roots())}, form=form.value)
    with desk(device, form) as service:
        wait_until(service, lambda: present(service) and present(service, SAM))
        assert sorted(service.readers()) == [USER, SAM]
        with service.connect(USER) as user, service.connect(SAM) as sam, user.transaction():
            assert (user.atr, user.protocol) == (card.state.atr, "T=0")
            channel = follow_up(user, user.protocol)
            select = CommandApdu(0, 0xA4, 4, 0, bytes.fromhex("7378312E73682EC9E7BBE1B1A3D5CF"), 256)
            assert transceive(channel, select).is_ok
            assert user.transmit(bytes.fromhex("00B207280B")) == bytes.fromhex("0709413130303030303135") + b"\x90\x00"
            assert sam.transmit(bytes.fromhex("00B0960006"))[-2:] == b"\x90\x00"
            with pytest.raises(EncodingError):
                user.transmit(bytes(5000))
        assert not card.is_powered


def test_insertion_removal_and_exchange_are_events() -> None:
    events: queue.Queue[ReaderEvent] = queue.Queue()
    device = SimMt3Reader()
    with desk(device) as service:
        monitor = ReaderMonitor(service, events.put)
        monitor.start()
        assert {events.get(timeout=20).kind for _ in range(2)} == {"reader_added"}
        for card, kinds in ((EchoCard(), ["card_inserted"]), (EchoCard(OTHER_ATR), ["card_removed", "card_inserted"])):
            device.insert(card)
            got = [events.get(timeout=20) for _ in kinds]
            assert [event.kind for event in got] == kinds
            assert (got[-1].reader, got[-1].atr) == (USER, card.atr)
        device.remove()
        assert events.get(timeout=20).kind == "card_removed"
        with pytest.raises(CardAbsentError):
            service.connect(USER)
        monitor.stop()


def test_a_card_taken_out_during_use() -> None:
    device = SimMt3Reader({"user": EchoCard()})
    with desk(device) as service:
        wait_until(service, lambda: present(service))
        with service.connect(USER) as connection:
            device.remove()
            with pytest.raises(CardRemovedError):
                connection.transmit(READ)
        wait_until(service, lambda: not present(service))
        device.insert(EchoCard())
        wait_until(service, lambda: present(service))
        with service.connect(USER) as connection:
            assert connection.transmit(READ) == READ + b"\x90\x00"


def test_a_mute_card_loses_its_power_and_works_after_connecting_again() -> None:
    answers = iter([TimeoutError()])

    def answer(command: bytes) -> bytes:
        for error in answers:
            raise error
        return command + b"\x90\x00"

    device = SimMt3Reader({"user": EchoCard(answer=answer)})
    with desk(device) as service:
        wait_until(service, lambda: present(service))
        with service.connect(USER) as connection:
            for _ in range(2):
                with pytest.raises(CardMuteError):
                    connection.transmit(READ)
        with service.connect(USER) as connection:
            assert connection.transmit(READ) == READ + b"\x90\x00"


def test_unplugging_is_an_event_and_plugging_in_recovers() -> None:
    events: queue.Queue[ReaderEvent] = queue.Queue()
    device = SimMt3Reader({"user": EchoCard()})
    with desk(device) as service:
        monitor = ReaderMonitor(service, events.put)
        wait_until(service, lambda: present(service))
        monitor.start()
        for _ in range(3):
            while events.get(timeout=20).kind != "card_inserted":
                pass
            connection = service.connect(USER)
            device.unplug()
            with pytest.raises((ReaderLostError, CardRemovedError)):
                connection.transmit(READ)
            seen: list[str] = []
            while seen.count("reader_removed") < 2:
                seen.append(events.get(timeout=20).kind)
            assert seen.count("card_removed") == 1
            with pytest.raises(ReaderNotFoundError):
                service.connect(USER)
            started = time.monotonic()
            device.plug()
            wait_until(service, lambda: present(service))
            assert time.monotonic() - started < 2
            # The old connection belongs to a stay of the card that is over.
            with pytest.raises(CardRemovedError):
                connection.transmit(READ)
            connection.close()
        monitor.stop()


def test_unplugging_during_a_command_is_a_lost_reader() -> None:
    entered = threading.Event()

    def answer(command: bytes) -> bytes:
        entered.set()
        time.sleep(0.3)
        return command + b"\x90\x00"

    device = SimMt3Reader({"user": EchoCard(answer=answer)})
    with desk(device) as service:
        wait_until(service, lambda: present(service))
        with service.connect(USER) as connection:
            puller = threading.Thread(target=lambda: entered.wait(5) and device.unplug())
            puller.start()
            with pytest.raises(ReaderLostError):
                connection.transmit(READ)
            puller.join()
        wait_until(service, lambda: not service.readers())


def test_nothing_is_leaked_by_unplugging_in_mid_command() -> None:
    device = SimMt3Reader({"user": EchoCard()})
    with desk(device) as service:
        wait_until(service, lambda: present(service))
        descriptors, threads = open_descriptors(), threading.active_count()
        for _ in range(20):
            connection = service.connect(USER)
            puller = threading.Thread(target=device.unplug)
            puller.start()
            with suppress(ReaderLostError, CardRemovedError):
                while True:
                    connection.transmit(READ)
            puller.join()
            connection.close()
            device.plug()
            wait_until(service, lambda: present(service))
        assert (open_descriptors(), threading.active_count()) == (descriptors, threads)


@pytest.mark.parametrize(
    ("mangle", "kind"),
    [
        (lambda frame: frame[:-1] + b"\x07", FrameError),
        (lambda frame: frame[:1] + b"\xff" + frame[2:], FrameError),
        (lambda frame: frame[:-3] + b"\x30\x30\x03", FrameError),
        (lambda frame: b"\x00" * 300, FrameError),
        (lambda frame: frame[:-4], DeviceSilentError),
        (lambda frame: b"", DeviceSilentError),
    ],
)
def test_a_disturbed_line(mangle: Callable[[bytes], bytes], kind: type[Exception]) -> None:
    """The command is not repeated, the line is opened anew, and a late answer is taken for no other."""
    card = EchoCard()
    device = SimMt3Reader({"user": card})
    with desk(device, answer_timeout_s=0.1) as service:
        wait_until(service, lambda: present(service))
        with service.connect(USER) as connection:
            device.mangle = mangle
            with pytest.raises(kind) as raised:
                connection.transmit(READ)
            assert getattr(raised.value, "failure", "") == "READER_LOST"
            device.mangle = None
        assert card.commands == [READ]
        wait_until(service, lambda: present(service))
        with service.connect(USER) as connection:
            assert connection.transmit(READ) == READ + b"\x90\x00"


def test_a_late_answer_is_taken_for_no_other() -> None:
    delays = iter([0.3])

    def answer(command: bytes) -> bytes:
        time.sleep(next(delays, 0))
        return command + b"\x90\x00"

    device = SimMt3Reader({"user": EchoCard(answer=answer)})
    with desk(device, answer_timeout_s=0.1) as service:
        wait_until(service, lambda: present(service))
        with service.connect(USER) as connection, pytest.raises(DeviceSilentError):
            connection.transmit(READ)
        wait_until(service, lambda: present(service))
        with service.connect(USER) as connection:
            assert connection.atr == ATR
            assert connection.transmit(READ[:4]) == READ[:4] + b"\x90\x00"


def test_ports_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimMt3Reader() as device:
        with SerialPort(device.path), pytest.raises(CardBusyError):
            SerialPort(device.path)
        with pytest.raises(ReaderNotFoundError):
            SerialPort(device.path, baud=-5)
        with pytest.raises(EncodingError):
            SerialReaders([Mt3Port(device.path, slots=(Slot.SAM2,))])
    with pytest.raises(ReaderNotFoundError):
        SerialPort(device.path)

    monkeypatch.setitem(sys.modules, "serial", None)
    assert port.is_available() == (False, "pyserial is not installed")
    with pytest.raises(ReaderServiceError):
        SerialReaders([])


def test_close_ends_a_running_command_and_all_threads() -> None:
    device = SimMt3Reader({"user": EchoCard()})
    before = threading.active_count()
    with desk(device, answer_timeout_s=60) as service:
        wait_until(service, lambda: present(service))
        connection = service.connect(USER)
        device.is_frozen = True
        failures: queue.Queue[BaseException] = queue.Queue()

        def exchange() -> None:
            try:
                connection.transmit(READ)
            except TransportError as error:
                failures.put(error)

        worker = threading.Thread(target=exchange)
        worker.start()
        time.sleep(0.1)
        started = time.monotonic()
        service.close()
        worker.join(30)
        assert time.monotonic() - started < 20
        assert isinstance(failures.get(timeout=1), ReaderLostError)
    assert threading.active_count() < before


def test_a_frozen_reader_delays_no_other() -> None:
    """8 serial readers and 64 in this process; the figures for 64 serial ones are in `bench/readers.py`."""
    release = threading.Event()

    def frozen(command: bytes) -> bytes:
        release.wait(30)
        return b"\x90\x00"

    with ExitStack() as stack:
        devices = [stack.enter_context(SimMt3Reader({"user": EchoCard()}, label=str(n))) for n in range(8)]
        ports = [Mt3Port(device.path, label=str(n), poll_s=0.2) for n, device in enumerate(devices)]
        serial = stack.enter_context(SerialReaders(ports))
        names = [config.reader_name(Slot.USER) for config in ports]
        wait_until(serial, lambda: all(present(serial, name) for name in names))
        inside = InProcessReaders([str(n) for n in range(64)])
        for name in inside.readers():
            inside.insert(name, EchoCard(ATR, frozen if name == "0" else None))
        connections = [stack.enter_context(serial.connect(name)) for name in names]
        near = [stack.enter_context(inside.connect(name)) for name in inside.readers()]
        devices[0].is_frozen = True
        stuck = [threading.Thread(target=lambda c=c: _ignore(c.transmit)) for c in (connections[0], near[0])]
        for thread in stuck:
            thread.start()
        delays: list[float] = []
        for _ in range(5):
            for connection in (*connections[1:], *near[1:]):
                started = time.monotonic()
                assert connection.transmit(READ)[-2:] == b"\x90\x00"
                delays.append(time.monotonic() - started)
        assert all(thread.is_alive() for thread in stuck), "they were frozen all the time"
        assert statistics.quantiles(delays, n=20)[-1] < 0.05
        release.set()
        serial.close()
        for thread in stuck:
            thread.join(5)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _ignore(transmit: Callable[[bytes], bytes]) -> None:
    with suppress(TransportError):
        transmit(READ)
