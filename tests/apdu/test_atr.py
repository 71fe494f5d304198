"""Answers to reset."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.atr import Atr
from apdu.errors import AtrDecodingError

CARD = bytes.fromhex("3B6D000000FE00000086FE990100000001")
# raw, protocols in order, historical bytes, TCK, acceptable to a terminal (draft P8, 5.1.3)
VECTORS = [
    (CARD.hex(), (0,), "00fe00000086fe990100000001", None, True),
    ("3b80800101", (0, 1), "", 0x01, True),
    ("3f00", (0,), "", None, True),
    ("3b9d00801f4000fe00000086fe990100000001", None, None, None, None),  # clock stop indicated, TCK absent
    ("3b951381018073ff01000b", (1,), "8073ff0100", 0x0B, False),
    ("3b8f8001804f0ca000000306030001000000006a", (0, 1), "804f0ca00000030603000100000000", 0x6A, True),
    ("3b600000", (0,), "", None, True),
    ("3b801f00", (), "", None, None),
]


@pytest.mark.parametrize(("raw", "protocols", "historical", "tck", "acceptable"), VECTORS)
def test_vector(
    raw: str, protocols: tuple[int, ...] | None, historical: str, tck: int | None, acceptable: bool | None
) -> None:
    if acceptable is None:
        with pytest.raises(AtrDecodingError):
            Atr.from_bytes(bytes.fromhex(raw))
        return
    atr = Atr.from_bytes(bytes.fromhex(raw))
    assert (atr.protocols, atr.historical_bytes.hex(), atr.tck) == (protocols, historical, tck)
    assert (atr.rejection is None) == acceptable
    assert atr.to_bytes().hex() == raw


def with_tck(text: str) -> bytes:
    body = bytes.fromhex(text)
    tck = 0
    for byte in body[1:]:
        tck ^= byte
    return body + bytes((tck,))


def test_clock_stop_indication_of_the_extended_atr() -> None:
    atr = Atr.from_bytes(with_tck("3BED0000801F40" + CARD[4:].hex()))
    assert atr.protocols == (0,)
    assert atr.interface_byte("TD", 2) == 0x1F
    assert atr.interface_byte("TA", 3) == 0x40
    assert atr.interface_byte("TA", 9) is None
    assert atr.historical_bytes == CARD[4:]
    assert atr.rejection is None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (bytes.fromhex("3B1013"), "TA1"),
        (with_tck("3B8002"), "TD1"),
        (with_tck("3B808002"), "TD2"),
        (bytes.fromhex("3B80400B"), "TC2"),
    ],
)
def test_what_a_terminal_must_refuse(raw: bytes, reason: str) -> None:
    rejection = Atr.from_bytes(raw).rejection
    assert rejection is not None
    assert rejection.startswith(reason)


def test_every_shortening_flip_of_tck_and_surplus_is_refused() -> None:
    whole = with_tck("3B808001")
    Atr.from_bytes(whole)
    for raw in (whole[:-1], whole + b"\0", whole[:-1] + bytes((whole[-1] ^ 1,)), CARD + b"\0", b"\x3a" + CARD[1:]):
        with pytest.raises(AtrDecodingError) as caught:
            Atr.from_bytes(raw)
        assert caught.value.failure == "CARD_UNSUPPORTED"
    for length in range(len(CARD)):
        with pytest.raises(AtrDecodingError):
            Atr.from_bytes(CARD[:length])


@given(st.binary(max_size=40) | st.binary(max_size=38).map(lambda tail: b"\x3b" + tail))
@settings(max_examples=200)
def test_outside_bytes(raw: bytes) -> None:
    try:
        atr = Atr.from_bytes(raw)
    except AtrDecodingError:
        return
    assert atr.raw == raw
    assert len(raw) <= 33
    assert len(atr.historical_bytes) == raw[1] & 0x0F
