"""The short form of `./onecard bench --only agent-insertions`."""

from __future__ import annotations

import asyncio

import pytest

from bench import insertions


def test_insertions_reads_and_replugged_readers_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insertions, "MOMENTS", (0.2, 1.0))
    done = asyncio.run(insertions.life(1_600))
    first, last = done.counts
    assert (last.insertions, done.reads, done.replugs) == (1_600, 20, 4)
    assert not last.exceeds(first), (first, last)  # fewer may be: another test's leavings end meanwhile
