"""PC/SC: real scenarios in processes of their own, and what no real service does on demand, on a fake one."""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apdu import errors, pcsc
from apdu.errors import ReaderServiceError, TransportError
from apdu.pcsc import PcscReaders, is_available
from tests.apdu.cards import ATR
from tests.apdu.pcsc_scenarios import SCENARIOS
from tests.apdu.pcscd import missing

ROOT = Path(__file__).parents[2]
READ = bytes.fromhex("00B2010500")


@pytest.mark.pcsc
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    reason = missing() or is_available(needs_service=False)[1]
    if reason:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    run = subprocess.run(
        [sys.executable, "-m", "tests.apdu.pcsc_scenarios", name], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert run.returncode == 0, run.stderr
    assert not run.stdout


def test_the_module_alone_imports_no_pyscard() -> None:
    code = "import sys, apdu.pcsc; sys.exit('smartcard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


def test_a_missing_library_is_found_before_pyscard_can_print(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def no_library(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(pcsc, "_module", None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", no_library)
    available, reason = is_available()
    assert not available
    assert "libpcsclite" in reason
    with pytest.raises(ReaderServiceError):
        PcscReaders().readers()
    assert capfd.readouterr().out == ""


def test_missing_pyscard_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_module(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(pcsc, "_module", None)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: None)
    monkeypatch.setattr(importlib, "import_module", no_module)
    available, reason = is_available(needs_service=False)
    assert not available
    assert "pyscard" in reason


class FakeScard:
    """Answers per function: a value, an exception, or a list of them used up from the front, the last one staying."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {
            "SCardEstablishContext": (0, 7),
            "SCardReleaseContext": 0,
            "SCardListReaders": (0, ["R"]),
            "SCardConnect": (0, 9, 1),
            "SCardStatus": (0, "R", 0, 1, list(ATR)),
            "SCardDisconnect": 0,
            "SCardBeginTransaction": 0,
            "SCardEndTransaction": 0,
            "SCardTransmit": (0, [0x90, 0]),
            "SCardReconnect": (0, 2),
            **answers,
        }
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls.append((name, *arguments))
            answer = self.answers[name]
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def called(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]


Install = Callable[..., FakeScard]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    def put(**answers: Any) -> FakeScard:
        fake = FakeScard(**answers)
        monkeypatch.setattr(pcsc, "_module", fake)
        return fake

    return put


CODES = [
    (0x80100009, errors.ReaderNotFoundError),
    (0x8010000B, errors.CardBusyError),
    (0x8010000C, errors.CardAbsentError),
    (0x8010000F, errors.CardUnsupportedError),
    (0x80100017, errors.ReaderLostError),
    (0x8010001D, errors.ReaderServiceError),
    (0x8010001F, errors.ReaderLostError),
    (0x8010002E, errors.ReaderNotFoundError),
    (0x80100066, errors.CardMuteError),
    (0x80100067, errors.CardMuteError),
    (0x80100069, errors.CardRemovedError),
    (0x8010006A, errors.ReaderServiceError),
    (0x80100016 - (1 << 32), errors.CardMuteError),
]


@pytest.mark.parametrize(("code", "kind"), CODES)
def test_every_result_code_has_an_error(install: Install, code: int, kind: type[TransportError]) -> None:
    fake = install(SCardConnect=(code, 0, 0))
    with pytest.raises(TransportError) as caught:
        PcscReaders().connect("R")
    assert type(caught.value) is kind
    assert f"{code & 0xFFFFFFFF:08X}" in str(caught.value)
    assert fake.called("SCardReleaseContext") == [(7,)]


@pytest.mark.parametrize("crash", [SystemError("returned NULL"), OverflowError()])
def test_pyscards_crashes_on_dead_handles_are_a_lost_service(install: Install, crash: Exception) -> None:
    for name in ("SCardEstablishContext", "SCardListReaders"):
        install(**{name: crash})
        with pytest.raises(ReaderServiceError):
            PcscReaders().readers()
    install(SCardTransmit=crash, SCardDisconnect=crash, SCardReleaseContext=crash, SCardEndTransaction=crash)
    with pytest.raises(ReaderServiceError), PcscReaders().connect("R") as connection, connection.transaction():
        connection.transmit(READ)


def test_no_readers_is_an_empty_list(install: Install) -> None:
    install(SCardListReaders=(0x8010002E, []))
    assert PcscReaders().readers() == []


def test_foreign_memory_of_a_failed_transmit_is_never_a_response(install: Install) -> None:
    install(SCardTransmit=(0x80100069, [0x90, 0x00]))
    with PcscReaders().connect("R") as connection, pytest.raises(errors.CardRemovedError):
        connection.transmit(READ)


def test_half_a_status_word_is_no_response(install: Install) -> None:
    install(SCardTransmit=(0, [0x90]))
    with PcscReaders().connect("R") as connection, pytest.raises(errors.CardMuteError):
        connection.transmit(READ)


PRESENT, EMPTY = 0x10020, 0x20010


@pytest.mark.parametrize(
    ("looks", "kind"),
    [
        ([(0, [("R", PRESENT | 2, [])]), (0x8010000A, [])], errors.CardMuteError),
        ([(0, [("R", PRESENT | 2, [])]), (0, [("R", EMPTY | 2, [])])], errors.CardRemovedError),
        ([(0, [("R", PRESENT | 2, [])]), (0, [("R", PRESENT + 0x20002, [])])], errors.CardRemovedError),
        ([(0, [("R", PRESENT | 2, [])]), (0, [("R", PRESENT | 0x102, [])])], errors.CardMuteError),
        ([(0, [("R", EMPTY | 2, [])])], errors.CardRemovedError),
        ([(0x80100009, [])], errors.ReaderLostError),
        ([(0x8010001D, [])], errors.ReaderServiceError),
        ([SystemError()], errors.ReaderServiceError),
    ],
)
def test_a_silent_card_is_told_from_one_pulled_out(install: Install, looks: list[Any], kind: type[Exception]) -> None:
    install(SCardTransmit=(0x80100016, []), SCardGetStatusChange=looks)
    with PcscReaders().connect("R") as connection, pytest.raises(TransportError) as caught:
        connection.transmit(READ)
    assert type(caught.value) is kind


def test_resets_without_end_are_not_chased(install: Install) -> None:
    fake = install(SCardTransmit=(pcsc.W_RESET_CARD, []))
    with PcscReaders().connect("R") as connection:
        with pytest.raises(errors.CardResetError):
            connection.transmit(READ)
        assert connection.protocol == "T=1"
    assert len(fake.called("SCardTransmit")) == pcsc.MAX_RECONNECTS


def test_close_leaves_a_card_others_hold(install: Install) -> None:
    fake = install(SCardDisconnect=[pcsc.E_SHARING_VIOLATION, 0])
    connection = PcscReaders().connect("R")
    connection.close()
    connection.close()
    assert fake.called("SCardDisconnect") == [(9, pcsc.RESET_CARD), (9, pcsc.LEAVE_CARD)]
    assert fake.called("SCardReleaseContext") == [(7,)]


def test_a_card_that_left_is_not_reset(install: Install) -> None:
    fake = install(SCardTransmit=(0, []))
    with PcscReaders().connect("R") as connection, pytest.raises(errors.CardRemovedError):
        connection.transmit(READ)
    assert fake.called("SCardDisconnect") == [(9, pcsc.LEAVE_CARD)]


def test_a_watch_survives_readers_that_vanish_between_list_and_look(install: Install) -> None:
    pnp = (pcsc.PNP_NOTIFICATION, 0, [])
    install(
        SCardListReaders=[(0, ["R", "S"]), (0, ["R", "S"]), (0, ["S"]), (0x8010002E, [])],
        SCardGetStatusChange=[
            (0, [pnp, ("R", 0x12, []), ("S", PRESENT | 2, list(ATR))]),
            (0x80100009, []),
            (0, [pnp, ("S", PRESENT | 2, list(ATR))]),
            (0x8010000A, []),
        ],
    )
    watch = PcscReaders().watch()
    first = watch.wait(1)
    assert [first["R"].is_present, first["S"].is_present, first["S"].atr] == [False, True, ATR]
    assert list(watch.wait(1)) == ["S"]
    assert watch.wait(0.2) == {}
    assert watch.wait(0.01) == {}
    watch.wake()
    watch.close()


def test_a_watch_whose_service_died_says_so(install: Install) -> None:
    install(SCardGetStatusChange=[(0x80100013, [])])
    watch = PcscReaders().watch()
    with pytest.raises(ReaderServiceError):
        watch.wait(0)
