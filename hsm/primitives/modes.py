"""Modes of operation composed from a block cipher, for engines whose library has only the bare cipher.

A cipher is given as its ECB function (`bytes -> bytes`, whole blocks). GCM as NIST SP 800-38D, CMAC as SP 800-38B
(GB/T 15852.1 algorithm 5).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from hsm.primitives.engine import GCM_TAG, AuthenticationFailed

Block = Callable[[bytes], bytes]

_CMAC_FEEDBACK = {8: 0x1B, 16: 0x87}
_GHASH_REDUCTION = 0xE1 << 120


def xor(left: bytes, right: bytes) -> bytes:
    """Bytewise exclusive or of two strings of equal length."""
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(len(left))


def cbc_encrypt(block: Block, iv: bytes, data: bytes) -> bytes:
    """CBC without padding."""
    size, out, chain = len(iv), [], iv
    for at in range(0, len(data), size):
        chain = block(xor(data[at : at + size], chain))
        out.append(chain)
    return b"".join(out)


def cbc_decrypt(unblock: Block, iv: bytes, data: bytes) -> bytes:
    """Inverse of `cbc_encrypt`; `unblock` decrypts."""
    return xor(unblock(data), (iv + data)[: len(data)]) if data else b""


def ctr(block: Block, counter: bytes, data: bytes, *, counter_bits: int = 128) -> bytes:
    """Counter mode; the low `counter_bits` of the counter block are counted up, the rest stays."""
    size = len(counter)
    blocks = -(-len(data) // size)
    start = int.from_bytes(counter)
    mask = (1 << counter_bits) - 1
    fixed = start & ~mask
    stream = block(b"".join((fixed | ((start + i) & mask)).to_bytes(size) for i in range(blocks)))
    return xor(data, stream[: len(data)])


def cmac(block: Block, size: int, data: bytes) -> bytes:
    """CMAC over a cipher of `size` bytes (8 or 16)."""
    subkey = _double(block(bytes(size)), size)
    if data and len(data) % size == 0:
        head, last = data[:-size], data[-size:]
    else:
        cut = len(data) - len(data) % size
        head, last = data[:cut], (data[cut:] + b"\x80").ljust(size, b"\0")
        subkey = _double(subkey, size)
    chain = bytes(size)
    for at in range(0, len(head), size):
        chain = block(xor(head[at : at + size], chain))
    return block(xor(xor(last, chain), subkey))


def gcm_seal(block: Block, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Ciphertext || 16-byte tag."""
    subkey, first = _gcm_start(block, nonce)
    ciphertext = _gcm_stream(block, first, plaintext)
    return ciphertext + _gcm_tag(block, subkey, first, ciphertext, aad)


def gcm_open(block: Block, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Plaintext of `gcm_seal`; the tag is checked before anything is decrypted."""
    if len(sealed) < GCM_TAG:
        raise AuthenticationFailed("sealed data is shorter than its tag")
    ciphertext, tag = sealed[:-GCM_TAG], sealed[-GCM_TAG:]
    subkey, first = _gcm_start(block, nonce)
    if not hmac.compare_digest(_gcm_tag(block, subkey, first, ciphertext, aad), tag):
        raise AuthenticationFailed("sealed data does not verify")
    return _gcm_stream(block, first, ciphertext)


def _gcm_start(block: Block, nonce: bytes) -> tuple[int, bytes]:
    subkey = int.from_bytes(block(bytes(16)))
    if len(nonce) == 12:
        return subkey, nonce + b"\0\0\0\1"
    return subkey, _ghash(subkey, _pad(nonce) + (8 * len(nonce)).to_bytes(16))


def _gcm_stream(block: Block, first: bytes, data: bytes) -> bytes:
    counter = (int.from_bytes(first[12:]) + 1) & 0xFFFFFFFF
    return ctr(block, first[:12] + counter.to_bytes(4), data, counter_bits=32)


def _gcm_tag(block: Block, subkey: int, first: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    lengths = (8 * len(aad)).to_bytes(8) + (8 * len(ciphertext)).to_bytes(8)
    return xor(_ghash(subkey, _pad(aad) + _pad(ciphertext) + lengths), block(first))


def _ghash(subkey: int, data: bytes) -> bytes:
    # One multiplication by the subkey per block; a table of its 128 shifts spares the inner reductions.
    shifts, value = [], subkey
    for _ in range(128):
        shifts.append(value)
        value = (value >> 1) ^ (_GHASH_REDUCTION if value & 1 else 0)
    total = 0
    for at in range(0, len(data), 16):
        total ^= int.from_bytes(data[at : at + 16])
        product, bit = 0, 127
        while total:
            if total >> bit & 1:
                product ^= shifts[127 - bit]
                total ^= 1 << bit
            bit -= 1
        total = product
    return total.to_bytes(16)


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 16)


def _double(value: bytes, size: int) -> bytes:
    number = int.from_bytes(value) << 1
    if number >> (8 * size):
        number = (number ^ _CMAC_FEEDBACK[size]) & ((1 << (8 * size)) - 1)
    return number.to_bytes(size)
