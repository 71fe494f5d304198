"""What the fast engine promises beside right answers: other threads go on while it computes, SM2 in constant time."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable

import pytest

from hsm.primitives import engines, libcrypto, portable_engine
from hsm.primitives.fast import FastEngine

BIG = bytes(16 << 20)
KEY = bytes(range(16))
BEAT_S = 0.002
TRIES = 5  # a busy machine wakes a thread late; one that cannot wake does so in none of them


@pytest.fixture(scope="module")
def fast() -> FastEngine:
    engine = engines()[-1]
    if not isinstance(engine, FastEngine):
        pytest.skip("no fast engine here")
    return engine


def beats_during(call: Callable[[], object]) -> tuple[int, float]:
    """How often another thread woke while `call` ran, and how long that took. With the lock held it cannot at all."""
    beats: list[float] = []
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(BEAT_S):
            beats.append(time.perf_counter())

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        started = time.perf_counter()
        call()
        ended = time.perf_counter()
    finally:
        is_over.set()
        thread.join()
    return sum(started < at < ended for at in beats), ended - started


@pytest.mark.parametrize(
    "call",
    [
        lambda e: e.sm4_ecb(KEY, BIG),
        lambda e: e.sm4_cbc(KEY, KEY, BIG),
        lambda e: e.sm4_ctr(KEY, KEY, BIG),
        lambda e: e.des_cbc(KEY, KEY[:8], BIG[: 8 << 20]),
        lambda e: e.sm3(BIG),
        lambda e: e.sm2_sign(KEY * 2, BIG),
    ],
    ids=["sm4-ecb", "sm4-cbc", "sm4-ctr", "3des-cbc", "sm3", "sm2-sign"],
)
def test_other_threads_run_meanwhile(fast: FastEngine, call: Callable[[FastEngine], object]) -> None:
    seen: list[str] = []
    for _ in range(TRIES):
        beats, seconds = beats_during(lambda: call(fast))
        if beats >= max(3, seconds / BEAT_S / 10):
            return
        seen.append(f"{beats} beats in {seconds:.3f} s")
    pytest.fail(", ".join(seen))


@pytest.mark.parametrize(
    ("version", "machine", "expected"),
    [
        (0x30000130, "x86_64", True),
        (0x30600010, "AMD64", True),
        (0x30000130, "aarch64", True),
        (0x30200000, "aarch64", False),
        (0x30500040, "arm64", False),
        (0x30600010, "riscv64", False),
    ],
)
def test_constant_time_is_claimed_where_openssl_keeps_it(
    fast: FastEngine, monkeypatch: pytest.MonkeyPatch, version: int, machine: str, expected: bool
) -> None:
    """The code OpenSSL 3.2 brought for SM2 on 64-bit ARM skips the zero nibbles of the private number."""
    library = libcrypto.load()
    monkeypatch.setattr(library, "version", version)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert library.is_constant_time is expected
    assert not portable_engine().is_constant_time
    assert fast.is_constant_time == libcrypto.load().is_constant_time
