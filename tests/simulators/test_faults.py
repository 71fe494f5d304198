"""Faults: counted from arming, struck once, visible as a real defect would be."""

import pytest

from simulators.card import Algorithm, CardGone, Faults
from tests.simulators.support import SSSE, host


def test_tear_counts_from_arming():
    h = host()
    h("00B2052806")
    h.card.faults = Faults(tear_after=2)
    h("00B2052806")
    with pytest.raises(CardGone) as caught:
        h("0084000008")
    assert caught.value.failure == "CARD_REMOVED"
    h.card.power_on()
    for _ in range(5):
        assert h("00B2052806").endswith("9000")


def test_wrong_mac_shows_only_in_cryptograms():
    h = host(Algorithm.SM4)
    command = "008800001011223344556677880102030405060708"
    right = h(command)
    h.card.faults = Faults(wrong_mac=True)
    wrong = h(command)
    assert wrong != right
    assert wrong[:14] == right[:14]
    assert h("00B2052806") == "0504202501019000"


def test_endless_corrections():
    h = host()
    h.card.faults = Faults(endless_6c=True)
    for length in range(6, 12):
        assert h(f"00B20528{length:02X}") == f"6C{length + 1:02X}"
    h.card.faults = Faults(endless_61=True)
    h.card.transmit(bytes.fromhex(SSSE))
    for _ in range(4):
        assert h.card.transmit(bytes.fromhex("00C0000018")).hex() == "006101"


def test_delay(monkeypatch):
    slept = []
    monkeypatch.setattr("simulators.faults.time.sleep", slept.append)
    h = host()
    h.card.faults = Faults(delay_s=0.25)
    h("00B2052806")
    assert slept == [0.25]
