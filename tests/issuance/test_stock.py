"""Stock: every blank and every number in exactly one state, whatever happens."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cardlib.identity import validate_card_number
from tests.issuance.conftest import Centre, atr, both_engines, ok, refused, reset


@both_engines
async def test_delivery_twice_changes_nothing(centre: Centre) -> None:
    body = {"delivery": "d1", "region": "110000", "reset_information": [reset(1), reset(2), reset(1)]}
    post = centre.as_("operator").post
    assert ok(await post("/v1/blanks", json=body), 201) == {"added": 2, "known": 0}
    body["reset_information"] = [reset(2), reset(3)]
    assert ok(await post("/v1/blanks", json=body), 201) == {"added": 1, "known": 1}


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        ({"delivery": "d", "region": "440000", "reset_information": [reset(1)]}, "REGION_UNKNOWN", 400),
        ({"delivery": "d", "region": "110000", "reset_information": [reset(1).lower()]}, "INPUT_INVALID", 422),
        ({"delivery": "d", "region": "110000", "reset_information": [reset(1)[:-2]]}, "INPUT_INVALID", 422),
        ({"delivery": "d", "region": "110000", "reset_information": []}, "INPUT_INVALID", 422),
        ({"delivery": "张三", "region": "110000", "reset_information": [reset(1)]}, "INPUT_INVALID", 422),
    ],
)
async def test_odd_deliveries(centre: Centre, body: dict[str, Any], code: str, status: int) -> None:
    refused(await centre.as_("operator").post("/v1/blanks", json=body), code, status)


async def test_numbers_have_check_characters(centre: Centre) -> None:
    body = {"region": "110000", "body_from": "AB000098", "count": 5}
    assert ok(await centre.as_("operator").post("/v1/card-numbers", json=body), 201) == {"added": 5, "known": 0}
    numbers = [row[0] for row in centre.store.sql("SELECT number FROM card_numbers ORDER BY number")]
    assert [number[:8] for number in numbers] == [f"AB0000{n}" for n in ("98", "99")] + [
        f"AB0001{n:02}" for n in range(3)
    ]
    assert [validate_card_number(number) for number in numbers] == numbers


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"region": "110000", "body_from": "A9999999", "count": 2}, 400),
        ({"region": "110000", "body_from": "Z0000001", "count": 2}, 400),
        ({"region": "110000", "body_from": "A000001", "count": 2}, 422),
        ({"region": "110000", "body_from": "A000000B", "count": 2}, 422),
        ({"region": "110000", "body_from": "A0000001", "count": 0}, 422),
    ],
)
async def test_odd_number_ranges(centre: Centre, body: dict[str, Any], status: int) -> None:
    refused(await centre.as_("operator").post("/v1/card-numbers", json=body), "INPUT_INVALID", status)


async def test_a_city_may_draw_on_its_province(centre: Centre) -> None:
    body = {"delivery": "d", "region": "110105", "reset_information": [reset(1)]}
    ok(await centre.as_("operator").post("/v1/blanks", json=body), 201)
    await centre.stock(blanks=0, numbers=1)
    application_id = ok(await centre.apply(1, region="110105"), 201)["id"]
    ok(await centre.start(application_id, atr(1)), 201)
    stock = ok(await centre.as_("operator").get("/v1/stock"))
    assert stock["card_numbers"][0]["reserved"] == 1


async def test_initialization_moves_no_blank_of_another_region(centre: Centre) -> None:
    await centre.register("tianjin", ("terminal",), "120000")
    await centre.stock(blanks=1, numbers=0)
    before = ok(await centre.as_("operator").get("/v1/stock"))
    body = {"kind": "initialization", "atr": atr(1), "region": "120000"}
    refused(await centre.as_("tianjin").post("/v1/card-sessions", json=body), "CLIENT_FORBIDDEN", 403)
    assert ok(await centre.as_("operator").get("/v1/stock")) == before


async def test_blank_delivered_during_its_initialization_elsewhere_stays(centre: Centre) -> None:
    await centre.register("tianjin", ("terminal",), "120000")
    body = {"kind": "initialization", "atr": atr(1), "region": "120000"}
    batch = ok(await centre.as_("tianjin").post("/v1/card-sessions", json=body), 201)["batch"]
    await centre.stock(blanks=1, numbers=0)
    batch = ok(await centre.answer(batch["session_id"], 1, ["9000"], terminal="tianjin"))["batch"]
    last = await centre.answer(batch["session_id"], 2, ["9000"] * 3, terminal="tianjin")
    refused(last, "CLIENT_FORBIDDEN", 403)
    assert ok(await centre.as_("operator").get("/v1/stock"))["blanks"][0]["region"] == "110000"


@both_engines
async def test_nothing_is_lost_or_doubled(centre: Centre) -> None:
    """Many people, one of whom fails, one writes off, one pulls out: counts always add up."""
    dice = random.Random(1)
    blanks, numbers, people = 7, 6, 4
    await centre.stock(blanks, numbers)
    ids = [ok(await centre.apply(serial), 201)["id"] for serial in range(1, people + 1)]
    bound: dict[str, str] = {}
    for turn in range(30):
        application_id = dice.choice(ids)
        act = dice.choice(("issue", "fail", "fail", "begin", "begin", "write_off", "write_off_final"))
        if act.startswith("write_off"):
            blank = bound.get(application_id, atr(1))[8:]
            await centre.write_off(application_id, blank, key=f"write-off-{turn}", is_final=act.endswith("final"))
        else:
            right_card = bound.get(application_id)
            card = right_card if right_card and dice.random() < 0.8 else atr(dice.randint(1, blanks))
            answer = await centre.start(application_id, card)
            if answer.status_code == 201 and answer.json()["batch"] and act != "begin":
                await centre.run(answer.json(), "9000" if act == "issue" else "6985")
        stock = ok(await centre.as_("operator").get("/v1/stock"))
        (cards,), (pool,) = stock["blanks"], stock["card_numbers"]
        assert sum(cards[state] for state in ("in_stock", "reserved", "used", "spoiled")) == blanks
        assert sum(pool[state] for state in ("free", "reserved", "used", "void")) == numbers
        views = [ok(await centre.as_("operator").get(f"/v1/applications/{i}")) for i in ids]
        bound = {view["id"]: f"3B6D0000{view['reset_information']}" for view in views if view["reset_information"]}
        issued = [view for view in views if view["state"] == "enabled"]
        assert cards["used"] == pool["used"] == len(issued) == len({view["card_number"] for view in issued})
        assert cards["reserved"] == pool["reserved"] == sum(view["state"] == "reserved" for view in views)
        assert cards["spoiled"] == pool["void"]
    assert pool["used"] >= 2
    assert pool["void"] >= 2
