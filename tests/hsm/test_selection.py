"""Choice of engine, and the two engines against each other on random input."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm.primitives import (
    Engine,
    EngineUnavailableError,
    default_engine,
    engines,
    fast_engine,
    known_answers,
    libcrypto,
    portable_engine,
    selection,
)
from hsm.primitives.fast import FastEngine, FastSymmetric
from hsm.primitives.hybrid import HybridEngine
from hsm.primitives.portable import PortableEngine

blocks16 = st.binary(min_size=1, max_size=8).map(lambda seed: (seed * 16)[: 16 * len(seed)])
keys = st.binary(min_size=16, max_size=16)


@pytest.fixture
def fresh_choice():
    caches = (selection.fast_engine, selection.default_engine)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def test_engines_satisfy_the_protocol() -> None:
    for engine in engines():
        assert isinstance(engine, Engine)
    assert isinstance(HybridEngine(), Engine)


def test_known_answers_hold() -> None:
    for engine in [*engines(), HybridEngine()]:
        known_answers.check(engine)


@pytest.mark.parametrize(
    ("method", "algorithm"),
    [
        ("sm3", "SM3"),
        ("hmac_sm3", "HMAC-SM3"),
        ("sm4_ecb", "SM4"),
        ("sm4_gcm_seal", "SM4-GCM"),
        ("sm4_cmac", "SM4-CMAC"),
        ("des_retail_mac", "retail MAC"),
        ("sm2_sign", "SM2 signature"),
        ("sm2_encrypt", "SM2 encryption"),
    ],
)
def test_a_wrong_answer_is_noticed(method: str, algorithm: str) -> None:
    class Broken(PortableEngine):
        pass

    setattr(Broken, method, lambda *_, **__: bytes(120))
    with pytest.raises(EngineUnavailableError, match=algorithm):
        known_answers.check(Broken())


def test_default_is_fast_where_it_can_be() -> None:
    try:
        assert default_engine() is fast_engine()
    except EngineUnavailableError as error:
        pytest.skip(str(error))


def test_without_openssl_only_sm2_is_slow(
    fresh_choice: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(libcrypto, "_candidates", lambda: iter(["libcrypto-of-nowhere.so"]))
    with caplog.at_level(logging.INFO, "hsm.primitives.selection"):
        assert default_engine().name == "hybrid"
    assert "libcrypto-of-nowhere" in caplog.text
    assert [engine.name for engine in engines()] == ["portable"]


def test_a_raising_library_falls_back_to_portable(fresh_choice: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(FastSymmetric, "sm3", broken)
    assert default_engine() is portable_engine()


def test_libraries_that_will_not_do() -> None:
    with pytest.raises(EngineUnavailableError, match="no OpenSSL"):
        libcrypto.Libcrypto(SimpleNamespace())
    with pytest.raises(EngineUnavailableError, match="older"):
        libcrypto.Libcrypto(SimpleNamespace(OpenSSL_version_num=_number(0x1010117F)))
    with pytest.raises(EngineUnavailableError, match="lacks"):
        libcrypto.Libcrypto(SimpleNamespace(OpenSSL_version_num=_number(0x30000130)))


def _number(version: int):
    def version_num() -> int:
        return version

    return version_num


def fast() -> Engine:
    return engines()[-1]


@settings(max_examples=50)
@given(keys, keys, blocks16)
def test_block_modes_agree(key: bytes, iv: bytes, data: bytes) -> None:
    one, two = portable_engine(), fast()
    for decrypt in (False, True):
        assert one.sm4_ecb(key, data, decrypt=decrypt) == two.sm4_ecb(key, data, decrypt=decrypt)
        assert one.sm4_cbc(key, iv, data, decrypt=decrypt) == two.sm4_cbc(key, iv, data, decrypt=decrypt)
        for des in (key[:8], key, key + iv[:8], key[:8] * 2):
            assert one.des_ecb(des, data, decrypt=decrypt) == two.des_ecb(des, data, decrypt=decrypt)
            assert one.des_cbc(des, iv[:8], data, decrypt=decrypt) == two.des_cbc(des, iv[:8], data, decrypt=decrypt)
    assert one.des_retail_mac(key, data) == two.des_retail_mac(key, data)


@settings(max_examples=50)
@given(keys, st.binary(min_size=1, max_size=140), st.binary(max_size=70), st.binary(max_size=40))
def test_stream_modes_agree(key: bytes, nonce: bytes, data: bytes, aad: bytes) -> None:
    one, two = portable_engine(), fast()
    assert one.sm3(data) == two.sm3(data)
    assert one.hmac_sm3(nonce, data) == two.hmac_sm3(nonce, data)
    assert one.sm4_ctr(key, key[::-1], data) == two.sm4_ctr(key, key[::-1], data)
    assert one.sm4_cmac(key, data) == two.sm4_cmac(key, data)
    sealed = one.sm4_gcm_seal(key, nonce, data, aad)
    assert two.sm4_gcm_seal(key, nonce, data, aad) == sealed
    assert two.sm4_gcm_open(key, nonce, sealed, aad) == data


@settings(max_examples=30)
@given(keys, blocks16)
def test_retail_mac_without_the_bare_des_functions(key: bytes, data: bytes) -> None:
    if not isinstance(fast(), FastEngine):
        pytest.skip("no fast engine here")
    assert FastSymmetric().des_retail_mac(key, data) == fast().des_retail_mac(key, data)
