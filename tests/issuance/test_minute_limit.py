"""What is counted a minute: forgotten when the minute is over, and never more than so many names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from issuance.audit.refusals import MAX_NAMES, MinuteLimit

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def test_each_name_has_its_own_minute() -> None:
    limit = MinuteLimit(2)
    assert [limit.allows("a", NOW) for _ in range(3)] == [True, True, False]
    assert limit.allows("b", NOW)
    assert not limit.allows("a", NOW + timedelta(seconds=59))
    assert limit.allows("a", NOW + timedelta(seconds=60))


def test_names_are_forgotten_after_their_minute() -> None:
    limit = MinuteLimit(1)
    for number in range(100):
        limit.allows(f"early {number}", NOW)
    limit.allows("renewed", NOW)
    limit.allows("renewed", NOW + timedelta(seconds=60))
    limit.allows("late", NOW + timedelta(seconds=61))
    assert limit.names == 2
    assert not limit.allows("renewed", NOW + timedelta(seconds=100)), "its second minute is not over"


def test_a_flood_of_names_takes_no_more_memory_and_keeps_the_newest() -> None:
    limit = MinuteLimit(1)
    for number in range(2 * MAX_NAMES):
        limit.allows(str(number), NOW)
    assert limit.names == MAX_NAMES
    assert not limit.allows(str(2 * MAX_NAMES - 1), NOW)
