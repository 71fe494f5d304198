"""What a card costs the centre: counts only, never times."""

from __future__ import annotations

from bench import issue
from tests.issuance.postgres import binaries

ROUND_TRIPS = 37 + 2
"""The card's challenges and two, the application, the printer's report."""
STATEMENTS = 640


def test_a_card_keeps_its_budgets() -> None:
    result = issue.measure(alone=2, kiosks=3, each=1)
    assert [row.database for row in result.rows] == ["SQLite", "PostgreSQL"][: 1 + (binaries() is not None)]
    for row in result.rows:
        assert row.cards == 3
        assert row.round_trips == ROUND_TRIPS
        assert 100 < row.statements <= STATEMENTS, row
        assert row.cards_per_s > 0
