"""The same card processes without PC/SC: in the agent's own process, and over the agent's own vpcd listener."""

import time

import pytest

from apdu.channel import T0Channel, transceive
from apdu.command import CommandApdu
from apdu.errors import CardMuteError, CardRemovedError
from apdu.inprocess import InProcessReaders
from apdu.vpcd import VpcdReaders
from simulators import personas
from simulators.card import Faults, SimCard
from simulators.factory import build_card
from simulators.vpcd import VpcdLink
from tests.simulators.support import SSSE, vector_roots


def persona_card(name: str, faults: Faults | None = None) -> SimCard:
    persona = personas.load(name)
    return SimCard(build_card(persona, vector_roots()), faults=faults or persona.faults())


def wait_for(readers: VpcdReaders, *, present: bool) -> str:
    watch, end = readers.watch(), time.monotonic() + 30
    name = readers.readers()[0]
    while watch.wait(0.2)[name].is_present is not present:
        assert time.monotonic() < end
    return name


def test_in_process():
    readers = InProcessReaders()
    name = readers.readers()[0]
    readers.insert(name, persona_card("adult-3.0", Faults(tear_after=4)))
    with readers.connect(name) as card:
        fci = transceive(T0Channel(card), CommandApdu(0, 0xA4, 4, 0, bytes.fromhex(SSSE[10:]), 256))
        assert fci.data[-3:].hex() == "860103"
        assert card.transmit(bytes.fromhex("00B207280B")).endswith(b"\x90\0")
        with pytest.raises(CardRemovedError):
            card.transmit(bytes.fromhex("00B207280B"))


def test_over_the_agents_own_listener():
    with VpcdReaders() as readers, VpcdLink(persona_card("adult-2.0"), readers.ports[0]) as link:
        name = wait_for(readers, present=True)
        with readers.connect(name) as card:
            assert card.atr.hex().upper() == "3B6D000000FE00000086FE990102000001"
            assert card.transmit(bytes.fromhex("00B207280B"))[2:11] == b"A10000015"
        link.remove()
        wait_for(readers, present=False)


@pytest.mark.parametrize("name", ["mute", "silent"])
def test_cards_that_do_not_answer(name):
    readers = InProcessReaders()
    slot = readers.readers()[0]
    readers.insert(slot, persona_card(name))
    with pytest.raises(CardMuteError), readers.connect(slot) as card:
        card.transmit(bytes.fromhex("00B207280B"))


def test_dead_chip_over_the_agents_own_listener():
    with VpcdReaders() as readers, VpcdLink(persona_card("mute"), readers.ports[0]):
        name = wait_for(readers, present=True)
        with pytest.raises(CardMuteError):
            readers.connect(name)
