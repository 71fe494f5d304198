"""The short form of `bench --only terminals`: what a fetch costs, and that an outage ends without a rush."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from apps_catalog.distribution.pace import Pace
from bench import terminals


def test_what_a_fetch_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    figures = terminals.measure(terminals=5, blocked=2000, workers=0)
    nothing, item, block_list, _ = figures.rounds
    assert [found.requests for found in figures.rounds] == [2, 7, 5, 2]
    assert nothing.bytes_mean <= 10_000
    assert max(found.connections for found in figures.rounds) == 1
    # The plain bundle comes whole for every change.
    assert item.bytes_mean < item.peer_bytes / 5
    assert block_list.bytes_mean < block_list.peer_bytes / 5
    assert figures.tables()
    assert figures.to_json()["terminals"] == 5


def test_a_thousand_terminals_come_back_without_a_rush() -> None:
    times = terminals.arrivals(Pace(), 1000, 3600, random.Random(1).random)
    assert len(times) == 1000
    assert max(Counter(map(int, times)).values()) <= 10
    assert 600 < times[500] < times[-1] <= 3750
