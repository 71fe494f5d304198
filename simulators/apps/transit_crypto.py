"""The purse's own cryptography (transit_card.md section 3), on the raw ciphers the simulated card uses.

`algorithm` is the byte of INIT responses. SM4 follows the recommended reading of OPEN X3: session input filled with
00, MAC as exclusive or of the four words; the latter can be switched.
"""

from __future__ import annotations

from simulators.card import crypto
from simulators.card.crypto import Algorithm, is_equal

TRIPLE_DES, SM4 = 0x00, 0x04
SM4_CODES = (0x03, 0x04)


def cipher(algorithm: int) -> Algorithm:
    """The cipher of an algorithm byte; 03 is taken for SM4 too (OPEN X3)."""
    return Algorithm.SM4 if algorithm in SM4_CODES else Algorithm.TRIPLE_DES


def card_key(algorithm: int, root: bytes, *factors: bytes) -> bytes:
    """The root diversified in turn: by issuer id, then by the last 8 bytes of the serial."""
    for factor in factors:
        root = crypto.diversify(cipher(algorithm), root, factor)
    return root


def session_key(algorithm: int, key: bytes, seed: bytes) -> bytes:
    return crypto.session_key(cipher(algorithm), key, seed)


def mac(algorithm: int, key: bytes, message: bytes, *, is_folded: bool = True) -> bytes:
    """`is_folded` False takes the left four bytes of the last SM4 block instead, the other reading of OPEN X3."""
    if is_folded or cipher(algorithm) is Algorithm.TRIPLE_DES:
        return crypto.mac(cipher(algorithm), key, message)
    padded = message + b"\x80"
    return crypto.cbc_last_block(Algorithm.SM4, key, padded + bytes(-len(padded) % 16))[:4]


def tac(algorithm: int, dtk: bytes, message: bytes, *, is_folded: bool = True) -> bytes:
    if is_folded or cipher(algorithm) is Algorithm.TRIPLE_DES:
        return crypto.tac(cipher(algorithm), dtk, message)
    return mac(algorithm, dtk, message, is_folded=False)


def tac_of_blocks(algorithm: int, dtk: bytes, blocks: bytes) -> bytes:
    """As `tac`, over a message its sender has padded already."""
    if cipher(algorithm) is Algorithm.SM4:
        return crypto.fold(crypto.cbc_last_block(Algorithm.SM4, dtk, blocks))
    return crypto.cbc_last_block(Algorithm.TRIPLE_DES, crypto.xor(dtk[:8], dtk[8:]), blocks)[:4]


def secured_mac(algorithm: int, key: bytes, challenge: bytes, message: bytes) -> bytes:
    """MAC of a command under the maintenance key, IV = challenge filled with 00."""
    size = cipher(algorithm).block
    padded = message + b"\x80"
    return blocks_mac(algorithm, key, challenge.ljust(size, b"\0"), padded + bytes(-len(padded) % size))


def blocks_mac(algorithm: int, key: bytes, iv: bytes, blocks: bytes) -> bytes:
    """As `secured_mac` over whole blocks: 3DES chains with the left half and ends with right and left (JR/T 0025)."""
    if cipher(algorithm) is Algorithm.SM4:
        return crypto.fold(crypto.cbc_last_block(Algorithm.SM4, key, blocks, iv))
    last = crypto.cbc_last_block(Algorithm.TRIPLE_DES, key[:8], blocks, iv)
    last = crypto.ecb(Algorithm.TRIPLE_DES, key[8:], last, decrypt=True)
    return crypto.ecb(Algorithm.TRIPLE_DES, key[:8], last)[:4]


__all__ = ["blocks_mac", "card_key", "cipher", "is_equal", "mac", "secured_mac", "session_key", "tac", "tac_of_blocks"]
