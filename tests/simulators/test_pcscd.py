"""Cards in a real PC/SC service. Clients run in processes of their own: libpcsclite finds its service only once."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from simulators import personas
from simulators.card import CardStore, Faults, SimCard
from simulators.factory import build_card
from simulators.pcscd import PrivatePcscd, is_available
from simulators.psam import SimPsam
from simulators.vpcd import VpcdLink
from tests.simulators.support import SSSE, vector_roots

pytestmark = [
    pytest.mark.pcsc,
    pytest.mark.skipif(not is_available()[0], reason=is_available()[1] or "available"),
]

CLIENT = """
import json, sys
from smartcard.scard import *
ready = lambda code: code == SCARD_S_SUCCESS
result, context = SCardEstablishContext(SCARD_SCOPE_USER)
_, readers = SCardListReaders(context, [])
reader = readers[int(sys.argv[1])]
for _ in range(60):
    _, states = SCardGetStatusChange(context, 500, [(reader, SCARD_STATE_UNAWARE)])
    if states[0][1] & SCARD_STATE_PRESENT:
        break
    SCardGetStatusChange(context, 500, [(reader, states[0][1] & 0xFFFF)])
answers = [bytes(states[0][2]).hex().upper()]
code, card, protocol = SCardConnect(context, reader, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0)
answers.append(f"{code & 0xFFFFFFFF:08X}")
for command in sys.argv[2:]:
    if ready(code):
        sent, answer = SCardTransmit(card, SCARD_PCI_T0, list(bytes.fromhex(command)))
        answers.append(bytes(answer).hex().upper() if ready(sent) else f"{sent & 0xFFFFFFFF:08X}")
if ready(code):
    SCardDisconnect(card, SCARD_LEAVE_CARD)
SCardReleaseContext(context)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def service():
    with PrivatePcscd(vpcds=2) as running:
        yield running


def client(service: PrivatePcscd, slot: int, *commands: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, str(slot), *commands],
        env={**os.environ, **service.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


class TimedCard:
    """Remembers when it was asked for something."""

    def __init__(self, card: SimCard) -> None:
        self.power_on, self.power_off = card.power_on, card.power_off
        self.asked_at: list[float] = []
        self._card = card

    def transmit(self, command: bytes) -> bytes:
        self.asked_at.append(time.monotonic())
        return self._card.transmit(command)


def persona_card(name: str, **options) -> SimCard:
    persona = personas.load(name)
    return SimCard(build_card(persona, vector_roots()), faults=persona.faults(), **options)


def test_card_and_psam_in_two_slots(service):
    with VpcdLink(persona_card("adult-2.0"), service.ports[0]), VpcdLink(SimPsam(vector_roots()), service.ports[1]):
        answers = client(service, 0, SSSE, "00C0000018", "00B207280B")
        assert answers[0] == "3B6D000000FE00000086FE990102000001"
        assert answers[2:] == [
            "6118",
            "6F16840F7378312E73682EC9E7BBE1B1A3D5CFA50388011E9000",
            "07094131303030303031359000",
        ]
        assert client(service, 1, "00B0960006")[2:] == ["9901000000019000"]


def test_exchanges_are_not_slowed_by_delayed_acknowledgement(service):
    """vpcd without the cure costs 44 ms for every command."""
    card = TimedCard(persona_card("adult-2.0"))
    with VpcdLink(card, service.ports[2]):
        client(service, 2, *["00B207280B"] * 100)
    between = sorted(later - earlier for earlier, later in pairwise(card.asked_at))
    assert len(between) >= 99
    assert between[25] < 0.03, "a busy machine is late often, the acknowledgement would be every time"


@pytest.mark.skipif(shutil.which("opensc-tool") is None, reason="opensc-tool is not installed")
def test_other_peoples_tools_read_the_card(service):
    with VpcdLink(persona_card("adult-2.0"), service.ports[0]):
        client(service, 0)
        done = subprocess.run(
            ["opensc-tool", "-r", "0", "-c", "default", "-s", SSSE, "-s", "00B207280B"],
            env={**os.environ, **service.env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "A10000015" in done.stdout


def test_torn_card_leaves_the_reader_and_comes_back(service, tmp_path):
    store = CardStore(tmp_path / "card.json")
    card = persona_card("adult-2.0", store=store)
    link = VpcdLink(card, service.ports[0])
    with link:
        client(service, 0)
        card.faults = Faults(tear_after=2)
        answers = client(service, 0, "0020000003111111", "0020000003111111", "0020000000")
        assert answers[2] == "63C2"
        assert answers[3] == "" or answers[3].startswith("8010")
        assert answers[4].startswith("8010")
        deadline = time.monotonic() + 30
        while link.is_inserted and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not link.is_inserted
        link.insert()
        assert client(service, 0, "0020000000")[2:] == ["63C1"], "the second try was committed before the cut"


def test_dead_chip_is_present_and_mute(service):
    with VpcdLink(persona_card("mute"), service.ports[0]):
        answers = client(service, 0)
        assert answers[1] == "80100067", "SCARD_W_UNPOWERED_CARD"


def test_silent_card_does_not_hang_the_service(service):
    with VpcdLink(persona_card("silent"), service.ports[0]):
        answers = client(service, 0, "00B207280B")  # it has a time limit of its own
        assert answers[2] == "" or answers[2].startswith("8010")


def test_nothing_is_left_behind():
    with PrivatePcscd() as running:
        pid, folder = running.pid, Path(running.socket_path).parent
        assert folder.exists()
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()


def test_insert_without_a_reader_raises():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # taken, so that nobody else listens there meanwhile
        with pytest.raises(OSError, match="refused"):
            VpcdLink(persona_card("adult-2.0"), probe.getsockname()[1]).insert(timeout_s=0.1)
