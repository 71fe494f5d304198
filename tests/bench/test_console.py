"""The console's bench on few people: its load fits the tables, every view answers, statements stay within budget."""

from __future__ import annotations

import pytest

from bench import console
from tests.issuance.postgres import binaries

BUDGETS = {"queues": 1, "dashboard": 11, "person file": 14, "alerts": 3, "search name": 4, "search number": 4}


@pytest.mark.skipif(binaries() is None, reason="no PostgreSQL server is installed (Debian package postgresql)")
def test_every_view_answers_within_its_statements() -> None:
    result = console.measure(people=600, rounds=2)
    assert {row.view for row in result.rows} >= {"queues", "dashboard", "person file", "progress", "queue stuck"}
    assert {row.view: row.statements for row in result.rows if row.statements > BUDGETS.get(row.view, 2)} == {}
    stuck = [row for row in result.rows if row.view == "queue stuck" and row.who == "province"]
    assert stuck[0].statements == 2, "a queue with people in it"
    assert result.to_json()["people"] == 600
    assert result.tables()
