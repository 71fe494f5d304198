"""The journal of a gate: one flush a tap, and a file that a day of taps leaves small."""

import os

from cardlib import transit_journal
from cardlib.transit_journal import TransitJournal
from tests.cardlib.gate_stand import card, purse
from tests.cardlib.test_transit_gate import gate, torn


def test_a_day_of_taps_leaves_a_small_file(tmp_path, monkeypatch):
    monkeypatch.setattr(transit_journal, "COMPACT_LINES", 40)
    path = tmp_path / "j"
    here, lost = gate(path=path), card(purse(0))
    torn(here, lost)
    here.time.passed_s += 700
    here.gate.overdue()
    for number in range(1, 60):
        assert here.tap(card(purse(number))).reason == "PAID"
        if number != 30:
            here.told()
    assert len(path.read_bytes().splitlines()) <= 50
    again = TransitJournal(path)
    assert again.unresolved == here.journal.unresolved
    assert again.is_doubted(again.unresolved[0])
    assert again.newest_moment == here.journal.newest_moment
    here.restart()
    assert here.tap(lost).reason == "PAID", "too long ago to open"


def test_one_flush_to_the_disk_for_a_paid_tap(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    here = gate(path=tmp_path / "j")
    here.tap(card(purse(1)))
    here.told()
    assert len(flushed) == 1
