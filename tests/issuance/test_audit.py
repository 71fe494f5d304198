"""The audit trail: every act, every refusal, never changed."""

from __future__ import annotations

import sqlite3

import pytest

from cardlib.client_auth import ClientKey
from issuance.audit.refusals import MAX_UNPROVED_A_MINUTE
from tests.issuance.conftest import Centre, atr, both_engines, ok, refused, reset


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET outcome = 'ok'",
        "DELETE FROM audit_entries",
        "DELETE FROM audit_entries WHERE id = 1",
        "INSERT OR REPLACE INTO audit_entries SELECT * FROM audit_entries WHERE id = 1",
        "INSERT OR IGNORE INTO audit_entries SELECT * FROM audit_entries WHERE id = 1",
        "UPDATE OR REPLACE audit_entries SET id = 1 WHERE id = 2",
    ],
)
async def test_entries_cannot_be_changed(centre: Centre, statement: str) -> None:
    with (
        sqlite3.connect(centre.url.partition(":///")[2]) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(statement)
    connection.close()


@both_engines
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


async def _trail(centre: Centre, count: int) -> list[tuple[str, str, str, str]]:
    entries = ok(await centre.as_("operator").get("/v1/audit", params={"limit": count}))
    return [(entry["actor"], entry["act"], entry["subject"], entry["outcome"]) for entry in entries]


async def test_refused_reads_and_roles_are_there(centre: Centre) -> None:
    await centre.register("hebei", ("operator",), "130000")
    await centre.stock()
    number = (await centre.issue(1))["card_number"]
    refused(await centre.as_("terminal").post("/v1/clients", json={}), "CLIENT_FORBIDDEN", 403)
    refused(await centre.as_("hebei").get(f"/v1/cards/{number}"), "NOT_FOUND", 404)
    refused(await centre.as_("wallet").get("/metrics"), "CLIENT_FORBIDDEN", 403)
    assert await _trail(centre, 3) == [
        ("wallet", "GET /metrics", "", "CLIENT_FORBIDDEN"),
        ("hebei", "GET /v1/cards/{card_number}", f"card:{number}", "NOT_FOUND"),
        ("terminal", "POST /v1/clients", "", "CLIENT_FORBIDDEN"),
    ]


async def test_reads_of_cards_and_applications_are_there_and_kept_nowhere(centre: Centre) -> None:
    await centre.stock()
    application_id = ok(await centre.apply(1), 201)["id"]
    number = (await centre.run(ok(await centre.start(application_id, atr(1)), 201)))["result"]["card_number"]
    for path in (f"/v1/applications/{application_id}", f"/v1/cards/{number}"):
        answer = await centre.as_("terminal").get(path, headers={"X-Clerk": "clerk-07"})
        ok(answer)
        assert answer.headers["cache-control"] == "no-store"
    assert await _trail(centre, 2) == [
        ("terminal", "card.read", f"card:{number}", "ok"),
        ("terminal", "application.read", f"application:{application_id}", "ok"),
    ]


async def test_bad_and_replayed_assertions_are_there(centre: Centre) -> None:
    body = b'{"delivery":"d","region":"110000","reset_information":["%s"]}' % reset(9).encode()
    token = centre.client_keys["operator"].assertion("POST", "/v1/blanks", body, centre.clock().timestamp())
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for content in (body, body, body + b" "):
        await centre.anyone().post("/v1/blanks", content=content, headers=headers)
    stranger = ClientKey.generate("stranger").assertion("GET", "/v1/stock", b"", centre.clock().timestamp())
    await centre.anyone().get("/v1/stock", headers={"Authorization": f"Bearer {stranger}"})
    entries = ok(await centre.as_("operator").get("/v1/audit", params={"limit": 3}))
    assert [(e["actor"], e["outcome"], e["detail"]) for e in entries] == [
        ("stranger", "CLIENT_UNKNOWN", {"is_proved": False}),
        ("operator", "CLIENT_UNKNOWN", {"is_proved": False}),
        ("operator", "REQUEST_REPLAYED", {"is_proved": False}),
    ]


async def test_nobody_fills_the_trail_from_outside(centre: Centre) -> None:
    now = centre.clock().timestamp()
    before = len(ok(await centre.as_("operator").get("/v1/audit", params={"limit": 500})))
    for number in range(MAX_UNPROVED_A_MINUTE + 5):
        token = ClientKey.generate(f"stranger-{number}").assertion("GET", "/v1/stock", b"", now)
        await centre.anyone().get("/v1/stock", headers={"Authorization": f"Bearer {token}"})
    entries = ok(await centre.as_("operator").get("/v1/audit", params={"limit": 500}))
    assert len(entries) - before == MAX_UNPROVED_A_MINUTE
    centre.clock.advance(60)
    token = ClientKey.generate("stranger").assertion("GET", "/v1/stock", b"", now)
    await centre.anyone().get("/v1/stock", headers={"Authorization": f"Bearer {token}"})
    assert len(await _trail(centre, 500)) - before == MAX_UNPROVED_A_MINUTE + 1


async def test_paging(centre: Centre) -> None:
    operator = centre.as_("operator")
    first = ok(await operator.get("/v1/audit", params={"limit": 3}))
    rest = ok(await operator.get("/v1/audit", params={"before": first[-1]["id"]}))
    assert [entry["id"] for entry in first + rest] == [4, 3, 2, 1]
