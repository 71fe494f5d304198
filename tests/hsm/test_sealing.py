"""CMAC and the counter-mode KDF over a device's key, against other implementations."""

from __future__ import annotations

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm import sealing
from hsm.api import Algorithm
from hsm.primitives import AuthenticationFailed, default_engine
from hsm.soft_device import SoftKey

ENGINE = default_engine()
SM4_KEY = SoftKey(ENGINE, Algorithm.SM4, bytes(range(16)))
DES_KEY = SoftKey(ENGINE, Algorithm.TDES, bytes(range(16)))


@settings(max_examples=60)
@given(message=st.binary(max_size=70))
def test_cmac_equals_other_code(message: bytes) -> None:
    whole = [message, message[:16]]
    assert sealing.composed_cmacs(SM4_KEY, whole) == SM4_KEY.cmacs(whole)
    assert SM4_KEY.cmacs([message]) == [ENGINE.sm4_cmac(SM4_KEY.value, message)]
    other = CMAC(TripleDES(DES_KEY.value + DES_KEY.value[:8]))
    other.update(message)
    assert DES_KEY.cmacs([message]) == [other.finalize()]


def test_derived_keys_follow_sp_800_108() -> None:
    """Blocks are CMACs over counter, label, zero, context and length, as the text of 4.1 puts them together."""
    fixed = b"label\0context" + (8 * 20).to_bytes(4, "big")
    blocks = [ENGINE.sm4_cmac(SM4_KEY.value, n.to_bytes(4, "big") + fixed) for n in (1, 2)]
    assert sealing.derived_key(SM4_KEY, b"label", b"context", 20) == (blocks[0] + blocks[1])[:20]
    assert sealing.derived_key(SM4_KEY, b"label", b"context", 21) != (blocks[0] + blocks[1])[:21]


@settings(max_examples=60)
@given(data=st.binary(max_size=90))
def test_anything_that_was_not_sealed_is_refused(data: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        sealing.unseal(ENGINE, DES_KEY, data, b"")
    assert sealing.unseal(ENGINE, DES_KEY, sealing.seal(ENGINE, DES_KEY, data, b"c"), b"c") == data
