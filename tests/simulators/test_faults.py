"""Faults: counted from arming, struck once, visible as a real defect would be."""

import pytest

from simulators.card import Algorithm, CardGone, Faults
from tests.simulators import transit
from tests.simulators.support import DF, SSSE, host


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


@pytest.mark.parametrize("name", transit.NAMES)
def test_wrong_mac_covers_the_purse(name):
    """Every cryptogram of the purse, and nothing else of an answer: the random a purchase begins with stays right."""
    right, wrong = transit.selected(name), transit.selected(name)
    wrong.card.faults = Faults(wrong_mac=True)
    purchase, load = transit.of(name)["purchase"], transit.of(name)["load"]
    pairs = [(h(load["init_capdu"]), h(purchase["init_capdu"])) for h in (right, wrong)]
    assert pairs[0][1] == pairs[1][1]
    assert is_flipped(*[pair[0] for pair in pairs])
    vectored = transit.selected(name, purchase["init_rapdu"][22:30])
    vectored(purchase["init_capdu"])
    vectored.card.faults = Faults(wrong_mac=True)
    assert is_flipped(purchase["debit_rapdu"], vectored(purchase["debit_capdu"]))
    assert is_flipped(purchase["prove_rapdu"], vectored(purchase["prove_capdu"]))


def test_wrong_mac_covers_the_request_for_a_load():
    load = "B02800010B0100002710990100000001"
    answers = []
    for faults in (Faults(), Faults(wrong_mac=True)):
        h = host(pin="")
        h(DF["DF04"])
        h.card.faults = faults
        answers.append(h(load))
    assert is_flipped(*answers)


def is_flipped(right: str, wrong: str) -> bool:
    """The last byte before the status word, and no other."""
    return right[:-6] == wrong[:-6] and int(right[-6:-4], 16) ^ 1 == int(wrong[-6:-4], 16) and right[-4:] == "9000"
