"""Raw SM2, SM3, SM4 and DES behind one small interface with interchangeable engines.

    from hsm.primitives import default_engine
    default_engine().sm4_ecb(key, block)

`default_engine` is the fastest one that gave the known answers here; `portable_engine` needs no system library.
"""

from __future__ import annotations

from hsm.primitives.engine import (
    DEFAULT_USER_ID,
    AuthenticationFailed,
    Engine,
    EngineUnavailableError,
)
from hsm.primitives.selection import default_engine, engines, fast_engine, portable_engine
from hsm.primitives.sm2_forms import (
    c1c2c3_to_c1c3c2,
    c1c3c2_to_c1c2c3,
    ciphertext_from_der,
    ciphertext_to_der,
    compress,
    decompress,
    signature_from_der,
    signature_to_der,
)

__all__ = [
    "DEFAULT_USER_ID",
    "AuthenticationFailed",
    "Engine",
    "EngineUnavailableError",
    "c1c2c3_to_c1c3c2",
    "c1c3c2_to_c1c2c3",
    "ciphertext_from_der",
    "ciphertext_to_der",
    "compress",
    "decompress",
    "default_engine",
    "engines",
    "fast_engine",
    "portable_engine",
    "signature_from_der",
    "signature_to_der",
]
