"""Taps that would have charged twice, let somebody ride for nothing, or called an honest card forged."""

from __future__ import annotations

import pytest

from cardlib.transit_psam import TransitPsam
from simulators.faults import Faults
from tests.cardlib.gate_stand import Gate, Slot, Time, card, purse, rules, sam
from tests.cardlib.transit import Reader


def test_a_card_that_lay_there_while_the_program_was_killed_pays_once(tmp_path, monkeypatch):
    monkeypatch.setattr("cardlib.transit_journal.COMPACT_LINES", 3)
    here, holder = Gate(rules("bus_flat"), Time(), path=tmp_path / "journal"), card(purse(1))
    assert here.tap(holder).reason == "PAID"
    here.told()  # the file is written anew without what was delivered
    here.time.passed_s += 60
    here.restart()
    tap = here.gate.tap
    assert tap(Reader(holder), here.sam, was_there=True).reason == "RETAP"
    assert tap(Reader(card(purse(2))), here.sam, was_there=True).reason == "PAID", "another one pays as ever"
    assert tap(Reader(holder), here.sam).reason == "PAID", "taken away and tapped again"
    here.time.passed_s += 60
    assert tap(Reader(holder), here.sam, was_there=True).reason == "RETAP", "its reader was lost for a moment"


def test_a_card_killed_in_mid_debit_is_settled_wherever_it_lay(tmp_path):
    here, holder = Gate(rules("bus_flat"), Time(), path=tmp_path / "journal"), card(purse(1))
    assert here.tap(holder).reason == "PAID"
    here.time.passed_s += 60
    holder.faults = Faults(tear_after=5)
    assert here.tap(holder).reason == "REMOVED"
    holder.faults = Faults()
    here.restart()
    assert here.gate.tap(Reader(holder), here.sam, was_there=True).reason == "RECOVERED"


def test_a_purse_found_forged_while_its_last_ride_is_charged_does_not_board():
    here, holder, opened = Gate(rules("bus_board"), Time()), card(purse(1)), []
    assert here.tap(holder).reason == "ENTRY"
    here.time.passed_s += 100
    here.told()
    holder.faults = Faults(wrong_mac=True)
    assert here.tap(holder, opened.append).reason == "NOT_GENUINE"
    assert opened == []
    assert [(tap.outcome, tap.amount_fen) for tap in here.told()] == [("suspicious", 900)]


@pytest.mark.parametrize("number", ["099900000001", "099900000002"])
def test_a_torn_tap_is_not_measured_by_another_psam_that_stands_at_the_same_sequence(number):
    here, first, second = Gate(rules("bus_flat"), Time()), card(purse(1)), card(purse(2))
    for holder, terminal in ((first, "099900000001"), (second, number)):
        here.psam = Slot(sam(terminal))
        here.sam = TransitPsam(here.psam)
        assert here.sam.key_index
        holder.faults = Faults(tear_after=5)
        assert here.tap(holder).reason == "REMOVED"
        holder.faults = Faults()
    assert len({sale.terminal_sequence for sale in here.journal.unresolved}) == 1
    is_same = number == "099900000001"  # a PSAM does not count backwards: that one is a copy
    assert here.tap(first).reason == ("NOT_GENUINE" if is_same else "RECOVERED")
    assert here.tap(second).reason == "RECOVERED"


def test_an_entry_in_the_year_one_is_no_time_and_stops_nobody_in_an_emergency():
    state = purse(1)
    head = state.processes[0][:14] + b"\x01" + state.processes[0][15:67]
    state.processes[0] = head + bytes.fromhex("00010101000000") + state.processes[0][74:]
    here = Gate(rules("metro_exit", 17, policy={"degraded": ["emergency"]}), Time())
    assert here.tap(card(state)).reason == "EXIT"
    assert [(tap.mode, tap.entry) for tap in here.told()] == [("emergency", None)]
