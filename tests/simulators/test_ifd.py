"""Our own reader driver in a real pcscd. Clients run in processes of their own: libpcsclite finds its service once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from simulators import personas
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.ifd import IfdLink, is_available
from simulators.pcscd import PcscdError, PrivatePcscd
from tests.apdu.cards import ATR, EchoCard
from tests.simulators.support import vector_roots

pytestmark = [
    pytest.mark.pcsc,
    pytest.mark.skipif(not is_available()[0], reason=is_available()[1] or "available"),
]

ROOT = Path(__file__).parents[2]
CARD_TIMEOUT_S = 1.0

CLIENT = """
import json, sys, time
from apdu.errors import TransportError
from apdu.pcsc import PcscReaders
from apdu.readers import ReaderMonitor
service = PcscReaders()
def present(count):
    watch, end = service.watch(), time.monotonic() + 60
    while time.monotonic() < end:
        names = [name for name, slot in watch.wait(0.2).items() if slot.is_present]
        if len(names) >= count:
            return sorted(names)
    raise SystemExit("no card")
def send(name, *commands):
    try:
        with service.connect(name) as card:
            return [card.atr.hex()] + [card.transmit(bytes.fromhex(command)).hex() for command in commands]
    except TransportError as error:
        return type(error).__name__
def say(value):
    print(json.dumps(value), flush=True)
"""


@pytest.fixture(scope="module")
def service() -> Iterator[PrivatePcscd]:
    with PrivatePcscd(vpcds=8, driver="onecard", card_timeout_s=30) as running:
        yield running


class Client:
    """A process that prints one JSON value after the other."""

    def __init__(self, service: PrivatePcscd, script: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT + script],
            cwd=ROOT,
            env={**os.environ, **service.env},
            stdout=subprocess.PIPE,
            text=True,
        )

    def next(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_sixteen_readers_from_one_library(service: PrivatePcscd) -> None:
    atrs = [ATR[:-1] + bytes((number,)) for number in range(16)]
    with ExitStack() as stack:
        for path, atr in zip(service.sockets, atrs, strict=True):
            stack.enter_context(IfdLink(EchoCard(atr), path))
        script = "say([send(name, '00B2010500') for name in present(16)])"
        answers = stack.enter_context(Client(service, script)).next()
        assert answers == [[atr.hex(), "00b20105009000"] for atr in atrs]


def test_insertion_and_removal_are_noticed_within_milliseconds(service: PrivatePcscd) -> None:
    script = """
ReaderMonitor(service, lambda event: say([event.kind, event.reader, time.monotonic()])).start()
time.sleep(60)
"""
    link = IfdLink(EchoCard(), service.sockets[3])
    with Client(service, script) as client:
        assert {client.next()[0] for _ in range(16)} == {"reader_added"}
        delays = []
        for _ in range(10):
            for act, kind in ((link.insert, "card_inserted"), (link.remove, "card_removed")):
                started = time.monotonic()
                act()
                event, reader, at = client.next()
                assert (event, reader[:17]) == (kind, "OneCard Reader 03")
                delays.append(at - started)
        # vpcd: 200 ms in the middle. A busy machine is late now and then, and not always.
        assert sorted(delays)[len(delays) // 4] < 0.05


def test_a_card_that_hangs_is_out_after_the_timeout_and_delays_no_other() -> None:
    release = threading.Event()

    def hang(command: bytes) -> bytes:
        release.wait(60)
        return b"\x90\x00"

    script = """
import threading
names = present(2)
found = []
stuck = threading.Thread(target=lambda: found.append(send(names[0], '00B2010500')))
started = time.monotonic()
stuck.start()
others = []
while stuck.is_alive():
    others.append(send(names[1], '00B2010500'))
say([others, found[0], time.monotonic() - started, len(present(1))])
"""
    with (
        PrivatePcscd(driver="onecard", card_timeout_s=CARD_TIMEOUT_S) as service,
        IfdLink(EchoCard(answer=hang), service.sockets[0]),
        IfdLink(EchoCard(), service.sockets[1]),
    ):
        with Client(service, script) as client:
            others, found, slow, left = client.next()
        release.set()
    assert others == [[ATR.hex(), "00b20105009000"]] * len(others)
    assert len(others) >= 5, "the first one would have waited for the end"
    assert CARD_TIMEOUT_S <= slow < 20
    assert (found, left) == ("CardRemovedError", 1)


def test_a_social_security_card_is_read(service: PrivatePcscd) -> None:
    card = SimCard(build_card(personas.load("adult-2.0"), vector_roots()))
    script = "say(send(present(1)[0], '00A404000F7378312E73682EC9E7BBE1B1A3D5CF', '00B207280B'))"
    with IfdLink(card, service.sockets[15]), Client(service, script) as client:
        assert client.next()[1:] == ["6118", "0709413130303030303135" + "9000"]


def test_a_card_that_leaves_in_the_middle_and_a_dead_one(service: PrivatePcscd) -> None:
    def leave(command: bytes) -> bytes:
        raise EOFError

    script = "say(send(present(1)[0], '00B2010500'))"
    with IfdLink(EchoCard(answer=leave), service.sockets[0]), Client(service, script) as client:
        assert client.next() == "CardRemovedError"
    with IfdLink(EchoCard(b""), service.sockets[0]), Client(service, script) as client:
        assert client.next() == "CardMuteError"


class PinPadCard(EchoCard):
    def control(self, code: int, data: bytes) -> bytes:
        return code.to_bytes(4, "big") + data


def test_control_codes_reach_the_card(service: PrivatePcscd) -> None:
    """CM_IOCTL_GET_FEATURE_REQUEST (PC/SC part 10) and whatever else a reader's firmware may answer."""
    script = """
from smartcard.scard import *
name = present(1)[0]
_, context = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
code, card, protocol = SCardConnect(context, name, SCARD_SHARE_SHARED, SCARD_PROTOCOL_ANY)
code, answer = SCardControl(card, 0x42000D48, [1, 2])
say([code, bytes(answer).hex()])
"""
    with IfdLink(PinPadCard(), service.sockets[0]), Client(service, script) as client:
        assert client.next() == [0, "42000d480102"]
    with IfdLink(EchoCard(), service.sockets[0]), Client(service, script) as client:
        assert client.next()[0] != 0


def test_without_a_compiler_it_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.ifd.library._compiler", lambda: None)
    with pytest.raises(PcscdError, match="no C compiler"):
        PrivatePcscd(driver="onecard").start()
