"""What the log-in bench says of its figures; the log-ins themselves run in tests/issuance/unmodified."""

from __future__ import annotations

from bench.login import LoginResult, Provider, StepCost, Wake


def test_the_phone_counts_for_the_whole_only() -> None:
    ours = Provider(10.0, 30.0, 10.0, [StepCost("页", "page", 10.0, False), StepCost("手机", "phone", 20.0, True)])
    peer = Provider(50.0, 5.0, 5.0, [StepCost("页", "page", 5.0, False)])
    result = LoginResult(ours, peer, [Wake(200, 60.0, 90.0)])
    assert (result.ratio, result.whole_ratio) == (0.5, 0.167)
    assert result.to_json()["ours"]["steps"][1]["is_phone"]
    assert "✗" in str(result.tables()[1])
    assert "p95 90 ms" in str(result.tables()[2])
