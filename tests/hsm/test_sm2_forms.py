"""Written forms of SM2 keys, signatures and ciphertexts: every parser of outside bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm.api import BadInputError
from hsm.primitives import (
    AuthenticationFailed,
    c1c2c3_to_c1c3c2,
    c1c3c2_to_c1c2c3,
    ciphertext_from_der,
    ciphertext_to_der,
    compress,
    decompress,
    engines,
    known_answers,
    signature_from_der,
    signature_to_der,
)

PUBLIC = known_answers._PUBLIC
signatures = st.binary(min_size=64, max_size=64)
ciphertexts = st.binary(min_size=97, max_size=400).map(lambda tail: b"\x04" + tail)


@settings(max_examples=100)
@given(signatures)
def test_signature_round_trip(signature: bytes) -> None:
    der = signature_to_der(signature)
    assert signature_from_der(der) == signature
    for end in range(len(der)):
        with pytest.raises(BadInputError):
            signature_from_der(der[:end])
    with pytest.raises(BadInputError):
        signature_from_der(der + b"\0")


@settings(max_examples=60)
@given(ciphertexts)
def test_ciphertext_round_trips(ciphertext: bytes) -> None:
    der = ciphertext_to_der(ciphertext)
    assert ciphertext_from_der(der) == ciphertext
    assert c1c2c3_to_c1c3c2(c1c3c2_to_c1c2c3(ciphertext)) == ciphertext
    for end in {0, 1, 2, 5, len(der) // 2, len(der) - 1}:
        with pytest.raises(AuthenticationFailed):
            ciphertext_from_der(der[:end])


@settings(max_examples=100)
@given(st.binary(max_size=150))
def test_parsers_fail_with_their_own_errors_only(data: bytes) -> None:
    for parser, error in (
        (signature_from_der, BadInputError),
        (ciphertext_from_der, AuthenticationFailed),
        (decompress, BadInputError),
        (c1c3c2_to_c1c2c3, AuthenticationFailed),
    ):
        try:
            parser(data)
        except error:
            continue


@pytest.mark.parametrize(
    "der",
    [
        "3006020101020100FF",
        "3006020101020180",
        "30060281010102 01",
        "3080020101020101",
        "30820006020101020101",
        "300702020001020101",
        "31060201010201 01",
        "3008020101020101 0500",
        "3045022101" + "00" * 32 + "02200" + "1" * 63,
    ],
)
def test_signature_der_is_strict(der: str) -> None:
    with pytest.raises(BadInputError):
        signature_from_der(bytes.fromhex(der))


def test_compression() -> None:
    assert decompress(compress(PUBLIC)) == PUBLIC
    for _ in range(8):
        _, public = engines()[-1].sm2_generate()
        assert decompress(compress(public)) == public
    with pytest.raises(BadInputError):
        compress(PUBLIC[:-1] + bytes((PUBLIC[-1] ^ 1,)))


@pytest.mark.parametrize("prefix", [b"", b"\x04", b"\x05"])
def test_decompress_refuses(prefix: bytes) -> None:
    with pytest.raises(BadInputError):
        decompress(prefix + PUBLIC[1:33])


def test_decompress_refuses_x_without_a_point() -> None:
    refused = 0
    for x in range(40):
        try:
            decompress(b"\x02" + x.to_bytes(32))
        except BadInputError:
            refused += 1
    assert 5 < refused < 35
