"""Authenticated encryption of data at rest under a device's key.

Key and nonce of each message come from the device's key by a counter-mode KDF (NIST SP 800-108, 4.1) over CMAC with a
16-byte random salt: random 12-byte nonces under one key would have to be counted against collision once every field of
a hundred million holders is sealed with it. The message itself is sealed in this process with SM4-GCM.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from hsm.device import DeviceKey
from hsm.primitives import AuthenticationFailed, Engine

_VERSION: Final = b"\x02"
_SALT: Final = 16
_TAG: Final = 16
_START: Final = len(_VERSION) + _SALT
_SEAL_LABEL, _INDEX_LABEL = b"onecard seal", b"onecard index"
_RB: Final = {8: 0x1B, 16: 0x87}


def seal(engine: Engine, key: DeviceKey, plaintext: bytes, context: bytes) -> bytes:
    """Version, salt, ciphertext, tag; `context` is bound, not stored."""
    salt = secrets.token_bytes(_SALT)
    derived = derived_key(key, _SEAL_LABEL, salt, 28)
    return _VERSION + salt + engine.sm4_gcm_seal(derived[:16], derived[16:], plaintext, context)


def unseal(engine: Engine, key: DeviceKey, sealed: bytes, context: bytes) -> bytes:
    """Raises AuthenticationFailed."""
    if len(sealed) < _START + _TAG or sealed[: len(_VERSION)] != _VERSION:
        raise AuthenticationFailed("sealed data does not verify")
    derived = derived_key(key, _SEAL_LABEL, sealed[len(_VERSION) : _START], 28)
    return engine.sm4_gcm_open(derived[:16], derived[16:], sealed[_START:], context)


def indices(engine: Engine, key: DeviceKey, values: Sequence[bytes]) -> list[bytes]:
    """32-byte keyed SM3 of each."""
    derived = derived_key(key, _INDEX_LABEL, b"", 32)
    return [engine.hmac_sm3(derived, value) for value in values]


def derived_key(key: DeviceKey, label: bytes, context: bytes, length: int) -> bytes:
    """SP 800-108 in counter mode: CMAC(K, [i]32 || label || 00 || context || [L]32)."""
    fixed = label + b"\0" + context + (8 * length).to_bytes(4, "big")
    size = 16 if key.algorithm == "SM4" else 8
    counters = range(1, -(-length // size) + 1)
    return b"".join(key.cmacs([number.to_bytes(4, "big") + fixed for number in counters]))[:length]


def composed_cmacs(key: DeviceKey, messages: Sequence[bytes]) -> list[bytes]:
    """CMAC of each over the key's block cipher (NIST SP 800-38B; GB/T 15852.1 algorithm 5), for devices without it."""
    size, subkeys = _subkeys(key)
    return [_cmac(key, size, subkeys, message) for message in messages]


def _subkeys(key: DeviceKey) -> tuple[int, tuple[bytes, bytes]]:
    size = 16 if key.algorithm == "SM4" else 8
    first = _doubled(key.ecb(bytes(size)))
    return size, (first, _doubled(first))


def _cmac(key: DeviceKey, size: int, subkeys: tuple[bytes, bytes], message: bytes) -> bytes:
    is_whole = bool(message) and len(message) % size == 0
    padded = message if is_whole else message + b"\x80" + bytes(-(len(message) + 1) % size)
    mask = int.from_bytes(subkeys[0 if is_whole else 1], "big")
    last = (int.from_bytes(padded[-size:], "big") ^ mask).to_bytes(size, "big")
    return key.cbc(bytes(size), padded[:-size] + last)[-size:]


def _doubled(block: bytes) -> bytes:
    value = int.from_bytes(block, "big") << 1
    bits = 8 * len(block)
    if value >> bits:
        value = (value & ((1 << bits) - 1)) ^ _RB[len(block)]
    return value.to_bytes(len(block), "big")
