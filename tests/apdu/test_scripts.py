"""The script language: its errors to the column, its meaning against small cards, and what a recording keeps."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.channel import SECRET_INSTRUCTIONS, T0Channel
from apdu.errors import ReplayError
from apdu.scripts.language import Command, Pattern
from apdu.scripts.parser import MAX_LINE, MAX_LINES, MAX_TEXT, ScriptSyntaxError, parse
from apdu.scripts.recording import RecordingChannel, ReplayChannel, line_of
from apdu.scripts.runner import CardAccess, Outcome, Report, run
from tests.apdu.cards import ATR, EchoCard, Script

SSSE = "7378312E73682EC9E7BBE1B1A3D5CF"

REFUSED = [
    ("00B2 0", 1, 6, "pairs"),
    ("00B2\n\t00BG", 2, 5, "'G'"),
    ("# fine\r\n00B0 =>", 2, 8, "at least one byte"),
    ("00B0 => ..", 1, 11, "status word"),
    ("00B0 => 90", 1, 11, "status word"),
    ("00B0 => .. 00 .. 9000", 1, 15, "once in a pattern"),
    ("00B0 => 9000 => 6A82", 1, 14, "pattern is"),
    ("00A4 $name", 1, 6, "no value yet"),
    ("let 9x = 00", 1, 5, "name is a letter"),
    ("let x 00", 1, 7, "followed by ="),
    ("let x =", 1, 8, "at least one byte"),
    ("let x = $secret:PIN", 1, 9, "only in a command"),
    ("let x = 00 => 9000", 1, 12, "end here"),
    ("expect data = 00", 1, 8, "no response yet"),
    ("00B0\nexpect 00 = 00", 2, 8, "data or tlv"),
    ("00B0\nexpect tlv(1F) = 00", 2, 8, "well-formed tags"),
    ("00B0\nexpect data[2] = 00", 2, 8, "data or tlv"),
    ("once reset", 1, 6, "before a command"),
    ("raw 00", 1, 5, "end here"),
    ("reset 3B00", 1, 7, "=>"),
    ("[00A4]", 1, 1, "written out"),
    ("00 => 9000", 1, 1, "written out"),
    ("00A40000 [[[[[00]]]]]", 1, 14, "deep at most"),
    ("00A40000 [ 00", 1, 10, "closed on its line"),
    ("00A40000 ]", 1, 10, "only =>"),
    ("00B0 00 once", 1, 9, "keyword"),
    ("00B0 (x)", 1, 6, "begins with '('"),
    ("0020000003123456", 1, 11, "body of instruction 20 is secret"),
    ("00 20 00 00 03 12 34 56", 1, 16, "body of instruction 20 is secret"),
    ("let p = 123456\n0020000003 $p", 2, 12, "body of instruction 20 is secret"),
    ("0020 $secret:PIN", 1, 6, "before a secret"),
    ("0082000A [00 $secret:K]", 1, 11, "is secret"),
    ("00D6 8500 $secret:PIN", 1, 11, "shows its body"),
    ("00B0 ?4", 1, 6, "shows its body"),
    ("00200000 ?0", 1, 10, "can be hidden"),
    ("00" * (MAX_LINE // 2 + 1), 1, MAX_LINE + 1, "characters"),
    ("\n" * MAX_LINES, MAX_LINES + 1, 1, "lines"),
    ("#" * (MAX_TEXT + 1), 1, 1, "characters"),
]


@pytest.mark.parametrize(("text", "line", "column", "rule"), REFUSED, ids=range(len(REFUSED)))
def test_errors_name_line_column_rule_and_remedy(text: str, line: int, column: int, rule: str) -> None:
    with pytest.raises(ScriptSyntaxError, match=re.escape(rule)) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert caught.value.rule
    assert caught.value.remedy
    assert "123456" not in str(caught.value)


WORDS = """00A4 00B2 0020 0000 03 x .. => = [ ] $a $secret:P ?3 ~AB data data[1:2] tlv(6F/84) let a reset raw once
select expect # 9000 63Cx é ( 0"""
PIECES = st.sampled_from([*WORDS.split(), "\n", "\t"])


@settings(max_examples=100)
@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=30).map(" ".join)))
def test_any_text_is_a_script_or_is_refused_in_its_place(text: str) -> None:
    refused = None
    try:
        script = parse(text)
    except ScriptSyntaxError as error:
        refused = error
    if refused is None:
        run(script, CardAccess(EchoCard(), EchoCard()), secrets={}, keeps_going=True)
        return
    lines = text.removeprefix("\ufeff").split("\n")
    assert 1 <= refused.line <= len(lines)
    assert 1 <= refused.column <= len(lines[refused.line - 1]) + 1


