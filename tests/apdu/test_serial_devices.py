"""ID-card module, QR scanner and PIN pad on pseudo-terminals."""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
import time
from collections.abc import Callable

import pytest

from apdu.channel import TRAFFIC
from apdu.errors import EncodingError, ReaderLostError, ReaderNotFoundError
from apdu.serial import idcard_reader, pinpad, scanner
from apdu.serial.errors import (
    DeviceRefusedError,
    DeviceSilentError,
    FrameError,
    IdCardError,
    PinEntriesDifferError,
    PinEntryCancelledError,
    PinEntryTimeoutError,
    PinLengthError,
)
from apdu.serial.idcard_reader import IdCardReader
from apdu.serial.pinpad import Pin, PinPad, Purpose
from apdu.serial.scanner import Framing, QrScanner, ScanEvent
from cardlib.failures import failure_of, from_driver_code
from simulators.serial import Person, SimIdCardModule, SimPinPad, SimScanner

PATIENCE_S = 30  # for what is there at once on a machine that is not busy


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where silence is not the point, a late answer is no silence."""
    monkeypatch.setattr(idcard_reader, "ANSWER_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(idcard_reader, "READ_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(pinpad, "CANCEL_TIMEOUT_S", PATIENCE_S)


def wait_until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_an_id_card_is_found_and_read() -> None:
    with SimIdCardModule() as module, IdCardReader(module.path) as reader:
        reader.check()
        assert len(reader.module_number()) == 16
        assert not reader.wait(0.01)
        with pytest.raises(IdCardError) as absent:
            reader.read()
        assert (absent.value.failure, absent.value.status) == ("CARD_ABSENT", 0x80)
        module.place(Person(name="测试乙"))
        assert reader.wait(PATIENCE_S)
        card = reader.read()
        assert (card.text.name, card.photo_wlt) == ("测试乙", module.photo)
        assert not reader.find(), "it was read and not lifted"
        module.lift()
        module.place(Person())
        assert reader.read().text.name == "测试甲"


@pytest.mark.parametrize(
    ("command", "status", "failure"),
    [
        (0x2002, 0x81, "CARD_REMOVED"),
        (0x3001, 0x41, "CARD_REMOVED"),
        (0x2001, 0x33, "CARD_NOT_GENUINE"),
        (0x2002, 0x40, "CARD_UNSUPPORTED"),
        (0x11FF, 0x66, "READER_LOST"),
        (0x11FF, 0x77, "COMMAND_REJECTED"),
    ],
)
def test_what_the_module_may_say(command: int, status: int, failure: str) -> None:
    with SimIdCardModule(Person()) as module, IdCardReader(module.path) as reader:
        module.override[command] = status
        with pytest.raises(IdCardError) as raised:  # noqa: PT012 (either may)
            reader.check()
            reader.read()
        assert (raised.value.status, raised.value.failure) == (status, failure)
        module.override.clear()
        module.place(Person())
        assert reader.read().text.sex == "1"


def test_the_module_is_unplugged_disturbed_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimIdCardModule(Person()) as module, IdCardReader(module.path) as reader:
        reader.check()
        module.unplug()
        with pytest.raises(ReaderLostError):
            reader.check()
        with pytest.raises(ReaderNotFoundError):
            reader.check()
        module.plug()
        disturbances: list[tuple[Callable[[bytes], bytes], type[Exception]]] = [
            (lambda frame: frame[:-1] + bytes((frame[-1] ^ 1,)), FrameError),
            (lambda frame: bytes(300), FrameError),
            (lambda frame: frame[:10], DeviceSilentError),
        ]
        for mangle, kind in disturbances:
            module.mangle = mangle
            with monkeypatch.context() as hasty:
                if kind is DeviceSilentError:
                    hasty.setattr(idcard_reader, "ANSWER_TIMEOUT_S", 0.1)
                with pytest.raises(kind):
                    reader.find()
            module.mangle = None
            assert reader.find()


class Scans:
    def __init__(self, device: SimScanner, **options: object) -> None:
        self.events: queue.Queue[ScanEvent] = queue.Queue()
        self.scanner = QrScanner(device.path, self._on_event, **options)  # type: ignore[arg-type]

    def _on_event(self, event: ScanEvent) -> None:
        self.events.put(event)
        raise ValueError("a listener's bug")

    def next(self) -> tuple[str, str, str]:
        event = self.events.get(timeout=PATIENCE_S)
        return event.kind, event.text, event.failure or ""

    def begin(self) -> None:
        """What a scanner types before its line is open is lost."""
        assert self.next() == ("scanner_ready", "", "")


def test_scans_are_events(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(TRAFFIC)
    monkeypatch.setattr(scanner, "REOPEN_S", 0.02)
    with SimScanner() as device:
        scans = Scans(device, max_length=40, repeat_s=PATIENCE_S)
        scans.begin()
        for text, encoding in (("ONECARD:测试", "utf-8"), ("ONECARD:测试", "utf-8"), ("次码", "gb18030")):
            device.scan(text, encoding)
        assert scans.next() == ("scanned", "ONECARD:测试", "")
        assert scans.next() == ("scanned", "次码", ""), "the repeated one is one scan"
        device.scan("x" * 41)
        device.scan("\x1b[2J")
        assert [scans.next() for _ in range(2)] == [("refused", "", "INPUT_INVALID")] * 2
        device.unplug()
        assert scans.next() == ("scanner_lost", "", "READER_LOST")
        device.plug()
        assert scans.next() == ("scanner_restored", "", "")
        device.scan("后来")
        assert scans.next() == ("scanned", "后来", "")
        scans.scanner.close()
        scans.scanner.close()
    assert "ONECARD" not in caplog.text


def test_a_scan_that_stops_in_the_middle_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "STALE_S", 0.1)
    with SimScanner(prefix=b"\x02", suffix=b"\x03") as device:
        scans = Scans(device, framing=Framing.STX_ETX)
        scans.begin()
        device.send(b"\x02cut off")
        assert scans.next() == ("refused", "", "INPUT_INVALID")
        device.scan("whole")
        assert scans.next() == ("scanned", "whole", "")
        scans.scanner.close()


def keystream(nonce: bytes, block: bytes) -> bytes:
    mask = hashlib.sha256(b"the pad's key" + nonce).digest()
    return bytes(a ^ b for a, b in zip(block, mask, strict=False))


def entered(device: SimPinPad, act: Callable[[], object], enter: Callable[[], Pin]) -> Pin:
    def holder() -> None:
        assert device.asked.wait(PATIENCE_S)
        act()

    thread = threading.Thread(target=holder)
    thread.start()
    try:
        return enter()
    finally:
        thread.join(PATIENCE_S)


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_pin_is_entered_and_shows_nowhere(is_sealed: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(TRAFFIC)
    key = keystream if is_sealed else None
    with SimPinPad(seal=key) as device:
        pad = PinPad(device.path, open_block=key)
        with entered(device, lambda: device.type("280491"), pad.enter) as pin:
            assert pin.digits == "280491"
            assert "280491" not in repr(pin)
        twice = entered(device, lambda: device.type("190382", "190382"), lambda: pad.enter(Purpose.NEW_PIN))
        assert twice.digits == "190382"
        device.mangle = lambda frame: frame[:-3] + b"\x30\x30\x03"
        with pytest.raises(FrameError) as raised:
            entered(device, lambda: device.type("280491"), pad.enter)
    logging.getLogger().warning("%r", raised.getrepr(showlocals=False, style="value"))
    assert "280491" not in caplog.text
    assert "190382" not in caplog.text


def test_what_the_holder_may_do() -> None:
    cases: list[tuple[Callable[[SimPinPad], object], type[Exception], int]] = [
        (lambda device: device.press_cancel(), PinEntryCancelledError, -31),
        (lambda device: device.let_time_pass(), PinEntryTimeoutError, -32),
        (lambda device: device.type("123"), PinLengthError, -33),
        (lambda device: device.type("1234", "1243"), PinEntriesDifferError, -34),
    ]
    with SimPinPad() as device:
        pad = PinPad(device.path)
        for act, kind, code in cases:
            with pytest.raises(kind) as raised:
                entered(device, lambda act=act: act(device), lambda: pad.enter(Purpose.NEW_PIN))
            assert failure_of(raised.value) == from_driver_code(code)
        with pytest.raises(DeviceRefusedError) as refused:
            entered(device, lambda: device.refuse(0x1007), pad.enter)
        assert refused.value.status == 0x1007
        for limits in ({"min_digits": 3}, {"max_digits": 13}, {"total_s": 0}, {"between_digits_s": 256}):
            with pytest.raises(EncodingError):
                pad.enter(**limits)


def test_the_program_cancels_and_a_dead_pad_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimPinPad() as device:
        pad = PinPad(device.path)
        with pytest.raises(PinEntryCancelledError):
            entered(device, pad.cancel, pad.enter)
        assert device.cancels == 1
        assert not device.asked.is_set()
        device.is_frozen = True
        with monkeypatch.context() as hasty:
            hasty.setattr(pinpad, "MARGIN_S", -0.8)
            hasty.setattr(pinpad, "CANCEL_TIMEOUT_S", 0.1)
            with pytest.raises(PinEntryTimeoutError):
                pad.enter(total_s=1)
        wait_until(lambda: device.cancels == 2)
        device.is_frozen = False
        with entered(device, lambda: device.type("1234"), pad.enter) as pin:
            assert len(pin) == 4


def test_answers_a_pad_must_not_give() -> None:
    with SimPinPad() as device:
        pad, sealed = PinPad(device.path), PinPad(device.path, open_block=keystream)
        with pytest.raises(FrameError, match="not the one agreed"):
            entered(device, lambda: device.type("1234"), sealed.enter)
        block = bytes.fromhex("241234FFFFFFFFFF")
        for answer in (bytes(2), bytes(2) + bytes(8) + b"\x00" + block, bytes(2) + bytes(100)):
            with pytest.raises(FrameError):
                entered(device, lambda answer=answer: device._finish(answer), pad.enter)
        too_long = bytes.fromhex("2612345 6FFFFFFFF".replace(" ", ""))

        def overfull() -> None:
            device._finish(bytes(2) + device._request[5:13] + b"\x00" + too_long)

        with pytest.raises(PinLengthError):
            entered(device, overfull, lambda: pad.enter(max_digits=4))
        with pytest.raises(ReaderLostError):
            entered(device, device.unplug, pad.enter)
        with pytest.raises(ReaderNotFoundError):
            pad.enter()
        device.plug()
        with entered(device, lambda: device.type("1234"), pad.enter) as pin:
            assert pin.digits == "1234"
