"""Command and response codecs: every case, both widths, every truncation."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.command import Case, CommandApdu, decode
from apdu.errors import DecodingError, EncodingError
from apdu.response import ResponseApdu

# 7816-3, 12.1.3: one line per case; the second column is the case, the third whether the extended form was asked for.
VECTORS = [
    ("00A40000", Case.CASE_1, CommandApdu(0, 0xA4)),
    ("0084000008", Case.CASE_2S, CommandApdu(0, 0x84, le=8)),
    ("00B2010500", Case.CASE_2S, CommandApdu(0, 0xB2, 1, 5, le=256)),
    ("0020000003123456", Case.CASE_3S, CommandApdu(0, 0x20, data=bytes.fromhex("123456"))),
    ("00A4040002EF0500", Case.CASE_4S, CommandApdu(0, 0xA4, 4, 0, bytes.fromhex("EF05"), 256)),
    ("00B00000000200", Case.CASE_2E, CommandApdu(0, 0xB0, le=512)),
    ("00B00000000000", Case.CASE_2E, CommandApdu(0, 0xB0, le=65536)),
    ("00D60000000100" + "AB" * 256, Case.CASE_3E, CommandApdu(0, 0xD6, data=b"\xab" * 256)),
    ("00A4040000000101" + "0000", Case.CASE_4E, CommandApdu(0, 0xA4, 4, 0, b"\x01", 65536)),
]


@pytest.mark.parametrize(("raw", "case", "command"), VECTORS)
def test_vector_decodes_and_encodes_back(raw: str, case: Case, command: CommandApdu) -> None:
    assert decode(bytes.fromhex(raw)) == (command, case)
    assert command.to_bytes(extended=case.is_extended).hex().upper() == raw


commands = st.builds(
    CommandApdu,
    *[st.integers(0, 255)] * 4,
    st.binary(max_size=300) | st.just(bytes(65535)),
    st.none() | st.integers(1, 256) | st.integers(257, 65536),
)


@given(commands, st.booleans())
@settings(max_examples=100)
def test_round_trip(command: CommandApdu, extended: bool) -> None:
    extended = extended or command.needs_extended
    raw = command.to_bytes(extended=extended)
    assert CommandApdu.from_bytes(raw) == command
    assert decode(raw)[1].is_extended == (extended and bool(command.data or command.le))


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_any_bytes_decode_to_themselves_or_are_refused(raw: bytes) -> None:
    try:
        command, case = decode(raw)
    except DecodingError:
        return
    assert command.to_bytes(extended=case.is_extended) == raw


@pytest.mark.parametrize("raw", ["00A4040002EF0500", "00D60000000003ABCDEF", "00A404000000010100FF"])
def test_no_prefix_passes_for_the_whole(raw: str) -> None:
    whole = bytes.fromhex(raw)
    command = CommandApdu.from_bytes(whole)
    for length in range(len(whole)):
        with suppress(DecodingError):
            assert CommandApdu.from_bytes(whole[:length]) != command


@pytest.mark.parametrize("raw", ["00A404000000", "00A4040000000012", "00A4040000000000", "00A4040003EF0500FF00"])
def test_lengths_that_contradict_are_refused(raw: str) -> None:
    with pytest.raises(DecodingError):
        CommandApdu.from_bytes(bytes.fromhex(raw))


def test_the_short_form_is_never_widened_silently() -> None:
    for command in (CommandApdu(0, 0xB0, le=257), CommandApdu(0, 0xD6, data=bytes(256))):
        with pytest.raises(EncodingError):
            command.to_bytes()


@pytest.mark.parametrize("fields", [{"cla": 256}, {"p1": -1}, {"le": 0}, {"le": 65537}, {"data": bytes(65536)}])
def test_fields_out_of_range(fields: dict[str, object]) -> None:
    with pytest.raises(EncodingError):
        CommandApdu(**{"cla": 0, "ins": 0, **fields})  # type: ignore[arg-type]


@given(st.binary(max_size=300))
@settings(max_examples=50)
def test_response(raw: bytes) -> None:
    if len(raw) < 2:
        with pytest.raises(DecodingError):
            ResponseApdu.from_bytes(raw)
        return
    response = ResponseApdu.from_bytes(raw)
    assert response.to_bytes() == raw
    assert bytes((response.sw1, response.sw2)) == raw[-2:]
    assert response.is_ok == (raw[-2:] == b"\x90\x00")


def test_response_has_an_upper_limit() -> None:
    assert len(ResponseApdu.from_bytes(bytes(65538)).data) == 65536
    with pytest.raises(DecodingError):
        ResponseApdu.from_bytes(bytes(65539))
