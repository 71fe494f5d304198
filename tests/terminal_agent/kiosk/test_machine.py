"""The card machine behind its bridge: one card at a time, each move once, no card lost or made up."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.inprocess import InProcessReaders
from simulators.card_machine import MOVES, InProcessLink, SimCardMachine
from simulators.printer import SimCardPrinter
from terminal_agent.hub import EventHub
from terminal_agent.kiosk.machine import CardElsewhereError, CardMachine
from terminal_agent.printer import PrinterDesk
from terminal_agent.printer_link import CardPlace, PrinterBridge, PrinterLostError, parse_answer
from terminal_agent.problems import DeviceNotConfiguredError
from tests.terminal_agent.kiosk.making_stand import ENCODER, PATIENCE_S, blank

ONE, TWO = "1" * 32, "2" * 32


def desk(address: str) -> CardMachine:
    return CardMachine(PrinterDesk(PrinterBridge(address), address, EventHub(), PATIENCE_S))


async def test_a_printer_that_moves_no_cards_is_no_machine(tmp_path: Path) -> None:
    with SimCardPrinter(tmp_path) as printer:
        machine = desk(printer.address)
        with pytest.raises(DeviceNotConfiguredError):
            await machine.look()
        with pytest.raises(DeviceNotConfiguredError):
            await machine.load(ONE)


async def test_a_card_in_the_way_is_not_touched(tmp_path: Path) -> None:
    readers = InProcessReaders([ENCODER])
    with SimCardMachine(tmp_path, lambda card: InProcessLink(readers, ENCODER, card), [blank(1), blank(2)]) as sim:
        machine = desk(sim.address)
        await machine.load(ONE)
        with pytest.raises(CardElsewhereError):
            await machine.load(TWO)
        await machine.reject(ONE)
        with pytest.raises(CardElsewhereError):
            await machine.eject(ONE)
        await machine.load(TWO)
        assert (len(sim.bin), sim.blanks, sim.inside) == (1, [], TWO)


@settings(max_examples=25)
@given(acts=st.lists(st.tuples(st.sampled_from([*MOVES, "take"]), st.sampled_from([ONE, TWO, "3" * 32])), max_size=12))
def test_no_card_is_lost_or_made_up(tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, str]]) -> None:
    readers = InProcessReaders([ENCODER])
    folder = tmp_path_factory.getbasetemp() / "machine"
    with SimCardMachine(folder, lambda card: InProcessLink(readers, ENCODER, card), [blank(1), blank(2)]) as machine:
        taken, ends = 0, dict[str, str]()
        for act, card_id in acts:
            if act == "take":
                taken += machine.take() is not None
                continue
            place = ask(machine, act, card_id)
            assert ends.get(card_id, place) in (place, "taken")  # taken and bin are final
            if place in ("taken", "bin"):
                ends[card_id] = place
            inside = machine.inside != ""
            out = len(machine.bin) + (machine.tray is not None) + taken
            assert len(machine.blanks) + inside + out == 2
            assert readers.watch().wait(0)[ENCODER].is_present == (
                inside and ask(machine, "machine", machine.inside) == "encoder"
            )


def ask(machine: SimCardMachine, act: str, card_id: str) -> str:
    """Where the card has come to rest."""
    machine.answer(json.dumps({"act": act, "card_id": card_id}).encode())
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = machine.answer(json.dumps({"act": "machine", "card_id": card_id}).encode())
        assert found is not None
        if found["place"] != "moving" or found["state"] == "hopper_empty":
            return str(found["place"])
        assert time.monotonic() < deadline
        time.sleep(0.0005)  # the machine moves on a thread of its own


@given(
    place=st.sampled_from(CardPlace),
    hopper=st.one_of(st.none(), st.integers(-5, 2_000_000), st.text(max_size=3)),
    inside=st.one_of(st.just(""), st.text("0123456789abcdefg", min_size=30, max_size=33)),
)
def test_an_answer_of_a_machine_is_whole_or_refused(place: CardPlace, hopper: object, inside: str) -> None:
    line = json.dumps({"state": "ready", "place": place, "hopper": hopper, "inside": inside}).encode() + b"\n"
    try:
        answer = parse_answer(line)
    except PrinterLostError:
        return
    assert answer.place is place
    assert answer.hopper is None or 0 <= answer.hopper <= 1_000_000
    assert inside == "" or (len(inside) == 32 and "g" not in inside)