@settings(max_examples=100)
@given(st.binary(min_size=5, max_size=40), st.binary(min_size=2, max_size=40), st.booleans())
def test_a_recorded_line_replays_what_was_exchanged(command: bytes, response: bytes, is_secret: bool) -> None:
    line = line_of(command, response, is_secret_response=is_secret)
    assert ReplayChannel(line).transmit(command) == (
        bytes(len(response) - 2) + response[-2:] if is_secret else response
    )
    if command[1] in SECRET_INSTRUCTIONS:
        assert command[4:].hex().upper() not in line.replace(" ", "").split("=>")[0][8:]


@pytest.mark.parametrize(
    ("pattern", "raw", "fits"),
    [
        ("9000", "9000", True),
        ("9000", "01 9000", False),
        ("9x 00", "9300", True),
        ("63Cx", "63D0", False),
        (".. 9000", "9000", True),
        ("6F .. 9000", "6F01 02 9000", True),
        ("6F .. 9000", "6E01 02 9000", False),
        ("6F01 .. 0102 9000", "6F01 02 9000", False),
        ("~0102 9000", "FFFF 9000", True),
        ("~0102 9000", "FF 9000", False),
        ("?2 9000", "FFFF 9000", True),
        ("$v 9000", "A1A2 9000", True),
        ("$v 9000", "A1A3 9000", False),
    ],
)
def test_patterns(pattern: str, raw: str, fits: bool) -> None:
    command = parse(f"let v = A1A2\n00B0 => {pattern}").statements[1]
    assert isinstance(command, Command)
    assert isinstance(command.expected, Pattern)
    assert command.expected.matches(bytes.fromhex(raw), {"v": bytes.fromhex("A1A2")}) is fits


def run_text(text: str, *exchanges: tuple[str, str], **options: object) -> tuple[Report, Script]:
    card = Script(*exchanges)
    return run(parse(text), CardAccess(card, T0Channel(card), lambda: ATR), **options), card  # type: ignore[arg-type]


def test_variables_parts_and_secrets_make_commands() -> None:
    fci = f"6F1C840F{SSSE}A50988011E9F0C03860103"
    report, card = run_text(
        f"""
        let name = {SSSE}
        select $name => 6F .. 9000       # over T=0 in two commands
        expect tlv(6F/84) = $name
        expect tlv(6F/A5/9F0C/86) = 0x
        expect data[2:4] = 84 0F
        let sfi = tlv(6F/A5/88)
        00B0 $sfi 00 02
        00200000 [$secret:PIN] => 63Cx
        reset => 3B xx ..
        expect data = {ATR.hex()}
        """,
        ("00A404000F" + SSSE, f"61{len(fci) // 2:02X}"),
        (f"00C00000{len(fci) // 2:02X}", fci + "9000"),
        ("00B01E0002", "0102 9000"),
        ("0020000003123456", "63C2"),
        secrets={"PIN": bytes.fromhex("123456")},
    )
    assert report.is_ok, report
    assert not card.left
    assert [result.outcome for result in report.results] == [Outcome.PASSED] * 8
    said = str([result.to_json() for result in report.results])
    assert "123456" not in said.replace(" ", "")
    assert "2 tries left" in said


@pytest.mark.parametrize(
    ("text", "answers", "note"),
    [
        ("00B0000000 => 0102 9000", ["0103 9000"], "0102 9000 was expected"),
        ("00B0000000", ["6A82"], "9000 was expected"),
        ("00B0000000\nexpect data = 01", ["02 9000"], "01 was expected"),
        ("00B0000000\nexpect tlv(6F) = 01", ["02 9000"], "no data objects"),
        ("00B0000000\nexpect tlv(6F) = 01", ["0201FF 9000"], "no data object 6F"),
        ("00B0000000\nlet x = data[1:]", ["9000"], "0 bytes of data"),
        ("00200000 [$secret:PIN]", [], "PIN was not given"),
        ("00B000 0000 00", [], "Lc 00"),
        ("00B0000000\nlet x = data data data\n00D60000 [$x]", ["00" * 90 + "9000"], "270 bytes in brackets"),
    ],
)
def test_a_failure_says_why_and_stops(text: str, answers: list[str], note: str) -> None:
    commands = [("00B0000000", answer) for answer in answers]
    report, card = run_text(text + "\n00B0000000", *commands, ("00B0000000", "9000"))
    assert note in report.results[-1].note_en
    assert report.results[-1].note_zh
    assert not report.is_ok
    assert not report.is_complete
    assert len(card.left) == 1, "nothing was sent behind the failure"


def test_going_on_never_goes_past_a_refused_secret() -> None:
    text = "00B0000000 => 01 9000\n00200000 [$secret:PIN]\n00200000 [$secret:PIN]"
    report, card = run_text(
        text,
        ("00B0000000", "9000"),
        ("0020000003123456", "63C2"),
        secrets={"PIN": bytes.fromhex("123456")},
        keeps_going=True,
    )
    assert report.count(Outcome.FAILED) == 2
    assert not report.is_complete
    assert not card.left


