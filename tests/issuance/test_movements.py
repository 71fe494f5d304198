"""Cards between places: both sides confirm, every card is somewhere, and the balance says so."""

from __future__ import annotations

import random
import secrets
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import DBAPIError

from issuance.database import migrate
from issuance.stock.openings import keep_openings
from tests.issuance.conftest import REGION, Centre, Store, atr, both_engines, ok, refused, reset
from tests.issuance.postgres import Postgres

DEPOT = f"depot-{REGION}"
DAY = 24 * 3600


async def post(centre: Centre, path: str, body: dict[str, Any], by: str = "operator") -> httpx.Response:
    headers = {"Idempotency-Key": secrets.token_hex(8), "X-Clerk": "clerk-1"}
    return await centre.as_(by).post(f"/v1/stock{path}", json=body, headers=headers)


async def outlet(centre: Centre, name: str = "outlet-1") -> None:
    body = {"id": name, "kind": "outlet", "name": "一所", "region": REGION, "parent_id": DEPOT}
    ok(await post(centre, "/places", body), 201)


async def send(centre: Centre, *serials: int, target: str = "outlet-1") -> dict[str, Any]:
    body = {"from_place": DEPOT, "to_place": target, "kind": "blank", "cards": [reset(n) for n in serials]}
    sent: dict[str, Any] = ok(await post(centre, "/transfers", body), 201)
    return sent


