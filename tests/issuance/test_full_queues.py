"""A full queue is not counted again at once; every other one is."""

from __future__ import annotations

from datetime import timedelta

from issuance.supervision.full import FULL_FOR, MOST_COUNTED, FullQueues
from issuance.supervision.schemas import Queue
from tests.issuance.conftest import START

MINE, OTHERS = ("11", ""), ("11", "1/2/")
FULL, SHORT = (MOST_COUNTED + 1, START), (MOST_COUNTED, START)


def test_only_full_queues_are_kept_and_not_for_long() -> None:
    kept = FullQueues()
    kept.keep(MINE, {Queue.STUCK: FULL, Queue.FOUND: SHORT}, START)
    assert kept.known(MINE, START) == {Queue.STUCK: FULL}
    assert kept.known(OTHERS, START) == {}
    assert kept.known(MINE, START + FULL_FOR) == {}
    assert kept.known(MINE, START - timedelta(seconds=1)) == {}


def test_looking_does_not_make_it_last() -> None:
    kept = FullQueues()
    kept.keep(MINE, {Queue.STUCK: FULL}, START)
    later = START + FULL_FOR / 2
    kept.keep(MINE, kept.known(MINE, later), later)
    assert kept.known(MINE, START + FULL_FOR) == {}
