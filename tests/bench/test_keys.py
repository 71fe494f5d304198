"""The key service under measurement and under load, in short: every backend, every answer compared."""

from __future__ import annotations

import time

import pytest

from bench import key_operations, soak
from bench.key_backends import BACKENDS, Stand
from hsm.api import BadInputError
from hsm.device import DeviceLostError


def test_every_operation_stands_beside_the_bare_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_operations, "BATCH", 4)
    monkeypatch.setattr(key_operations, "BIG", 1 << 20)
    result = key_operations.measure(rounds=2, slot_s=0.0005, sm4_rounds=500, speed_s=1)
    found = {(row.backend, row.operation, row.algorithm) for row in result.operations}
    for backend, algorithms in {"soft": ("SM4", "3DES"), "remote": ("SM4", "3DES")}.items():
        for algorithm in algorithms:
            for operation in (key_operations.MAC, key_operations.DIVERSIFICATION, key_operations.AUTHENTICATION):
                assert (backend, operation, algorithm) in found
        assert (backend, key_operations.SIGNATURE, "SM2") in found
    assert {row.backend for row in result.operations} == set(BACKENDS) - {text.split(":")[0] for text in result.skipped}
    judged = {(row.backend, row.operation, row.algorithm) for row in result.operations if row.is_met is not None}
    assert judged == {("soft", "MAC", "SM4"), ("soft", "diversification", "SM4")}
    assert {row.what_en for row in result.figures} == {"sign", "verify", "rounds", "two threads"}
    assert all(row.per_s > 0 and row.bare_per_s > 0 for row in result.operations)
    shown = result.tables()
    assert len(shown) == 2 + len(result.skipped)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_machine_lost_under_load_loses_nothing(backend: str) -> None:
    result = soak.measure(seconds=2, threads=64, only=(backend,))
    if result.skipped:
        pytest.skip(result.skipped[0])
    (row,) = result.rows
    assert (row.wrong, row.failed) == (0, {})
    assert row.is_met
    assert row.calls > 64
    assert row.lost_machines > 0 or backend == "soft"
    assert (row.asked_again > 0) == (backend == "remote")


def stand(**change: object) -> Stand:
    parts = {"name": "soft", "service": None, "algorithms": frozenset(), "has_spare": True} | change
    return Stand(lose=lambda: None, restore=lambda: None, **parts)  # type: ignore[arg-type]


def run(check: soak.Check, **change: object) -> soak.SoakRow:
    return soak._soaked(stand(**change), ([check], []), 0.3, 4)


def test_the_soak_notices() -> None:
    """Wrong answers, errors and outages a spare should have covered."""

    def slow(answer: bool) -> bool:
        time.sleep(0.001)
        return answer

    def broken() -> bool:
        raise BadInputError("x")

    turns = iter(range(10**6))

    def outage() -> bool:
        if next(turns) % 5 == 0:
            raise DeviceLostError("x")
        return slow(True)

    assert run(lambda: slow(True)).is_met
    assert run(lambda: slow(False)).wrong > 0
    assert not run(lambda: slow(False)).is_met
    failed = run(broken)
    assert set(failed.failed) == {"BadInputError"}
    assert not failed.is_met
    assert not run(outage).is_met
    again = run(outage, has_spare=False)
    assert again.is_met
    assert again.asked_again > 0
    assert not run(lambda: slow(True), has_spare=False).is_met, "the loss had no effect"
