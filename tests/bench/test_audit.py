"""The short form of the audit bench: intact, and every proof within the logarithm."""

from __future__ import annotations

import json

from bench import audit


def test_a_small_log() -> None:
    result = audit.measure(entries=3000)
    assert result.is_met, result
    assert [row.size for row in result.proofs] == [300, 300, 3000]
    assert result.proofs[-1].inclusion == 12
    json.dumps(result.to_json())
    assert result.tables()
