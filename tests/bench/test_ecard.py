"""The measurement of codes runs and compares like with like; figures themselves are for quiet machines."""

from __future__ import annotations

import pytest

from bench import ecard


def test_offline_verification_stands_beside_two_bare_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ecard, "TRAVELLERS", 5)
    result = ecard.measure(rounds=5, slot_s=0.001, is_online=False)
    row = next(row for row in result.rows if row.peer == "2 × SM2")
    assert row.is_met == (row.ratio <= row.target == 1.15)
    assert row.ratio > 0.9
    assert "脱机核验" in str(result.to_json())
    assert result.tables()
