"""The card number of the bank application, on simulated cards and on cards that answer otherwise."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.errors import NotFoundError
from cardlib.bank import BankCard, masked, read_bank_card
from cardlib.errors import CardDataError
from simulators import personas
from simulators.card import SimCard
from simulators.factory import build_card
from tests.cardlib.transit import Reader
from tests.simulators.support import Host, vector_roots

NUMBER = "6200000000000000018"


def card(name: str = "adult-3.0") -> SimCard:
    return SimCard(build_card(personas.load(name), vector_roots()))


class Answers:
    """A block-protocol card with fixed answers by the start of the command."""

    def __init__(self, **answers: str) -> None:
        self.answers = {key[1:]: value for key, value in answers.items()} | {"00A4": "9000"}

    def transmit(self, command: bytes) -> bytes:
        sent = command.hex().upper()
        found = max((key for key in self.answers if sent.startswith(key)), key=len, default=None)
        return bytes.fromhex(self.answers[found] if found else "6A83")


def record(number: str = NUMBER + "F") -> str:
    return f"700C5A0A{number}9000"


def test_number_of_a_simulated_card():
    found = read_bank_card(Reader(card()))
    assert found == BankCard(NUMBER, "351231")
    assert found.to_json(shows_number=False)["number"] == "620000*********0018"
    assert found.to_json(shows_number=True)["number"] == NUMBER
    assert masked("123") == "***"


def test_cards_without_the_application():
    with pytest.raises(NotFoundError):
        read_bank_card(Reader(card("adult-2.0")))


@pytest.mark.parametrize("place", ["_00B20114", "_00B2011C", "_00B20184"])
def test_cards_that_refuse_processing_options_are_read_at_the_usual_places(place):
    assert read_bank_card(Answers(_80A8="6985", **{place: record()}), protocol="T=1").number == NUMBER


def test_both_forms_of_the_locator_are_followed():
    for options in ("800A7C000801020010040400", "770E82027C00940808010200 10040400".replace(" ", "")):
        answers = Answers(_80A8=options + "9000", _00B20114=record("0" * 20), _00B20414=record())
        assert read_bank_card(answers, protocol="T=1").number == NUMBER


@pytest.mark.parametrize("number", ["6200000000000000017F", "62000000000A00000018", "FFFFFFFFFFFFFFFFFFFF"])
def test_numbers_that_are_none(number):
    with pytest.raises(CardDataError):
        read_bank_card(Answers(_80A8="6985", _00B20114=record(number)), protocol="T=1")


@settings(max_examples=80)
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_any_answer_ends_in_a_number_or_a_typed_error(options, content):
    answers = Answers(_80A8=(options + b"\x90\0").hex(), _00B2=(content + b"\x90\0").hex())
    with contextlib.suppress(CardDataError):
        assert read_bank_card(answers, protocol="T=1").number.isdecimal()


# ---- the chip


def test_directories_and_refusals():
    host = Host(card())
    assert "A000000632010105" in host("00A404000E325041592E5359532E4444463031")
    ppse = host("00A404000E325041592E5359532E4444463031")
    assert ppse.count("4F08") == 2
    assert host("00A404000E315041592E5359532E4444463031").endswith("9000")
    assert "A000000333010101" in host("00B2010C" + host("00B2010C00")[2:])
    assert host("00A4040008A000000333010101").endswith("9000")
    assert host("80A800000B8309" + "00" * 9) == "80067C00100101009000"
    refusals = {"80A8000000": "6700", "80A80000028300": "6A80", "00B2021400": "6A83", "00B2012400": "6A82"}
    assert {command: host(command) for command in refusals} == refusals
