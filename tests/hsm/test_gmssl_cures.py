"""Each fault of gmssl, shown on gmssl itself and cured in the portable engine."""

from __future__ import annotations

import random

import pytest
from gmssl import func
from gmssl.sm2 import CryptSM2

from hsm.primitives import AuthenticationFailed, c1c3c2_to_c1c2c3, portable, portable_engine, sm2_forms
from hsm.primitives.known_answers import _CIPHERTEXT, _PLAINTEXT, _PRIVATE, _PUBLIC
from hsm.primitives.sm2_forms import GX, GY, N, P

ENGINE = portable_engine()
GENERATOR = b"\x04" + GX.to_bytes(32) + GY.to_bytes(32)


def gmssl(private: bytes = _PRIVATE, public: bytes = _PUBLIC) -> CryptSM2:
    return CryptSM2(private_key=private.hex(), public_key=public[1:].hex(), mode=1)


def test_nonces_are_not_predictable() -> None:
    def seeded(action):
        random.seed(7)
        return action()

    assert seeded(lambda: func.random_hex(64)) == seeded(lambda: func.random_hex(64))
    assert seeded(lambda: gmssl().sign_with_sm3(b"m")) == seeded(lambda: gmssl().sign_with_sm3(b"m"))
    assert seeded(lambda: ENGINE.sm2_sign(_PRIVATE, b"m")) != seeded(lambda: ENGINE.sm2_sign(_PRIVATE, b"m"))
    assert seeded(lambda: ENGINE.sm2_encrypt(_PUBLIC, b"m")) != seeded(lambda: ENGINE.sm2_encrypt(_PUBLIC, b"m"))
    assert seeded(ENGINE.sm2_generate) != seeded(ENGINE.sm2_generate)


def test_public_keys_that_begin_with_the_prefix_digits() -> None:
    """gmssl strips every leading 0 and 4, not one prefix: X = 04… and X = 4…, 0… come out short."""
    c1 = _CIPHERTEXT[:65]
    assert c1[:2] == b"\x04\x04"
    assert len(CryptSM2(private_key="", public_key=c1.hex()).public_key) < 128
    private = next(number for number in range(1, 400) if _point(number)[1] in (0x04, 0x40, 0x44))
    key = private.to_bytes(32)
    public = ENGINE.sm2_public_key(key)
    assert ENGINE.sm2_verify(public, b"m", ENGINE.sm2_sign(key, b"m"))
    assert ENGINE.sm2_decrypt(key, ENGINE.sm2_encrypt(public, b"m")) == b"m"


def _point(number: int) -> bytes:
    return b"\x04" + portable._times(number, portable._GENERATOR)


def test_decrypt_compares_c3() -> None:
    changed = _CIPHERTEXT[:-1] + bytes((_CIPHERTEXT[-1] ^ 1,))
    assert gmssl().decrypt(changed[1:]) != _PLAINTEXT
    with pytest.raises(AuthenticationFailed):
        ENGINE.sm2_decrypt(_PRIVATE, changed)


def test_decrypt_refuses_points_off_the_curve() -> None:
    """A point of another curve makes the shared secret leak the private key, also with a C3 that fits."""
    off = b"\x04" + bytes(31) + b"\x05" + bytes(31) + b"\x07"
    assert not sm2_forms.is_on_curve(5, 7)
    shared = bytes.fromhex(gmssl()._kg(int.from_bytes(_PRIVATE), off[1:].hex()))
    plaintext = b"m"
    c2 = bytes((plaintext[0] ^ portable._kdf(shared, 1)[0],))
    forged = off + portable._c3(shared, plaintext) + c2
    assert gmssl().decrypt(forged[1:]) == plaintext
    with pytest.raises(AuthenticationFailed):
        ENGINE.sm2_decrypt(_PRIVATE, forged)


def test_verify_checks_the_range_of_r_and_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """s + n verifies like s in gmssl, so one signature has many spellings."""
    signer = gmssl()
    # Only an s below 2^256 - n has a second spelling. Chosen first, with the digest that makes it fit.
    r, s = 1, 5
    point = portable._add(portable._times(s, portable._GENERATOR), portable._times(r + s, _PUBLIC[1:].hex()))
    assert point is not None
    digest = ((r - int.from_bytes(point[:32])) % N).to_bytes(32)
    good, spelled = f"{r:064x}{s:064x}", f"{r:064x}{s + N:064x}"
    assert signer.verify(good, digest)
    assert signer.verify(spelled, digest)
    monkeypatch.setattr(portable, "_message_digest", lambda *_: digest)
    assert ENGINE.sm2_verify(_PUBLIC, b"", bytes.fromhex(good))
    assert not ENGINE.sm2_verify(_PUBLIC, b"", bytes.fromhex(spelled))


def test_verify_where_both_points_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """sG = tP, made by t = s / d and r = t - s: gmssl forgets to normalise the doubled point."""
    s = 12345
    d = int.from_bytes(_PRIVATE)
    t = s * pow(d, -1, N) % N
    r = (t - s) % N
    doubled = portable._times(2 * s, portable._GENERATOR)
    digest = ((r - int.from_bytes(doubled[:32])) % N).to_bytes(32)
    signature = r.to_bytes(32) + s.to_bytes(32)
    assert not gmssl().verify(signature.hex(), digest)
    monkeypatch.setattr(portable, "_message_digest", lambda *_: digest)
    assert ENGINE.sm2_verify(_PUBLIC, b"", signature)


def test_verify_where_both_points_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    """sG = -tP: gmssl ends in a TypeError, which a stranger could provoke."""
    s = 12345
    t = -s * pow(int.from_bytes(_PRIVATE), -1, N) % N
    signature = ((t - s) % N).to_bytes(32) + s.to_bytes(32)
    with pytest.raises(TypeError):
        gmssl().verify(signature.hex(), bytes(32))
    monkeypatch.setattr(portable, "_message_digest", lambda *_: bytes(32))
    assert not ENGINE.sm2_verify(_PUBLIC, b"", signature)


def test_encrypt_never_returns_none() -> None:
    """The key stream of one byte is zero once in 256 times; gmssl then returns None instead of trying again."""
    random.seed(1)
    tries = (gmssl().encrypt(b"m") for _ in range(700))
    assert any(result is None for result in tries)


def test_encrypt_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = iter([b"\0", b"\0", b"\x5a"])
    monkeypatch.setattr(portable, "_kdf", lambda *_: next(streams))
    assert ENGINE.sm2_encrypt(_PUBLIC, b"\0")[-1:] == b"\x5a"
    assert next(streams, None) is None


def test_layout_and_user_id_are_explicit() -> None:
    ours = ENGINE.sm2_encrypt(_PUBLIC, b"layout")
    old_layout = CryptSM2(private_key=_PRIVATE.hex(), public_key="", mode=0)
    assert ours[0] == 4
    assert old_layout.decrypt(c1c3c2_to_c1c2c3(ours)[1:]) == b"layout"
    other = ENGINE.sm2_sign(_PRIVATE, b"m", user_id=b"another id")
    assert not gmssl().verify_with_sm3(other.hex(), b"m")
    assert ENGINE.sm2_verify(_PUBLIC, b"m", other, user_id=b"another id")
    assert P > N
