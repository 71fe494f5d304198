"""The short form of the production bench: exact in every stage, balanced at the end."""

from __future__ import annotations

import json

from bench import production


def test_a_small_batch_end_to_end() -> None:
    result = production.measure(people=2000, engines=("sqlite",))
    (engine,) = result.engines
    assert [row.stage for row in engine.rows] == [
        "roster in",
        *(f"{stage} {way}" for stage in ("bank", "ca", "factory", "keys") for way in ("out", "in")),
        "hand-out",
    ]
    assert engine.is_met, engine
    assert sum(row.bad for row in engine.rows) == sum(row.refused for row in engine.rows) > 0
    assert engine.handed_out == 2000 - sum(row.bad for row in engine.rows)
    json.dumps(result.to_json())
    assert result.tables()
