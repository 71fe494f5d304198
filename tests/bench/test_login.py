"""What the log-in bench says of its figures; the log-ins themselves run in tests/issuance/unmodified."""

from __future__ import annotations

from bench.login import MEMORY, POSTGRESQL, SQLITE, LoginResult, Provider, StepCost, Wake


def provider(page_ms: float, phone_ms: float) -> Provider:
    steps = [StepCost("页", "page", page_ms, False), StepCost("手机", "phone", phone_ms, True)]
    return Provider(10.0, page_ms + phone_ms, page_ms, 0.5, steps)


def test_the_phone_counts_for_the_whole_only_and_each_is_compared_on_its_own_database() -> None:
    ours = {SQLITE: provider(10.0, 20.0), POSTGRESQL: provider(8.0, 20.0)}
    peer = {MEMORY: provider(5.0, 0.0), POSTGRESQL: provider(6.0, 0.0)}
    result = LoginResult(ours, peer, {POSTGRESQL: (8.0, 4.0)}, [Wake(200, 60.0, 90.0)])
    assert (result.ratio, result.alone_ratio, result.memory_ratio) == (0.75, 0.5, 0.5)
    assert result.to_json()["ours"][SQLITE]["steps"][1]["is_phone"]
    assert "✗" in str(result.tables()[1])
    assert "p95 90 ms" in str(result.tables()[3])


def test_without_postgresql_what_both_keep_durably_is_not_compared() -> None:
    result = LoginResult({SQLITE: provider(10.0, 20.0)}, {MEMORY: provider(5.0, 0.0)}, {}, [])
    assert result.ratio is None
    assert "PostgreSQL is not installed" in str(result.tables()[1])