def test_the_guard_is_asked_before_a_secret_and_only_then() -> None:
    class Refused(Exception):
        pass

    def guard(command: bytes) -> None:
        raise Refused(command[:2].hex())

    card = Script(("00B0000000", "9000"))
    with pytest.raises(Refused, match="0020"):
        run(
            parse("00B0000000\n00200000 [$secret:PIN]"),
            CardAccess(card, card, guard=guard),
            secrets={"PIN": b"\x12\x34"},
        )
    assert not card.left


SESSION = [
    ("0084000008", "A1A2A3A4A5A6A7A8 9000"),
    ("0082000A10" + "5A" * 16, "9000"),
    ("00B2010500", "6C03"),
    ("00B2010503", "0A0139 9000"),
    ("04D6850004A1B2C3D4", "9000"),
    ("804E000104C2010100", "6104"),
    ("00C0000004", "D1D2D3D4 9000"),
    ("002A9E9A0211220A", "C1C2 9000"),
]


def recorded() -> str:
    stream = io.StringIO()
    channel = RecordingChannel(Script(*SESSION), stream)
    channel.note_reset(ATR)
    for command, _ in SESSION:
        channel.transmit(bytes.fromhex(command))
    return stream.getvalue()


def test_a_recording_has_no_secret_and_marks_what_changes() -> None:
    assert recorded().splitlines() == [
        "raw",
        f"reset => {ATR.hex().upper()}",
        "0084000008 => ~A1A2A3A4A5A6A7A8 9000",
        "0082000A ?17 => 9000",
        "00B2010500 => 6C03",
        "00B2010503 => 0A0139 9000",
        "once 04D6850004A1B2C3D4 => 9000",
        "804E000104C2010100 => 6104",
        "00C0000004 => ?4 9000",
        "002A9E9A0211220A => ~C1C2 9000",
    ]


def test_a_recording_is_a_card() -> None:
    replay = ReplayChannel(recorded())
    with pytest.raises(ReplayError, match="line 2"):
        replay.transmit(bytes(5))
    assert replay.reset() == ATR
    assert replay.transmit(bytes.fromhex("0084000008")) == bytes.fromhex("A1A2A3A4A5A6A7A89000")
    with pytest.raises(ReplayError, match="line 4"):
        replay.transmit(bytes.fromhex("0082000B10") + bytes(16))
    # The hidden body matches any of its length: what follows stays usable with other random numbers.
    assert replay.transmit(bytes.fromhex("0082000A10") + bytes(16)) == b"\x90\x00"
    for command, answer in SESSION[2:4]:
        assert replay.transmit(bytes.fromhex(command)) == bytes.fromhex(answer)
    assert replay.transmit(bytes.fromhex("04D6850004") + bytes(4)) == b"\x90\x00"
    replay.transmit(bytes.fromhex(SESSION[5][0]))
    assert replay.transmit(bytes.fromhex("00C0000004")) == bytes(4) + b"\x90\x00"
    assert not replay.is_finished
    replay.transmit(bytes.fromhex(SESSION[7][0]))
    assert replay.is_finished
    for again in (lambda: replay.transmit(bytes(5)), replay.reset):
        with pytest.raises(ReplayError):
            again()


@pytest.mark.parametrize("line", ["00B0000000", "00B0000000 => .. 9000", "00B0000000 => xx 9000"])
def test_what_leaves_something_open_is_no_recording(line: str) -> None:
    with pytest.raises(ReplayError, match="line 1: no whole response"):
        ReplayChannel(line).transmit(bytes.fromhex("00B0000000"))


def test_a_recording_against_a_card_sends_only_what_can_be_the_same() -> None:
    answers = [SESSION[0], SESSION[2], ("00B2010503", "6982"), SESSION[5], SESSION[6], SESSION[7]]
    report, card = run_text(recorded(), *answers)
    assert report.is_ok, report
    assert not card.left
    skipped = {result.line: result.note_en for result in report.results if result.outcome is Outcome.SKIPPED}
    assert skipped.keys() == {4, 6, 7}
    assert "left out" in skipped[4]
    assert "line 4 was skipped" in skipped[6]
    assert "recorded session only" in skipped[7]


def test_another_content_on_the_card_is_found() -> None:
    changed = [SESSION[0], SESSION[2], ("00B2010503", "0A0132 9000"), *SESSION[5:]]
    report, _ = run_text(recorded(), *changed, keeps_going=True)
    assert [result.line for result in report.results if result.outcome is Outcome.FAILED] == [6]


def test_get_response_behind_a_skipped_command_is_skipped_too() -> None:
    report, card = run_text("raw\n80FA0000 ?10 => 6104\n00C0000004 => ?4 9000\n00B0000000", ("00B0000000", "9000"))
    assert [result.outcome for result in report.results] == [Outcome.SKIPPED, Outcome.SKIPPED, Outcome.PASSED]
    assert not card.left
