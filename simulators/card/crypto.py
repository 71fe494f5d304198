"""The card's own cryptography (card_commands.md section 1), over raw block ciphers of the portable engine.

Hosts compute the same values by other code on another engine, so an error here cannot cancel out there.
"""

from __future__ import annotations

import functools
import hmac
from enum import IntEnum
from typing import Protocol


class Algorithm(IntEnum):
    """Algorithm byte of FCI tag 86 and of key records."""

    TRIPLE_DES = 0x00
    SM4 = 0x03

    @property
    def block(self) -> int:
        return 16 if self is Algorithm.SM4 else 8


class BlockCiphers(Protocol):
    """What is taken from `hsm.primitives`: single calls of raw block ciphers."""

    def sm4_ecb(self, key: bytes, data: bytes, *, decrypt: bool = False) -> bytes: ...

    def des_ecb(self, key: bytes, data: bytes, *, decrypt: bool = False) -> bytes: ...


@functools.cache
def _ciphers() -> BlockCiphers:
    from hsm.primitives import portable_engine

    return portable_engine()


def ecb(algorithm: Algorithm, key: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
    """Block by block; an 8-byte key under TRIPLE_DES is single DES."""
    if algorithm is Algorithm.SM4:
        return _ciphers().sm4_ecb(key, data, decrypt=decrypt)
    return _ciphers().des_ecb(key, data, decrypt=decrypt)


def diversify(algorithm: Algorithm, key: bytes, factor: bytes) -> bytes:
    """The key one level down, of the same length as `key` (draft P9 7.1.1, 7.2.1)."""
    if len(key) == 8:
        return ecb(algorithm, key, factor)
    return ecb(algorithm, key, factor + bytes(0xFF ^ b for b in factor))


def session_key(algorithm: Algorithm, key: bytes, random: bytes) -> bytes:
    """Process key of one challenge, 8 bytes in the DES environment and 16 in SM4 (draft P4 8.4)."""
    return ecb(algorithm, key, random.ljust(algorithm.block, b"\0"))


def authentication_value(algorithm: Algorithm, session: bytes, original: bytes) -> bytes:
    """Eight bytes over the original data (draft P4 9.3)."""
    value = ecb(algorithm, session, original.ljust(algorithm.block, b"\0"))
    return xor(value[:8], value[8:]) if algorithm is Algorithm.SM4 else value


def mac(algorithm: Algorithm, key: bytes, message: bytes, iv: bytes = b"") -> bytes:
    """Four bytes; the message is always padded with 80 00…, `iv` is filled with 00 (draft P4 8.2.4)."""
    size = algorithm.block
    padded = message + b"\x80"
    padded += bytes(-len(padded) % size)
    last = cbc_last_block(algorithm, key, padded, iv)
    return fold(last) if algorithm is Algorithm.SM4 else last[:4]


def cbc_last_block(algorithm: Algorithm, key: bytes, blocks: bytes, iv: bytes = b"") -> bytes:
    size = algorithm.block
    last = iv.ljust(size, b"\0")
    for start in range(0, len(blocks), size):
        last = ecb(algorithm, key, xor(last, blocks[start : start + size]))
    return last


def fold(block: bytes) -> bytes:
    """Exclusive or of the four words of a 16-byte block."""
    return xor(xor(block[:4], block[4:8]), xor(block[8:12], block[12:]))


def tac(algorithm: Algorithm, dtk: bytes, message: bytes) -> bytes:
    """Transaction authentication code; no session key is derived (draft P7 15)."""
    key = dtk if algorithm is Algorithm.SM4 else xor(dtk[:8], dtk[8:])
    return mac(algorithm, key, message)


def open_envelope(algorithm: Algorithm, key: bytes, cipher: bytes) -> bytes | None:
    """The plain text of LD || plain || padding; None when LD names more bytes than there are."""
    plain = ecb(algorithm, key, cipher, decrypt=True)
    length = plain[0]
    return plain[1 : 1 + length] if length < len(plain) else None


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def is_equal(a: bytes, b: bytes) -> bool:
    """Constant-time comparison."""
    return hmac.compare_digest(a, b)
