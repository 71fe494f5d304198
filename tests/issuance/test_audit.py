"""The audit trail: every act, every refusal, never changed."""

from __future__ import annotations

import sqlite3

import pytest

from tests.issuance.conftest import Centre, ok


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET outcome = 'ok'",
        "DELETE FROM audit_entries",
        "DELETE FROM audit_entries WHERE id = 1",
        "INSERT OR REPLACE INTO audit_entries SELECT * FROM audit_entries WHERE id = 1",
    ],
)
async def test_entries_cannot_be_changed(centre: Centre, statement: str) -> None:
    with sqlite3.connect(centre.path) as connection:
        connection.execute("PRAGMA recursive_triggers = ON")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


async def test_whole_life_of_a_card_is_there(centre: Centre) -> None:
    await centre.stock()
    created = ok(await centre.apply(1), 201)
    await centre.apply(1, key="second-try")
    await centre.run(ok(await centre.start(created["id"], "3B6D000000FE00000086FE990100000001"), 201))
    operator = centre.as_("operator")
    trail = ok(await operator.get("/v1/audit", params={"application_id": created["id"]}))
    assert [(entry["act"], entry["actor"], entry["outcome"]) for entry in reversed(trail)] == [
        ("application.submit", "operator", "ok"),
        ("POST /v1/applications", "operator", "CONFLICT"),
        ("stock.reserve", "terminal", "ok"),
        ("session.personalization", "terminal", "started"),
        ("card.enable", "terminal", "ok"),
        ("ecard.create", "terminal", "ok"),
        ("session.personalization", "terminal", "done"),
    ]
    everything = ok(await operator.get("/v1/audit", params={"limit": 500}))
    assert [entry["act"] for entry in everything][-4:] == ["client.register"] * 4


async def test_shape_errors_are_refusals_too(centre: Centre) -> None:
    operator = centre.as_("operator")
    await operator.post("/v1/blanks", json={"delivery": "d"})
    entry = ok(await operator.get("/v1/audit", params={"limit": 1}))[0]
    assert (entry["act"], entry["outcome"]) == ("POST /v1/blanks", "INPUT_INVALID")


async def test_paging(centre: Centre) -> None:
    operator = centre.as_("operator")
    first = ok(await operator.get("/v1/audit", params={"limit": 3}))
    rest = ok(await operator.get("/v1/audit", params={"before": first[-1]["id"]}))
    assert [entry["id"] for entry in first + rest] == [4, 3, 2, 1]
