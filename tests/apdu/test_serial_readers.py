"""MT3 readers on pseudo-terminals: cards, events, loss and recovery, many at once."""

from __future__ import annotations

import queue
import select
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
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
PATIENCE_S = 30  # for what is there at once on a machine that is not busy


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "REOPEN_S", 0.02)
    for limit in ("POWER_TIMEOUT_S", "PROBE_TIMEOUT_S"):
        monkeypatch.setattr(readers, limit, PATIENCE_S)


@contextmanager
def desk(
    device: SimMt3Reader, form: Form = Form.SPLIT, *, answer_timeout_s: float = PATIENCE_S
) -> Iterator[SerialReaders]:
    config = Mt3Port(device.path, form, label="desk", poll_s=0.02, answer_timeout_s=answer_timeout_s)
    with device, SerialReaders([config]) as service:
        yield service


def wait_until(service: SerialReaders, reached: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    watch = service.watch()
    while not reached():
        assert time.monotonic() < end
        watch.wait(0.05)


def wait_longer(service: SerialReaders) -> None:
    """For commands whose answer is wanted, after one whose answer was not."""
    (device,) = service._devices
    device.config = replace(device.config, answer_timeout_s=PATIENCE_S)


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
        wait_until(service, lambda: not card.is_powered)  # a look at who is there powers it for a moment


def test_insertion_removal_and_exchange_are_events() -> None:
    events: queue.Queue[ReaderEvent] = queue.Queue()
    device = SimMt3Reader()
    with desk(device) as service:
        monitor = ReaderMonitor(service, events.put)
        monitor.start()
        assert {events.get(timeout=PATIENCE_S).kind for _ in range(2)} == {"reader_added"}
        for card, kinds in ((EchoCard(), ["card_inserted"]), (EchoCard(OTHER_ATR), ["card_removed", "card_inserted"])):
            device.insert(card)
            got = [events.get(timeout=PATIENCE_S) for _ in kinds]
            assert [event.kind for event in got] == kinds
            assert (got[-1].reader, got[-1].atr) == (USER, card.atr)
        device.remove()
        assert events.get(timeout=PATIENCE_S).kind == "card_removed"
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
            while events.get(timeout=PATIENCE_S).kind != "card_inserted":
                pass
            connection = service.connect(USER)
            device.unplug()
            with pytest.raises((ReaderLostError, CardRemovedError)):
                connection.transmit(READ)
            seen: list[str] = []
            while seen.count("reader_removed") < 2:
                seen.append(events.get(timeout=PATIENCE_S).kind)
            assert seen.count("card_removed") == 1
            with pytest.raises(ReaderNotFoundError):
                service.connect(USER)
            device.plug()
            wait_until(service, lambda: present(service))
            # The old connection belongs to a stay of the card that is over.
            with pytest.raises(CardRemovedError):
                connection.transmit(READ)
            connection.close()
        monitor.stop()


def test_unplugging_during_a_command_is_a_lost_reader() -> None:
    entered = threading.Event()

    def answer(command: bytes) -> bytes:
        entered.set()
        wait_until(service, lambda: not Path(device.path).is_symlink())
        return command + b"\x90\x00"

    device = SimMt3Reader({"user": EchoCard(answer=answer)})
    with desk(device) as service:
        wait_until(service, lambda: present(service))
        with service.connect(USER) as connection:
            puller = threading.Thread(target=lambda: entered.wait(PATIENCE_S) and device.unplug())
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
        # Fewer, when what another test left has gone meanwhile.
        wait_until(service, lambda: open_descriptors() <= descriptors and threading.active_count() <= threads)


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

    def disturb(frame: bytes) -> bytes:
        device.mangle = None
        return mangle(frame)

    def answer(command: bytes) -> bytes:
        # From here: set earlier, it would meet the look at who is there, which goes on beside the command.
        device.mangle = next(disturbances, None)
        return command + b"\x90\x00"

    disturbances = iter([disturb])
    card = EchoCard(answer=answer)
    device = SimMt3Reader({"user": card})
    with desk(device, answer_timeout_s=0.1 if kind is DeviceSilentError else PATIENCE_S) as service:
        wait_until(service, lambda: present(service))
        with service.connect(USER) as connection:
            with pytest.raises(kind) as raised:
                connection.transmit(READ)
            assert getattr(raised.value, "failure", "") == "READER_LOST"
        wait_longer(service)
        wait_until(service, lambda: bool(card.commands) and present(service))
        with service.connect(USER) as connection:
            assert connection.transmit(READ) == READ + b"\x90\x00"
        assert card.commands == [READ, READ]


class SlowReader(SimMt3Reader):
    """Needs its time for every request, longer than a line is silent that has nothing left to say."""

    delay_s = 0.0

    def receive(self, data: bytes) -> bytes:
        time.sleep(self.delay_s)
        return super().receive(data)


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("delay_s", [0.0, 3 * port.SLICE_S])
def test_a_late_answer_is_taken_for_no_other(form: Form, delay_s: float) -> None:
    is_given_up = threading.Event()

    def answer(command: bytes) -> bytes:
        is_given_up.wait(PATIENCE_S)
        if command == READ:
            select.select([device._ends[0]], [], [], PATIENCE_S)  # the line is open again, and the next request there
            device.delay_s = delay_s
        return command + b"\x90\x00"

    device = SlowReader({"user": EchoCard(answer=answer)}, form=form.value)
    with desk(device, form, answer_timeout_s=0.1) as service:
        wait_until(service, lambda: present(service))
        with service.connect(USER) as connection, pytest.raises(DeviceSilentError):
            connection.transmit(READ)
        wait_longer(service)
        is_given_up.set()
        wait_until(service, lambda: present(service))
        with service.connect(USER) as connection:
            assert connection.atr == ATR
            assert connection.transmit(READ[:4]) == READ[:4] + b"\x90\x00"


def test_a_reader_without_a_version_is_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.serial.mt3.VERSION", b"")
    monkeypatch.setattr(readers, "POWER_TIMEOUT_S", 0.2)
    with desk(SimMt3Reader({"user": EchoCard()})) as service:
        wait_until(service, lambda: present(service))


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
    entered = threading.Event()

    def freeze(command: bytes) -> bytes:
        device.is_frozen = True
        entered.set()
        return command + b"\x90\x00"

    device = SimMt3Reader({"user": EchoCard(answer=freeze)})
    before = threading.active_count()
    with desk(device, answer_timeout_s=2 * PATIENCE_S) as service:
        wait_until(service, lambda: present(service))
        connection = service.connect(USER)
        failures: queue.Queue[BaseException] = queue.Queue()

        def exchange() -> None:
            try:
                connection.transmit(READ)
            except TransportError as error:
                failures.put(error)

        worker = threading.Thread(target=exchange)
        worker.start()
        assert entered.wait(PATIENCE_S)
        service.close()
        worker.join(PATIENCE_S)
        assert isinstance(failures.get_nowait(), ReaderLostError)
    wait_until(service, lambda: threading.active_count() < before)


def test_a_frozen_reader_delays_no_other() -> None:
    """8 serial readers and 64 in this process; the figures for 64 serial ones are in `bench/readers.py`."""
    entered, release, frozen_s = threading.Semaphore(0), threading.Event(), 3 * PATIENCE_S

    def freeze(command: bytes) -> bytes:
        devices[0].is_frozen = True
        entered.release()
        return b"\x90\x00"

    def hang(command: bytes) -> bytes:
        entered.release()
        release.wait(frozen_s)
        return b"\x90\x00"

    with ExitStack() as stack:
        cards = [EchoCard(answer=freeze), *(EchoCard() for _ in range(7))]
        devices = [stack.enter_context(SimMt3Reader({"user": card}, label=str(n))) for n, card in enumerate(cards)]
        ports = [
            Mt3Port(device.path, label=str(n), poll_s=0.2, answer_timeout_s=frozen_s)
            for n, device in enumerate(devices)
        ]
        serial = stack.enter_context(SerialReaders(ports))
        names = [config.reader_name(Slot.USER) for config in ports]
        wait_until(serial, lambda: all(present(serial, name) for name in names))
        inside = InProcessReaders([str(n) for n in range(64)])
        for name in inside.readers():
            inside.insert(name, EchoCard(ATR, hang if name == "0" else None))
        far = [stack.enter_context(serial.connect(name)) for name in names]
        near = [stack.enter_context(inside.connect(name)) for name in inside.readers()]
        stuck = [threading.Thread(target=lambda c=c: _ignore(c.transmit)) for c in (far[0], near[0])]
        for thread in stuck:
            thread.start()
            assert entered.acquire(timeout=PATIENCE_S)
        for connections in (far[1:], near[1:]):
            delays: list[float] = []
            for connection in connections * 5:
                started = time.monotonic()
                assert connection.transmit(READ)[-2:] == b"\x90\x00"
                delays.append(time.monotonic() - started)
            # A busy machine is late now and then. What waits for a frozen reader waits until the end of the test.
            assert statistics.median(delays) < 0.5
        assert all(thread.is_alive() for thread in stuck), "they were frozen all the time"
        release.set()
        serial.close()
        for thread in stuck:
            thread.join(PATIENCE_S)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _ignore(transmit: Callable[[bytes], bytes]) -> None:
    with suppress(TransportError):
        transmit(READ)
