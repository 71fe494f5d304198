"""Channel wrappers."""

from __future__ import annotations

import logging

import pytest

from apdu.channel import (
    MAX_FOLLOW_UPS,
    TRAFFIC,
    Channel,
    CountingChannel,
    T0Channel,
    T1Channel,
    TimingChannel,
    TraceChannel,
    follow_up,
    redact_command,
    transceive,
)
from apdu.command import CommandApdu
from apdu.errors import CardProtocolError, CardRemovedError, DecodingError
from apdu.response import ResponseApdu
from tests.apdu.cards import EchoCard, Script

# (what the caller sends, the exchanges on the wire, what the caller gets); card_commands.md 4 and 8.1
T0_CASES = {
    "case 1": ("00200000", [("00200000", "63C3")], "63C3"),
    "case 2": ("0084000008", [("0084000008", "A1A2A3A4A5A6A7A8 9000")], "A1A2A3A4A5A6A7A8 9000"),
    "case 2, wrong Le": (
        "00B2010500",
        [("00B2010500", "6C03"), ("00B2010503", "0A0139 9000")],
        "0A0139 9000",
    ),
    "case 2, wrong Le twice": ("00B2010500", [("00B2010500", "6C03"), ("00B2010503", "6C04")], "6C04"),
    "case 3, untouched 61xx": ("0020000003123456", [("0020000003123456", "6105")], "6105"),
    "case 4": (
        "00A4040002EF0500",
        [("00A4040002EF05", "6104"), ("00C0000004", "6F02840F 9000")],
        "6F02840F 9000",
    ),
    "case 4 without Le": ("00A4040002EF05", [("00A4040002EF05", "6104")], "6104"),
    "case 4, direct answer": ("00A4040002EF0500", [("00A4040002EF05", "6F00 9000")], "6F00 9000"),
    "case 4, refused": ("00A4040002EF0500", [("00A4040002EF05", "6A82")], "6A82"),
    "case 4, fewer wanted": (
        "00880000021122 02",
        [("00880000021122", "6108"), ("00C0000002", "AABB 6106")],
        "AABB 6106",
    ),
    "GET RESPONSE of the caller's own": ("00C0000002", [("00C0000002", "AABB 6106")], "AABB 6106"),
    "case 4, in pieces": (
        "80FA000001AA00",
        [("80FA000001AA", "6102"), ("00C0000002", "0102 6101"), ("00C0000001", "03 9000")],
        "010203 9000",
    ),
    "case 4, GET RESPONSE corrected": (
        "80FA000001AA00",
        [("80FA000001AA", "6110"), ("00C0000010", "6C01"), ("00C0000001", "07 9000")],
        "07 9000",
    ),
    "case 4, GET RESPONSE fails": ("80FA000001AA00", [("80FA000001AA", "6102"), ("00C0000002", "6F00")], "6F00"),
    "case 4 on logical channel 2": (
        "02A4040002EF0500",
        [("02A4040002EF05", "6101"), ("02C0000001", "AA 9000")],
        "AA 9000",
    ),
    "extended passes": ("00B00000000200", [("00B00000000200", "9000")], "9000"),
}


@pytest.mark.parametrize(("command", "wire", "answer"), T0_CASES.values(), ids=T0_CASES)
def test_t0(command: str, wire: list[tuple[str, str]], answer: str) -> None:
    script = Script(*wire)
    assert T0Channel(script).transmit(bytes.fromhex(command)) == bytes.fromhex(answer)
    assert not script.left


def test_t1_keeps_le_and_still_follows_up() -> None:
    script = Script(("00A4040002EF0500", "6101"), ("00C0000001", "AA 9000"))
    assert follow_up(script, "T=1").transmit(bytes.fromhex("00A4040002EF0500")) == b"\xaa\x90\x00"
    assert isinstance(follow_up(script, "T=1"), T1Channel)
    assert isinstance(follow_up(script, "T=0"), T0Channel)


@pytest.mark.parametrize("last", [b"\x61\x01", b"\x6c\x01"])
def test_an_endless_chain_is_cut(last: bytes) -> None:
    card = EchoCard(answer=lambda command: b"\x61\x01" if command[1] != 0xC0 else last)
    with pytest.raises(CardProtocolError):
        T0Channel(card).transmit(bytes.fromhex("00A4040002EF0500"))
    assert len(card.commands) == MAX_FOLLOW_UPS + 1


