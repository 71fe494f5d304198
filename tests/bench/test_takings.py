"""The short form of `./onecard bench --only takings`: the books agree, and the figures are there."""

from __future__ import annotations

import json

from bench import takings


def test_a_small_city() -> None:
    found = takings.measure(gates=3, taps=10, busy=250)
    assert (found.taps, found.gates) == (310, 4)
    assert found.page_s > 0, "how soon is for quiet machines"
    json.dumps(found.to_json())
    assert found.tables()