async def balance(centre: Centre, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = ok(await centre.as_("operator").get(f"/v1/stock/balance{query}"))
    return found


def closing(found: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(line["place_id"], line["kind"]): line["closing"] for line in found["lines"] if line["closing"]}


@both_engines
async def test_transfer_is_confirmed_by_both_sides(centre: Centre) -> None:
    await centre.stock(blanks=5)
    await outlet(centre)
    sent = await send(centre, 1, 2, 3)
    found = await balance(centre)
    assert (found["is_zero"], found["in_transit"], closing(found)) == (True, 3, {(DEPOT, "blank"): 2})
    application_id = ok(await centre.apply(1), 201)["id"]
    refused(await centre.start(application_id, atr(1)), "CARD_STATE", 409)

    path = f"/transfers/{sent['id']}"
    receipt = {"version": 1, "cards": [reset(1), reset(2)]}
    refused(await post(centre, f"{path}/receipt", receipt | {"cards": [reset(5)]}), "INPUT_INVALID", 400)
    short = ok(await post(centre, f"{path}/receipt", receipt))
    assert (short["state"], short["received"], short["version"]) == ("short", 2, 2)
    problem = refused(await post(centre, f"{path}/receipt", {"version": 1}), "CONFLICT", 409)
    assert "clerk-1" in problem["detail"]
    settled = ok(
        await post(centre, f"{path}/settlement", {"version": 2, "outcome": "returned", "reason": "in the box"})
    )
    assert settled["state"] == "settled"
    found = await balance(centre)
    assert (found["is_zero"], found["in_transit"]) == (True, 0)
    assert closing(found) == {(DEPOT, "blank"): 3, ("outlet-1", "blank"): 2}
    ok(await centre.start(application_id, atr(1)), 201)


@both_engines
async def test_issuing_and_writing_off_are_movements(centre: Centre) -> None:
    await centre.stock(blanks=3, numbers=3)
    await centre.issue(1)
    application_id = ok(await centre.apply(2), 201)["id"]
    ok(await centre.start(application_id, atr(2)), 201)
    ok(await centre.write_off(application_id, reset(2)))
    found = await balance(centre)
    assert found["is_zero"]
    blanks, spoiled = found["lines"]
    assert (blanks["kind"], blanks["acts"]) == ("blank", {"receive": 3, "issue": -1, "spoil": -1})
    assert (spoiled["kind"], spoiled["closing"]) == ("spoiled", 1)


async def test_destruction_needs_two_witnesses(centre: Centre) -> None:
    await centre.stock(blanks=2)
    spoil = {"place_id": DEPOT, "kind": "blank", "cards": [reset(1)], "reason": "cracked"}
    ok(await post(centre, "/spoils", spoil))
    refused(await post(centre, "/spoils", spoil), "CARD_STATE", 409)
    order = {"place_id": DEPOT, "cards": [reset(1)], "witnesses": ["clerk-7", "clerk-9"]}
    for witnesses in (["clerk-7", "clerk-7"], ["clerk-1", "clerk-9"]):
        refused(await post(centre, "/destructions", order | {"witnesses": witnesses}), "INPUT_INVALID", 400)
    refused(await post(centre, "/destructions", order | {"cards": [reset(2)]}), "CARD_STATE", 409)
    ok(await post(centre, "/destructions", order))
    ledger = ok(await centre.as_("operator").get("/v1/stock/movements?limit=1"))["items"][0]
    assert (ledger["act"], ledger["quantity"], ledger["witnesses"]) == ("destroy", -1, ["clerk-7", "clerk-9"])
    assert closing(await balance(centre)) == {(DEPOT, "blank"): 1}


async def test_a_card_given_back_is_spoiled(centre: Centre) -> None:
    await centre.stock(blanks=2)
    number = (await centre.issue(1))["card_number"]
    order = {"place_id": DEPOT, "cards": [reset(1)], "reason": "moved away"}
    problem = refused(await post(centre, "/returns", order), "CARD_STATE", 409)
    assert f"card {number} was cancelled" in problem["detail"]
    cancel = await centre.as_("operator").post(
        f"/v1/cards/{number}/cancel", json={}, headers={"Idempotency-Key": secrets.token_hex(8)}
    )
    ok(cancel)
    refused(await post(centre, "/returns", order | {"cards": [reset(2)]}), "CARD_STATE", 409)
    ok(await post(centre, "/returns", order))
    found = await balance(centre)
    assert found["is_zero"]
    assert closing(found) == {(DEPOT, "blank"): 1, (DEPOT, "spoiled"): 1}


@both_engines
async def test_a_balance_that_is_not_zero_names_the_card(centre: Centre) -> None:
    """Somebody moved cards behind the service's back."""
    await centre.stock(blanks=4)
    await outlet(centre)
    centre.store.sql("UPDATE blanks SET place_id = 'outlet-1' WHERE reset_information = :card", card=reset(3))
    found = await balance(centre)
    assert not found["is_zero"]
    depot, other = found["lines"]
    assert (depot["difference"], other["difference"]) == (1, -1)
    (missing,), (strange,) = depot["explanation"], other["explanation"]
    assert (missing["card"], missing["problem"], missing["recorded_at"]) == (reset(3), "not_here", "outlet-1")
    assert missing["last_act"] == "receive"
    assert (strange["card"], strange["problem"]) == (reset(3), "not_posted")


async def test_stocktake_finds_and_corrects(centre: Centre) -> None:
    await centre.stock(blanks=4)
    order = {"place_id": DEPOT, "kind": "blank", "cards": [reset(1), reset(2), reset(3)], "reason": "month's end"}
    found = ok(await post(centre, "/stocktakes", order))
    assert (found["expected"], found["counted"], found["missing"]) == (4, 3, [reset(4)])
    day = await balance(centre)
    (line,) = day["lines"]
    assert (day["is_zero"], line["difference"], line["closing_source"]) == (False, 1, "stocktake")
    ok(await post(centre, "/stocktakes", order | {"correct": True}))
    assert (await balance(centre))["is_zero"]
    application_id = ok(await centre.apply(1), 201)["id"]
    refused(await centre.start(application_id, atr(4)), "CARD_STATE", 409)


async def test_a_closed_day_keeps_its_counts(centre: Centre) -> None:
    await centre.stock(blanks=2)
    operator = centre.as_("operator")
    refused(await operator.post("/v1/stock/days/2026-01-05/close"), "INPUT_INVALID", 400)
    refused(await operator.get("/v1/stock/balance?day=2026-01-06"), "INPUT_INVALID", 400)
    centre.clock.advance(24 * 3600)
    assert ok(await operator.post("/v1/stock/days/2026-01-05/close"))["counts"] == 1
    assert ok(await operator.post("/v1/stock/days/2026-01-05/close"))["counts"] == 0
    await centre.issue(1)
    yesterday, today = await balance(centre, "?day=2026-01-05"), await balance(centre)
    (before,), (now,) = yesterday["lines"], today["lines"]
    assert (before["closing"], before["closing_source"], before["difference"]) == (2, "closing", 0)
    assert (now["opening"], now["outgoing"], now["closing"], now["difference"]) == (2, 1, 1, 0)


async def test_places_close_when_empty(centre: Centre) -> None:
    await centre.stock(blanks=1)
    await outlet(centre)
    sent = await send(centre, 1)
    order = {"version": 1, "reason": "moved"}
    refused(await post(centre, "/places/outlet-1/close", order), "CONFLICT", 409)
    ok(await post(centre, f"/transfers/{sent['id']}/receipt", {"version": 1}))
    refused(await post(centre, "/places/outlet-1/close", order), "CONFLICT", 409)
    assert ok(await post(centre, f"/places/{DEPOT}/close", order))["state"] == "closed"
    body = {"delivery": "d2", "region": REGION, "reset_information": [reset(9)]}
    refused(await centre.as_("operator").post("/v1/blanks", json=body), "CONFLICT", 409)
    assert [p["id"] for p in ok(await centre.as_("operator").get("/v1/stock/places"))["items"]] == [DEPOT, "outlet-1"]


@both_engines
async def test_the_ledger_is_append_only(centre: Centre) -> None:
    await centre.stock(blanks=1)
    for statement in ("UPDATE stock_ledger SET quantity = 9", "DELETE FROM stock_ledger_items"):
        with pytest.raises(DBAPIError, match="append-only"):
            centre.store.sql(statement)


async def test_numbers_are_locked_and_voided(centre: Centre) -> None:
    await centre.stock(blanks=1, numbers=2)
    operator = centre.as_("operator")
    numbers = [row["number"] for row in ok(await operator.get("/v1/card-numbers"))["items"]]

    async def change(act: str, *wanted: str) -> httpx.Response:
        body = {"act": act, "numbers": list(wanted), "reason": "test card"}
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        return await operator.post("/v1/card-numbers/changes", json=body, headers=headers)

    assert ok(await change("lock", *numbers)) == {"changed": 2, "unchanged": 0}
    listed = ok(await operator.get("/v1/card-numbers?state=locked"))["items"]
    assert [row["code"] for row in listed] == ["03", "03"]
    application_id = ok(await centre.apply(1), 201)["id"]
    refused(await centre.start(application_id, atr(1)), "NUMBER_POOL_EMPTY", 503)
    assert ok(await change("void", numbers[0]))["changed"] == 1
    refused(await change("unlock", numbers[0]), "CONFLICT", 409)
    assert ok(await change("unlock", numbers[1]))["changed"] == 1
    ok(await centre.start(application_id, atr(1)), 201)
    refused(await change("lock", numbers[1]), "CONFLICT", 409)
    assert ok(await operator.get("/v1/stock"))["card_numbers"][0]["is_low"]


async def test_another_region_moves_nothing(centre: Centre) -> None:
    await centre.stock(blanks=1)
    await outlet(centre)
    await centre.register("tianjin", ("operator",), "120000")
    body = {"from_place": DEPOT, "to_place": "outlet-1", "kind": "blank", "cards": [reset(1)]}
    refused(await post(centre, "/transfers", body, by="tianjin"), "NOT_FOUND", 404)
    for path in ("places", "transfers", "movements"):
        assert ok(await centre.as_("tianjin").get(f"/v1/stock/{path}"))["items"] == []
    assert ok(await centre.as_("tianjin").get("/v1/stock/balance"))["lines"] == []


@both_engines
async def test_whatever_moves_the_balance_is_zero(centre: Centre) -> None:
    dice = random.Random(3)
    await centre.stock(blanks=12, numbers=12)
    for name in ("outlet-1", "outlet-2"):
        await outlet(centre, name)
    places = (DEPOT, "outlet-1", "outlet-2")
    for turn in range(40):
        cards = [reset(n) for n in dice.sample(range(1, 13), 3)]
        act = dice.choice(("transfer", "receipt", "settlement", "spoil", "issue", "count"))
        if act == "transfer":
            source, target = dice.sample(places, 2)
            await post(
                centre, "/transfers", {"from_place": source, "to_place": target, "kind": "blank", "cards": cards[:1]}
            )
        elif act in ("receipt", "settlement"):
            for transfer in ok(await centre.as_("operator").get("/v1/stock/transfers"))["items"][:2]:
                body: dict[str, Any] = {"version": transfer["version"]}
                if act == "settlement":
                    body |= {"outcome": dice.choice(("returned", "lost")), "reason": "x"}
                elif dice.random() < 0.3:
                    body["cards"] = []
                await post(centre, f"/transfers/{transfer['id']}/{act}", body)
        elif act == "spoil":
            await post(
                centre, "/spoils", {"place_id": dice.choice(places), "kind": "blank", "cards": cards[:1], "reason": "x"}
            )
        elif act == "issue":
            answer = await centre.apply(turn + 1)
            if answer.is_success:
                started = await centre.start(answer.json()["id"], atr(dice.randint(1, 12)))
                if started.status_code == 201:
                    await centre.run(started.json())
        found = await balance(centre)
        assert found["is_zero"], (act, [line for line in found["lines"] if line["difference"]])
    total = sum(closing(found).values()) + found["in_transit"]
    left = centre.store.sql("SELECT count(*) FROM blanks WHERE place_id IS NULL AND transfer_id IS NULL")[0][0]
    assert total + left == 12
    assert left


@both_engines
async def test_openings_change_no_balance(centre: Centre) -> None:
    """Those of a month are kept when two days of it are over, once; a balance adds up what was posted since."""
    services = centre.app.state.services
    await centre.stock(blanks=6)  # 5 January
    await outlet(centre)
    before = await send(centre, 1, 2)
    assert await keep_openings(services) == 0
    centre.clock.advance(27 * DAY)  # 1 February
    ok(await post(centre, f"/transfers/{before['id']}/receipt", {"version": 1}))
    assert await keep_openings(services) == 0
    shown = [await balance(centre), await balance(centre, "?day=2026-01-05")]
    centre.clock.advance(2 * DAY)
    assert (await keep_openings(services), await keep_openings(services)) == (1, 0)
    kept = centre.store.sql("SELECT place_id, kind, quantity FROM stock_openings")
    assert kept == [(DEPOT, "blank", 4)], "1 February itself is not in it"
    assert [await balance(centre, "?day=2026-02-01"), await balance(centre, "?day=2026-01-05")] == shown
    assert (await balance(centre))["is_zero"]
    centre.clock.advance(40 * DAY)
    await send(centre, 3)
    assert await keep_openings(services) == 2
    found = await balance(centre)
    assert (found["is_zero"], closing(found)) == (True, {(DEPOT, "blank"): 3, ("outlet-1", "blank"): 2})


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_cards_of_an_older_database_get_their_place(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url, name = f"sqlite+aiosqlite:///{tmp_path / 'old.db'}", uuid.uuid4().hex
    if engine == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        server.create(name)
        url = server.url(name)
    migrate(url, "0003")
    store = Store(url, lambda: b"")
    for serial, state in enumerate(("in_stock", "reserved", "used", "spoiled"), start=1):
        holder = "x" if state in ("reserved", "used") else None
        store.sql(
            "INSERT INTO blanks (reset_information, region, generation, state, delivery, application_id, registered_at,"
            " updated_at) VALUES (:card, '110000', '3.0', :state, 'd', :holder, '2026-01-05', '2026-01-05')",
            card=reset(serial),
            state=state,
            holder=holder,
        )
    number = (
        "INSERT INTO card_numbers (number, region, state, registered_at, updated_at) VALUES (:n, :r, 'free', :at, :at)"
    )
    for name, region in (("A00000001", "110000"), ("A00000002", "110000"), ("A00000003", "120000")):
        store.sql(number, n=name, r=region, at="2026-01-05")
    migrate(url)
    pools = store.sql("SELECT region, given FROM card_number_pools ORDER BY region")
    assert pools == [("110000", 2), ("120000", 1)]
    assert store.sql("SELECT kind, quantity FROM stock_ledger ORDER BY kind") == [("blank", 2), ("spoiled", 1)]
    assert store.sql("SELECT count(*) FROM blanks WHERE place_id = 'depot-110000'") == [(3,)]
    assert store.sql("SELECT count(*) FROM stock_ledger_items") == [(3,)]
    if engine == "postgresql":
        server.drop(name)
