"""Store and forward, in short: real agent processes killed, a full disk, a line that loses and disorders."""

from __future__ import annotations

from bench import journal, journal_soak


def test_each_record_is_once_at_the_centre() -> None:
    """Without a network namespace, which the whole form has: `onecard bench --only journal-soak`."""
    few = {"taps": 24, "kills": 1, "later_taps": 16, "later_kills": 0}
    result = journal_soak.measure(**few, share=0.4, is_apart=False, patience_s=60)
    assert result.is_met, result
    assert result.kills == 1
    assert result.answered["use"] + result.answered["purchase"] + result.refused >= 40
    assert (result.refused > 0) == result.was_full
    assert result.line["answer lost"] > 0
    assert result.purchases > 0
    assert result.tables()


def test_the_journal_stands_beside_bare_sqlite() -> None:
    result = journal.measure(records=20, rounds=1)
    assert result.journal_per_s > 0
    assert result.ratio == result.journal_per_s / result.bare_per_s
    assert result.tables()
