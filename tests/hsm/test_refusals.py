"""What SM2 refuses, as one table: malformed points, numbers out of range, wrong ids, other layouts, DER cut short.

A signature that is not one is False, a bad key or input BadInputError, a bad ciphertext AuthenticationFailed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hsm.api import BadInputError
from hsm.primitives import (
    AuthenticationFailed,
    Engine,
    c1c3c2_to_c1c2c3,
    ciphertext_from_der,
    ciphertext_to_der,
    compress,
    engines,
    signature_from_der,
    signature_to_der,
)
from hsm.primitives.sm2_forms import GX, GY, N, P

P256_POINT = bytes.fromhex(
    "046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296"
    "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5"
)
ORDER, HIGHEST, ZERO, ONE = N.to_bytes(32), b"\xff" * 32, bytes(32), bytes(31) + b"\x01"
GENERATOR = b"\x04" + GX.to_bytes(32) + GY.to_bytes(32)


@dataclass(frozen=True)
class Good:
    """Things that work, to be spoilt; the same for both engines."""

    private: bytes
    public: bytes
    signature: bytes
    ciphertext: bytes

    @property
    def r(self) -> bytes:
        return self.signature[:32]

    @property
    def s(self) -> bytes:
        return self.signature[32:]


@pytest.fixture(scope="module")
def good() -> Good:
    engine = engines()[-1]
    private, public = engine.sm2_generate()
    return Good(private, public, engine.sm2_sign(private, b"m", user_id=b"id"), engine.sm2_encrypt(public, b"plain"))


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def plus_order(number: bytes) -> bytes:
    return ((int.from_bytes(number) + N) % (1 << 256)).to_bytes(32)


POINTS: dict[str, Callable[[Good], bytes]] = {
    "empty": lambda g: b"",
    "infinity": lambda g: b"\0",
    "one byte short": lambda g: g.public[:-1],
    "one byte long": lambda g: g.public + b"\0",
    "zero": lambda g: b"\x04" + bytes(64),
    "off the curve": lambda g: flipped(g.public, 64),
    "of another curve": lambda g: P256_POINT,
    "x not reduced": lambda g: b"\x04" + P.to_bytes(32) + g.public[33:],
    "y not reduced": lambda g: b"\x04" + g.public[1:33] + HIGHEST,
    "without its 04": lambda g: g.public[1:],
    "hybrid form": lambda g: bytes((6 + (g.public[-1] & 1),)) + g.public[1:],
    "compressed": lambda g: compress(g.public),
}
SIGNATURES: dict[str, Callable[[Good], bytes]] = {
    "empty": lambda g: b"",
    "one byte short": lambda g: g.signature[:-1],
    "one byte long": lambda g: g.signature + b"\0",
    "r zero": lambda g: ZERO + g.s,
    "s zero": lambda g: g.r + ZERO,
    "r is n": lambda g: ORDER + g.s,
    "s is n": lambda g: g.r + ORDER,
    "r above n": lambda g: plus_order(g.r) + g.s,
    "s above n": lambda g: g.r + plus_order(g.s),
    "r + s is n": lambda g: g.r + (N - int.from_bytes(g.r)).to_bytes(32),
    "halves exchanged": lambda g: g.s + g.r,
    "s negative": lambda g: g.r + (N - int.from_bytes(g.s)).to_bytes(32),
    "DER": lambda g: signature_to_der(g.signature),
    "r changed": lambda g: flipped(g.signature, 31),
    "s changed": lambda g: flipped(g.signature, 63),
}
CIPHERTEXTS: dict[str, Callable[[Good], bytes]] = {
    "empty": lambda g: b"",
    "C1 only": lambda g: g.ciphertext[:65],
    "no C2": lambda g: g.ciphertext[:97],
    "cut short": lambda g: g.ciphertext[:-1],
    "too long": lambda g: g.ciphertext + b"\0",
    "C1 at zero": lambda g: b"\x04" + bytes(64) + g.ciphertext[65:],
    "C1 off the curve": lambda g: flipped(g.ciphertext, 64),
    "C1 of another curve": lambda g: P256_POINT + g.ciphertext[65:],
    "C1 another point": lambda g: GENERATOR + g.ciphertext[65:],
    "C1 not reduced": lambda g: b"\x04" + HIGHEST + g.ciphertext[33:],
    "C1 compressed": lambda g: compress(g.ciphertext[:65]) + g.ciphertext[65:],
    "without its 04": lambda g: g.ciphertext[1:],
    "C3 changed": lambda g: flipped(g.ciphertext, 65),
    "C2 changed": lambda g: flipped(g.ciphertext, 97),
    "C1C2C3": lambda g: c1c3c2_to_c1c2c3(g.ciphertext),
    "DER": lambda g: ciphertext_to_der(g.ciphertext),
}
PRIVATE: dict[str, bytes] = {
    "zero": ZERO,
    "n - 1": (N - 1).to_bytes(32),
    "n": ORDER,
    "highest": HIGHEST,
    "short": ONE[1:],
    "long": b"\0" + ONE,
    "empty": b"",
}
USER_IDS = {"another": b"ie", "none": b"", "the default": b"1234567812345678", "longer": b"id\0"}


def test_what_is_spoilt_below_is_good(engine: Engine, good: Good) -> None:
    assert engine.sm2_verify(good.public, b"m", good.signature, user_id=b"id")
    assert engine.sm2_decrypt(good.private, good.ciphertext) == b"plain"
    assert not any(engine.sm2_verify(good.public, b"m", good.signature, user_id=wrong) for wrong in USER_IDS.values())
    assert not engine.sm2_verify(good.public, b"", good.signature, user_id=b"id")


@pytest.mark.parametrize("point", POINTS)
def test_points(engine: Engine, good: Good, point: str) -> None:
    for call in (
        lambda public: engine.sm2_verify(public, b"m", good.signature, user_id=b"id"),
        lambda public: engine.sm2_encrypt(public, b"m"),
    ):
        with pytest.raises(BadInputError):
            call(POINTS[point](good))


@pytest.mark.parametrize("signature", SIGNATURES)
def test_signatures(engine: Engine, good: Good, signature: str) -> None:
    assert engine.sm2_verify(good.public, b"m", SIGNATURES[signature](good), user_id=b"id") is False


@pytest.mark.parametrize("ciphertext", CIPHERTEXTS)
def test_ciphertexts(engine: Engine, good: Good, ciphertext: str) -> None:
    with pytest.raises(AuthenticationFailed):
        engine.sm2_decrypt(good.private, CIPHERTEXTS[ciphertext](good))


@pytest.mark.parametrize("private", PRIVATE)
def test_private_numbers(engine: Engine, good: Good, private: str) -> None:
    for call in (
        engine.sm2_public_key,
        lambda number: engine.sm2_sign(number, b"m"),
        lambda number: engine.sm2_decrypt(number, good.ciphertext),
    ):
        with pytest.raises(BadInputError) as refused:
            call(PRIVATE[private])
        assert repr(PRIVATE[private])[2:-1] not in str(refused.value) or not PRIVATE[private]


def test_other_inputs(engine: Engine, good: Good) -> None:
    for call in (
        lambda: engine.sm2_encrypt(good.public, b""),
        lambda: engine.sm2_sign(good.private, b"m", user_id=bytes(8192)),
        lambda: engine.sm2_verify(good.public, b"m", good.signature, user_id=bytes(8192)),
    ):
        with pytest.raises(BadInputError):
            call()


def test_der_cut_at_every_byte(good: Good) -> None:
    for der, parse, error in (
        (signature_to_der(good.signature), signature_from_der, BadInputError),
        (ciphertext_to_der(good.ciphertext), ciphertext_from_der, AuthenticationFailed),
    ):
        for wrong in [*(der[:end] for end in range(len(der))), der + b"\0", b"\x31" + der[1:]]:
            with pytest.raises(error):
                parse(wrong)