def test_nonsense_from_above_and_below_is_refused() -> None:
    with pytest.raises(DecodingError):
        T0Channel(EchoCard()).transmit(b"\0\0")
    with pytest.raises(DecodingError):
        T0Channel(EchoCard(answer=lambda _: b"\x90")).transmit(bytes(5))


def test_transceive_takes_the_narrowest_form() -> None:
    card = EchoCard()
    assert transceive(card, CommandApdu(0, 0xB0, le=4)) == ResponseApdu(bytes.fromhex("00B0000004"), 0x9000)
    transceive(card, CommandApdu(0, 0xB0, le=257))
    assert card.commands[1].hex() == "00b00000000101"


SECRETS = ["0020000003123456", "805E010007123456FF654321", "84D4000104A1B2C3D4", "0082000A04A1B2C3D4"]
SECRETS += ["842400010CA1B2C3D4A1B2C3D4A1B2C3D4", "80F4000004A1B2C3D4", "80FA00000806123456A1B2C3D4"]


@pytest.mark.parametrize("full", [False, True])
def test_secret_bodies_never_show(full: bool, caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []
    with caplog.at_level(TRAFFIC, logger="apdu.traffic"):
        channel = TraceChannel(EchoCard(answer=lambda _: b"\x90\x00"), lines.append, full=full)
        for command in SECRETS:
            channel.transmit(bytes.fromhex(command))
    shown = "".join([*lines, caplog.text]).replace(" ", "")
    assert len(lines) == 2 * len(SECRETS)
    for secret in ("1234", "5678", "3456", "6543", "A1B2", "C3D4", "B2C3"):
        assert secret not in shown
    assert caplog.records[0].levelno == TRAFFIC


def test_trace_shows_both_ends_of_an_exchange_and_failures() -> None:
    lines: list[str] = []
    TraceChannel(EchoCard(), lines.append).transmit(bytes.fromhex("00DC0528060504202501019000"))
    assert lines[0] == "> 00 DC 05 28 06 .. 90 00 [13]  UPDATE RECORD"
    assert lines[1].startswith("< 00 DC 05 28 06 .. 90 00 [15]  ")

    def pulled(_: bytes) -> bytes:
        raise CardRemovedError("gone")

    with pytest.raises(CardRemovedError):
        TraceChannel(EchoCard(answer=pulled), lines.append).transmit(bytes(5))
    assert lines[-1] == "! CardRemovedError: gone"


def test_the_support_switch_shows_whole_bodies() -> None:
    assert redact_command(bytes(9), full=True) == "00 00 00 00 00 00 00 00 00"


def test_no_trace_work_when_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="apdu.traffic")
    assert TraceChannel(EchoCard()).transmit(bytes(4)) == bytes(4) + b"\x90\x00"


def test_counting_and_timing() -> None:
    counting = CountingChannel(EchoCard())
    ticks = iter([1.0, 1.5, 2.0, 2.25])
    timing = TimingChannel(counting, lambda: next(ticks))
    timing.transmit(bytes(5))
    timing.transmit(bytes(4))
    assert (counting.apdus, counting.bytes_sent, counting.bytes_received) == (2, 9, 13)
    assert timing.durations_s == [0.5, 0.25]
    assert timing.total_s == 0.75
    assert isinstance(timing, Channel)


def test_key_material_for_the_certificate_application_is_hidden() -> None:
    assert "C110" not in redact_command(bytes.fromhex("804A0210 12 C110 000102030405060708090A0B0C0D0E0F"), full=True)


SECRET_ANSWERS = [
    ("804E000104C2010100", "6108"),
    ("00C0000008", "6C04"),
    ("00C0000004", "A1B2C3D4 9000"),
    ("80FA00000100", "A1B2C3D4 9000"),
    ("00B0850004", "55667788 9000"),
    ("00C0000004", "55667788 9000"),
]


@pytest.mark.parametrize("full", [False, True])
def test_deciphered_answers_are_hidden_and_so_is_what_fetches_them(full: bool) -> None:
    lines: list[str] = []
    channel = TraceChannel(Script(*SECRET_ANSWERS), lines.append, full=full)
    for command, _ in SECRET_ANSWERS:
        channel.transmit(bytes.fromhex(command))
    shown = "".join(lines).replace(" ", "")
    assert "A1B2" not in shown
    assert "C3D4" not in shown
    assert shown.count("[4byteshidden]9000") == 2
    assert shown.count("55667788") == 2, "the next answer is not secret, nor what fetches it"
