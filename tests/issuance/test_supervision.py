"""Work queues, statistics, alerts: what supervisors and clerks see of one centre."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from sqlalchemy import text

from issuance.supervision.alerts import evaluate_alerts
from issuance.supervision.schemas import Queue
from issuance.supervision.statistics import StatisticsService
from issuance.unit import system_unit
from tests.issuance.conftest import Centre, atr, both_engines, ok, refused
from tests.issuance.supervision import get, statements, stick

HOUR = 3600


async def _filled(centre: Centre) -> dict[str, str]:
    """One stuck, one to issue, one issued after ten minutes and found."""
    await centre.stock(blanks=5, numbers=5)
    stuck = await stick(centre, 1)
    waiting = ok(await centre.apply(2), 201)["id"]
    third = ok(await centre.apply(3), 201)["id"]
    centre.clock.advance(600)
    outcome = await centre.run(ok(await centre.start(third, atr(3)), 201))
    card = outcome["result"]["card_number"]
    headers = {"Idempotency-Key": "found-0001"}
    found = {"card_number": card, "outlet": "hall-3"}
    ok(await centre.as_("operator").post("/v1/found-cards", json=found, headers=headers), 201)
    return {"stuck": stuck, "waiting": waiting, "card": card}


@both_engines
async def test_every_queue_tells_the_next_act(centre: Centre) -> None:
    made = await _filled(centre)
    counts = {row["queue"]: row["count"] for row in await get(centre, "/v1/queues")}
    assert set(counts) == set(Queue)
    assert {name: count for name, count in counts.items() if count} == {"stuck": 1, "to_issue": 1, "found": 1}
    (stuck,) = (await get(centre, "/v1/queues/stuck"))["items"]
    assert stuck["application_id"] == made["stuck"]
    assert stuck["next"]["method"] == "POST"
    assert stuck["holder"]["name"].endswith("一")
    assert "*" in stuck["holder"]["social_security_number"]
    (waiting,) = (await get(centre, "/v1/queues/to_issue"))["items"]
    assert (waiting["subject"], waiting["next"]["name"]) == (f"application:{made['waiting']}", "issue")
    (found,) = (await get(centre, "/v1/queues/found"))["items"]
    assert (found["card_number"], found["next"]["name"], found["place"]) == (made["card"], "hand_back", "hall-3")
    for queue in Queue:
        await get(centre, f"/v1/queues/{queue.value}")


@both_engines
async def test_a_queue_in_pages_loses_nothing(centre: Centre) -> None:
    for serial in range(1, 6):
        ok(await centre.apply(serial), 201)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = await get(centre, "/v1/queues/to_issue", **query)
        seen += [item["subject"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 5


async def test_a_queue_shows_the_own_region_only(centre: Centre) -> None:
    await centre.register("hebei", ("operator",), "130000")
    await _filled(centre)
    assert not any(row["count"] for row in await get(centre, "/v1/queues", by="hebei"))
    assert (await get(centre, "/v1/queues/stuck", by="hebei"))["items"] == []
    total = (await get(centre, "/v1/statistics", by="hebei"))["total"]
    assert (total["applied"], total["issued"], total["stuck"]) == (0, 0, 0)


async def test_a_case_becomes_stuck_when_its_time_is_over(centre: Centre) -> None:
    await centre.stock()
    application_id = ok(await centre.apply(1), 201)["id"]
    ok(await centre.start(application_id, atr(1)), 201)
    assert (await get(centre, "/v1/queues/stuck"))["items"] == []
    centre.clock.advance(25 * HOUR)
    (item,) = (await get(centre, "/v1/queues/stuck"))["items"]
    assert item["is_overdue"]


@both_engines
async def test_statistics_add_up(centre: Centre) -> None:
    await _filled(centre)
    for by in ("day", "region", "office"):
        table = ok(await centre.as_("operator").get("/v1/statistics", params={"by": by}))
        total = table["total"]
        assert (total["applied"], total["issued"], total["stuck"]) == (3, 1, 1)
        assert sum(row["applied"] for row in table["rows"]) == 3
        assert total["seconds_p50"] == total["seconds_p90"] == 600
    table = ok(await centre.as_("operator").get("/v1/statistics", params={"by": "day"}))
    assert [row["key"] for row in table["rows"]][-1] == table["last"] == "2026-01-05"
    assert table["rows"][-1]["applied"] == 3
    await _demand_agreement(centre)


async def _demand_agreement(centre: Centre) -> None:
    """The dashboard adds today up from its places: as the table counts it. PostgreSQL plans for what is asked."""
    async with system_unit(centre.app.state.services) as unit:
        service = StatisticsService(unit)
        table = await service.table(service.period(None, None), "day")
        for by in ("region", "office"):
            board = await service.dashboard(by)
            assert board.days.rows == table.rows
            assert board.today == table.rows[-1].model_copy(update={"stuck": table.total.stuck})
        if unit.session.get_bind().dialect.name == "postgresql":
            assert await unit.session.scalar(text("SHOW plan_cache_mode")) == "force_custom_plan"


@both_engines
async def test_percentiles_are_of_each_day(centre: Centre) -> None:
    """Ten cards of 1 to 10 hours: half within 5, nine tenths within 9 (nearest rank)."""
    await centre.stock(blanks=10, numbers=10)
    ids = [ok(await centre.apply(serial), 201)["id"] for serial in range(1, 11)]
    for serial, application_id in enumerate(ids, start=1):
        centre.clock.advance(HOUR)
        await centre.run(ok(await centre.start(application_id, atr(serial)), 201))
    rows = (await get(centre, "/v1/statistics"))["rows"]
    assert (rows[-1]["issued"], rows[-1]["seconds_p50"], rows[-1]["seconds_p90"]) == (10, 5 * HOUR, 9 * HOUR)
    await _demand_agreement(centre)


@both_engines
async def test_a_day_begins_at_midnight_in_china(centre: Centre) -> None:
    centre.clock.advance(14 * HOUR + 59 * 60)  # 23:59 in China
    ok(await centre.apply(1), 201)
    centre.clock.advance(120)
    ok(await centre.apply(2), 201)
    rows = (await get(centre, "/v1/statistics"))["rows"]
    assert {row["key"]: row["applied"] for row in rows if row["applied"]} == {"2026-01-05": 1, "2026-01-06": 1}


async def test_a_day_that_is_over_is_counted_once(centre: Centre) -> None:
    """An hour after midnight nothing is added to it any more: it is remembered."""

    async def applied(day: str) -> int:
        rows = (await get(centre, "/v1/statistics"))["rows"]
        (wanted,) = (row["applied"] for row in rows if row["key"] == day)
        return int(wanted)

    ok(await centre.apply(1), 201)
    centre.clock.advance(15 * HOUR + 59 * 60)  # 00:59 in China
    assert await applied("2026-01-05") == 1
    ok(await centre.apply(2), 201)
    late = "2026-01-05 15:59:00.000000"  # 23:59 in China
    centre.store.sql("UPDATE applications SET created_at = :at WHERE created_at > :at", at=late)
    assert await applied("2026-01-05") == 2, "what began before midnight and was stored after it"
    centre.clock.advance(120)
    assert await applied("2026-01-05") == 2
    centre.store.sql("UPDATE applications SET created_at = '2026-02-01'")
    assert await applied("2026-01-05") == 2
    await centre.register("beijing", ("operator",), "110000")
    narrowed = (await get(centre, "/v1/statistics", by="beijing", region="110101"))["rows"]
    assert not any(row["applied"] for row in narrowed), "each scope has days of its own"


async def test_spoiled_cards_count_once(centre: Centre) -> None:
    await centre.stock()
    application_id = ok(await centre.apply(1), 201)["id"]
    ok(await centre.start(application_id, atr(1)), 201)
    shown = ok(await centre.as_("operator").get(f"/v1/applications/{application_id}"))
    ok(await centre.write_off(application_id, shown["reset_information"]))
    assert (await get(centre, "/v1/statistics"))["total"]["spoiled"] == 1
    stock = await get(centre, "/v1/statistics/stock")
    assert [(row["kind"], row["count"]) for row in stock["rows"]] == [("spoiled", 1)]
    await _demand_agreement(centre)


async def test_exports_are_recorded_and_readable(centre: Centre) -> None:
    await _filled(centre)
    answer = await centre.as_("operator").get("/v1/statistics/export", params={"format": "csv", "by": "region"})
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert (rows[2][0], rows[2][2:4]) == ("110000", ["3", "1"])
    answer = await centre.as_("operator").get("/v1/statistics/export", params={"format": "xlsx"})
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(answer.content))
    assert len(book.worksheets) == 2
    entries = ok(await centre.as_("operator").get("/v1/audit", params={"subject": "statistics"}))
    assert [entry["act"] for entry in entries] == ["statistics.export"] * 2


async def test_a_period_is_at_most_a_year(centre: Centre) -> None:
    ask = centre.as_("operator").get
    long = {"first": "2024-01-01", "last": "2026-01-01"}
    refused(await ask("/v1/statistics", params=long), "INPUT_INVALID", 400)
    refused(await ask("/v1/statistics", params={"first": "2026-01-02", "last": "2026-01-01"}), "INPUT_INVALID", 400)
    for edge in ("0001-01-01", "9999-12-31"):
        refused(await ask("/v1/statistics", params={"last": edge}), "INPUT_INVALID", 400)
        refused(await ask("/v1/statistics", params={"first": edge, "last": edge}), "INPUT_INVALID", 400)


@pytest.mark.parametrize("name", ["applications", "times", "regions", "spoiled"])
async def test_charts_are_served(centre: Centre, name: str) -> None:
    answer = await centre.as_("operator").get(f"/v1/charts/{name}.svg", params={"lang": "en"})
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.text.startswith("<svg")


# -- alerts -----------------------------------------------------------------------------------------------------------


@both_engines
async def test_an_alert_is_raised_acknowledged_and_over(centre: Centre) -> None:
    services = centre.app.state.services
    await centre.stock(blanks=1, numbers=1)
    await stick(centre, 1)
    centre.clock.advance(49 * HOUR)
    await evaluate_alerts(services)
    assert await evaluate_alerts(services) == 0, "the next round is not due"
    found = {row["rule"]: row for row in (await get(centre, "/v1/alerts", open=True))["items"]}
    assert set(found) == {"stuck_long", "numbers_low"}
    alert = found["stuck_long"]
    assert (alert["subject"], alert["state"], alert["severity"]) == ("region:110000", "raised", "bad")
    assert "25" in alert["text_zh"]
    path = f"/v1/alerts/{alert['id']}"
    seen = ok(await centre.as_("operator").post(f"{path}/acknowledge", json={"note": "card is being replaced"}))
    assert (seen["state"], seen["acknowledged_by"]) == ("acknowledged", "operator")
    again = ok(await centre.as_("operator").post(f"{path}/acknowledge", json={"note": "once more"}))
    assert [event["act"] for event in again["events"]] == ["raised", "acknowledged"]
    centre.store.sql("UPDATE applications SET case_step = NULL, case_reason = NULL, case_deadline = NULL")
    centre.clock.advance(61)
    await evaluate_alerts(services)
    ended = await get(centre, path)
    assert (ended["state"], [event["act"] for event in ended["events"]][-1]) == ("over", "over")
    assert [row["id"] for row in (await get(centre, "/v1/alerts", state="over"))["items"]] == [alert["id"]]


async def test_an_alert_of_another_region_is_not_there(centre: Centre) -> None:
    await centre.register("hebei", ("operator",), "130000")
    await centre.stock()
    await evaluate_alerts(centre.app.state.services)
    (alert,) = (await get(centre, "/v1/alerts"))["items"]
    assert (await get(centre, "/v1/alerts", by="hebei"))["items"] == []
    path = f"/v1/alerts/{alert['id']}"
    refused(await centre.as_("hebei").get(path), "NOT_FOUND", 404)
    refused(await centre.as_("hebei").get("/v1/alerts/999"), "NOT_FOUND", 404)
    refused(await centre.as_("hebei").post(f"{path}/acknowledge", json={"note": "not mine"}), "NOT_FOUND", 404)


# -- budgets ----------------------------------------------------------------------------------------------------------

AUTHENTICATION = 6
"""Statements that prove the caller and spend the assertion."""
BUDGETS = {
    "/v1/queues": 1,
    "/v1/queues/stuck": 2,
    "/v1/queues/to_issue": 2,
    "/v1/statistics": 4,
    "/v1/statistics?by=office": 4,
    "/v1/statistics/stock": 2,
    "/v1/alerts": 3,
}


@both_engines
async def test_statements_do_not_grow_with_the_rows(centre: Centre) -> None:
    await _filled(centre)
    for path, budget in BUDGETS.items():
        with statements(centre) as seen:
            ok(await centre.as_("operator").get(path))
        assert len(seen) <= budget + AUTHENTICATION, (path, seen)
