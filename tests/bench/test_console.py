"""The console's bench on few people: its load fits the tables, every page answers within its statements."""

from __future__ import annotations

import pytest

from bench import console
from issuance.console.nav import NAV
from issuance.supervision.schemas import Queue
from tests.issuance.postgres import binaries

MOST = {"dashboard": 17, "dashboard by office": 17, "person file": 20, "card": 16, "application": 12, "journeys": 17}
OTHERS = 10


@pytest.mark.skipif(binaries() is None, reason="no PostgreSQL server is installed (Debian package postgresql)")
def test_every_page_answers_within_its_statements() -> None:
    result = console.measure(people=600, rounds=2, who=("province", "outlet"))
    shown = {row.page for row in result.rows}
    assert shown >= {entry.name for entry in NAV} | {"search name", "search number", "search card", "person file"}
    waiting = {queue.value for queue in Queue} - {"waiting_bank", "waiting_factory"}  # the load has no batches
    assert shown >= {f"queue {name}" for name in waiting}
    assert {row.who for row in result.rows} == {"province", "outlet", "citizen"}
    assert {row.page: row.statements for row in result.rows if row.statements > MOST.get(row.page, OTHERS)} == {}
    assert result.to_json()["people"] == 600
    assert result.tables()
