"""The samples the standards print, written out here, so that they are checked on every machine.

The example curve of GB/T 32918.2 is not one of ours: the engines know sm2p256v1 only, whose samples are in Part 5.
More vectors from elsewhere are in `test_sm2` and `test_symmetric`.
"""

from __future__ import annotations

import json
from functools import partial

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from hsm.primitives import Engine, modes, portable, portable_engine
from hsm.primitives.known_answers import _CIPHERTEXT, _MESSAGE, _PLAINTEXT, _PRIVATE, _PUBLIC, _SIGNATURE
from hsm.primitives.sm2_forms import z_input
from tests.hsm.test_symmetric import padded
from tests.hsm.vector_files import fields, third_party, unhex

SM4_KEY = unhex("0123456789ABCDEFFEDCBA9876543210")
NONCE = unhex("59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21")


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
        (b"abcd" * 16, "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
    ],
)
def test_gbt_32905(engine: Engine, message: bytes, digest: str) -> None:
    assert engine.sm3(message) == unhex(digest)


def test_gbt_32907(engine: Engine) -> None:
    """A.1; A.2 is the same block encrypted 1 000 000 times, which CBC over zeros does in one call. The portable engine
    goes a thousandth of the way, block by block; `onecard bench --only keys` goes all of it that way."""
    cipher = unhex("681EDF34D206965E86B3E94F536E4246")
    assert engine.sm4_ecb(SM4_KEY, SM4_KEY) == cipher
    assert engine.sm4_ecb(SM4_KEY, cipher, decrypt=True) == SM4_KEY
    block = SM4_KEY
    for _ in range(1000):
        block = engine.sm4_ecb(SM4_KEY, block)
    assert engine.sm4_cbc(SM4_KEY, SM4_KEY, bytes(16_000))[-16:] == block
    if engine.name == "fast":
        last = engine.sm4_cbc(SM4_KEY, SM4_KEY, bytes(16_000_000))[-16:]
        assert last == unhex("595298C7C6FD271F0402F804C33D3F66")


def test_gbt_32918_5_signature_and_encryption(engine: Engine) -> None:
    z = engine.sm3(z_input(_PUBLIC, b"1234567812345678"))
    assert z == unhex("B2E14C5C79C6DF5B85F4FE7ED8DB7A262B9DA7E07CCB0EA9F4747B8CCDA8A4F3")
    assert engine.sm3(z + _MESSAGE) == unhex("F0B43E94BA45ACCAACE692ED534382EB17E6AB5A19CE7B31F4486FDFC0D28640")
    assert engine.sm2_public_key(_PRIVATE) == _PUBLIC
    assert engine.sm2_verify(_PUBLIC, _MESSAGE, _SIGNATURE)
    assert engine.sm2_decrypt(_PRIVATE, _CIPHERTEXT) == _PLAINTEXT


def test_gbt_32918_5_with_its_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing and encrypting step by step; OpenSSL takes no nonce from outside."""
    monkeypatch.setattr(portable.secrets, "randbelow", lambda _: int.from_bytes(NONCE) - 1)
    assert portable_engine().sm2_sign(_PRIVATE, _MESSAGE) == _SIGNATURE
    assert portable_engine().sm2_encrypt(_PUBLIC, _PLAINTEXT) == _CIPHERTEXT


def test_gbt_15852_1_emac(engine: Engine) -> None:
    """Algorithm 2; 1 (CBC-MAC), 3 and 5 (CMAC) are in `test_symmetric`."""
    cases = json.loads(third_party("sm4/gbt15852_1_sm4_mac.json"))["tests"]["TestEMACWithPadding"]
    assert len(cases) == 5
    for case in cases:
        data = padded(case["newPaddingFunc"], unhex(case["src"]), 16)
        inner = engine.sm4_cbc(unhex(case["key1"]), bytes(16), data)[-16:]
        assert engine.sm4_ecb(unhex(case["key2"]), inner) == unhex(case["tag"])


def test_sp_800_67_three_keys(engine: Engine) -> None:
    key = unhex("0123456789ABCDEF23456789ABCDEF01456789ABCDEF0123")
    plain, cipher = b"The qufck brown fox jump", unhex("A826FD8CE53B855FCCE21C8112256FE668D5C05DD9B6B900")
    assert engine.des_ecb(key, plain) == cipher
    assert engine.des_ecb(key, cipher, decrypt=True) == plain


def test_sp_800_38b_triple_des(engine: Engine) -> None:
    """Example 1 to 4 with three keys."""
    block = partial(engine.des_ecb, unhex("8AA83BF8CBDA10620BC1BF19FBB6CD58BC313D4A371CA8B5"))
    message = unhex("6BC1BEE22E409F96E93D7E117393172AAE2D8A571E03AC9C9EB76FAC45AF8E51")
    for length, tag in ((0, "B7A688E122FFAF95"), (8, "8E8F293136283797"), (20, "743DDBE0CE2DC2ED")):
        assert modes.cmac(block, 8, message[:length]) == unhex(tag)


def test_sp_800_38b_aes() -> None:
    cases = list(fields("aes/nist-800-38b-aes128.txt"))
    assert len(cases) == 4
    for case in cases:
        cipher = Cipher(AES(unhex(case["key"])), ECB())
        tag = modes.cmac(lambda data, c=cipher: c.encryptor().update(data), 16, unhex(case.get("message", "")))
        assert tag == unhex(case["output"])
