"""The life of a card over the API: every act, every refusal in words, two operators at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from issuance.cards.machine import CardState, machines
from issuance.tasks import run_once
from tests.issuance.bank_stand import BankStand, stand
from tests.issuance.conftest import START, atr, both_engines, ok, refused, reset

__all__ = ["stand"]
DAY = 24 * 3600


async def _states(stand: BankStand, number: str) -> tuple[str, str, str]:
    card = await stand.view(number)
    return card["state"], card["account"]["state"], card["ecard_state"]


@both_engines
async def test_a_temporary_loss_ends_by_itself(stand: BankStand) -> None:
    number = await stand.card()
    stand.bank.desk(number, "activate")
    ok(await stand.notice(number, "activate"))
    lost = ok(await stand.act(number, "loss", kind="temporary", reason="phone"))
    assert (lost["result"], lost["code"], lost["card"]["temporary_until"]) == ("done", "00", "2026-01-12T01:00:00Z")
    await stand.settle()
    assert await _states(stand, number) == ("4", "lost", "suspended")
    assert stand.bank.states()[number] == "lost"
    stand.centre.clock.now = START + timedelta(days=7, seconds=-1)
    assert (await stand.jobs())["release_temporary_losses"] == 0
    stand.centre.clock.advance(1)
    assert (await stand.jobs())["release_temporary_losses"] == 1
    assert await _states(stand, number) == ("1", "active", "active")
    assert stand.bank.states()[number] == "active"
    assert (await stand.jobs())["release_temporary_losses"] == 0
    history = ok(await stand.centre.as_("operator").get(f"/v1/cards/{number}/history"))["items"]
    assert [(e["side"], e["act"]) for e in history if e["side"] == "social"] == [
        ("social", "expire_loss"),
        ("social", "lose_temporarily"),
        ("social", "issue"),
    ]
    assert history[0]["version"] == (await stand.view(number))["version"] == len(history)


@both_engines
async def test_replicas_release_a_card_once(stand: BankStand) -> None:
    numbers = [await stand.card() for _ in range(3)]
    for number in numbers:
        ok(await stand.act(number, "loss", kind="temporary"))
    stand.centre.clock.advance(7 * DAY)
    jobs = await asyncio.gather(*(run_once(services) for services in (stand.services, stand.replica())))
    assert sum(done["release_temporary_losses"] for done in jobs) == 3
    acts = stand.centre.store.sql("SELECT card_number, count(*) FROM card_events WHERE act = 'expire_loss' GROUP BY 1")
    assert sorted(acts) == [(number, 1) for number in sorted(numbers)]


async def test_a_refusal_says_what_where_since_when_by_whom_and_what_next(stand: BankStand) -> None:
    number = await stand.card()
    ok(await stand.act(number, "loss", kind="formal"))
    body = refused(await stand.act(number, "loss", kind="temporary"), "CARD_STATE", 409)
    for part in (
        "挂失（2）",
        "2026-01-05T01:00:00+00:00",
        "operator",
        "注销",
        "cancel",
        "cannot report lost for a while",
    ):
        assert part in body["detail"]
    body = refused(await stand.act(number, "release"), "CARD_STATE", 409)
    assert "本地区正式挂失后不能解挂" in body["detail"]
    assert "formal_loss_can_be_lifted" in body["detail"]


async def test_a_repeat_is_a_success(stand: BankStand) -> None:
    number = await stand.card()
    for act, body in (("loss", {"kind": "temporary"}), ("loss", {"kind": "formal"}), ("cancel", {})):
        assert ok(await stand.act(number, act, **body))["code"] == "00"
        again = ok(await stand.act(number, act, **body, version=1))
        assert (again["result"], again["code"]) == ("already", "01")
    first = await stand.act(number, "cancel", key="cancel-key-1")
    replayed = await stand.act(number, "cancel", key="cancel-key-1")
    assert replayed.headers["Idempotency-Replayed"] == "true"
    assert ok(replayed) == ok(first)
    refused(await stand.act(number, "cancel", key="cancel-key-1", reason="other"), "IDEMPOTENCY_CONFLICT", 409)


@both_engines
async def test_two_operators_at_one_card(stand: BankStand) -> None:
    """Both have seen the same version: one wins, the other is told who did what."""
    await stand.centre.register("counter-a", ("operator",))
    await stand.centre.register("counter-b", ("operator",))
    for _ in range(4):
        number = await stand.card()
        seen = (await stand.view(number))["version"]
        answers = await asyncio.gather(
            stand.act(number, "loss", by="counter-a", kind="formal", if_match=seen),
            stand.act(number, "cancel", by="counter-b", version=seen),
        )
        won, lost = sorted(answers, key=lambda answer: answer.status_code)
        winner = "counter-a" if won is answers[0] else "counter-b"
        body = refused(lost, "CONFLICT", 409)
        assert f"{winner} did {'lose' if won is answers[0] else 'cancel'}" in body["detail"]
        assert ok(won)["card"]["state"] == (CardState.LOST if won is answers[0] else CardState.CANCELLED)
        assert won.headers["ETag"] == f'"{ok(won)["card"]["version"]}"'


async def test_if_match_and_version_must_agree(stand: BankStand) -> None:
    number = await stand.card()
    body = refused(await stand.act(number, "lock", if_match=1, version=2), "INPUT_INVALID", 400)
    assert body["fields"][0]["location"] == "header.If-Match"


@pytest.mark.parametrize("keeps_number", [False, True])
@both_engines
async def test_the_new_card_ends_the_old_one(stand: BankStand, keeps_number: bool) -> None:
    number = await stand.card()
    ecard = (await stand.view(number))["ecard_no"]
    refused(await stand.act(number, "replacements", cause="lost"), "CARD_STATE", 409)
    ok(await stand.act(number, "loss", kind="formal"))
    refused(await stand.act(number, "replacements", cause="damaged"), "CARD_STATE", 409)
    application = ok(await stand.act(number, "replacements", cause="lost", keeps_number=keeps_number), 201)
    assert (application["kind"], (await stand.view(number))["successor_application"]) == (
        "replacement",
        application["id"],
    )
    refused(await stand.act(number, "cancel"), "CARD_STATE", 409)
    refused(await stand.act(number, "replacements", cause="lost"), "CONFLICT", 409)
    stand.serial += 1
    new = await stand.issue(application["id"])
    await stand.settle()
    assert (new == number) is keeps_number
    card = await stand.view(new)
    assert (card["state"], card["ecard_no"], card["ecard_state"]) == ("1", ecard, "active")
    if keeps_number:
        assert stand.bank.states() == {number: "inactive"}
        assert await stand.reconcile() == 0
        assert stand.centre.store.sql("SELECT count(*) FROM retired_chips") == [(1,)]
    else:
        assert await _states(stand, number) == ("9", "closed", None)
        assert stand.bank.states() == {number: "closed", new: "inactive"}
    used = stand.centre.store.sql("SELECT count(*) FROM card_numbers WHERE state = 'used'")
    assert used == [(1 if keeps_number else 2,)]


async def test_a_spoiled_same_number_card_leaves_the_number_alone(stand: BankStand) -> None:
    number = await stand.card()
    application = ok(await stand.act(number, "replacements", cause="damaged", keeps_number=True), 201)["id"]
    await stand.centre.stock(blanks=3, numbers=0)
    ok(await stand.centre.start(application, atr(2)), 201)
    ok(await stand.centre.write_off(application, reset(2)))
    stand.serial = 3
    assert await stand.issue(application) == number
    assert stand.centre.store.sql("SELECT state FROM card_numbers WHERE number = :n", n=number) == [("used",)]


async def test_renewal_opens_with_its_window(stand: BankStand) -> None:
    number = await stand.card()
    body = refused(await stand.act(number, "renewals"), "CARD_STATE", 409)
    assert "2035-11-06" in body["detail"]
    stand.centre.clock.advance((3652 - 60) * DAY)
    application = ok(await stand.act(number, "renewals"), 201)
    stand.serial += 1
    new = await stand.issue(application["id"])
    assert ((await stand.view(new))["expiry_date"], (await stand.view(number))["state"]) == ("2045-11-06", "9")
    fee = stand.centre.store.sql("SELECT reason, fee_fen FROM card_successions")
    assert fee == [("renewal", 0)]


async def test_a_holder_who_died_gets_no_card_any_more(stand: BankStand) -> None:
    number = await stand.card()
    ok(await stand.act(number, "holder-end", cause="death"))
    await stand.settle()
    assert await _states(stand, number) == ("9", "closed", "cancelled")
    assert stand.bank.states()[number] == "closed"
    refused(await stand.act(number, "replacements", cause="quality"), "IDENTITY_DECEASED", 409)
    refused(await stand.centre.apply(1, key="once-again"), "IDENTITY_DECEASED", 409)


async def test_who_left_for_good_may_come_back(stand: BankStand) -> None:
    number = await stand.card()
    ok(await stand.act(number, "holder-end", cause="exit"))
    refused(await stand.act(number, "replacements", cause="quality"), "CARD_STATE", 409)
    ok(await stand.centre.apply(1, key="back-again"), 201)


async def test_changed_data_wait_for_the_chip(stand: BankStand) -> None:
    number = await stand.card()
    assert ok(await stand.act(number, "holder", name="测试一"))["result"] == "already"
    assert ok(await stand.act(number, "holder", name="测试改", ethnic_group="11"))["card"]["rewrite_pending"]
    refused(await stand.act(number, "holder", name="测  试€€"), "INPUT_INVALID", 400)
    listed = ok(await stand.centre.as_("operator").get("/v1/cards", params={"rewrite_pending": True}))
    assert [card["card_number"] for card in listed["items"]] == [number]
    assert "测试改".encode() not in stand.centre.store.stored()


async def test_found_cards_are_handed_back_or_destroyed(stand: BankStand) -> None:
    operator, number = stand.centre.as_("operator"), await stand.card()

    async def post(path: str, key: str, **body: Any) -> Any:
        return await operator.post(path, json=body or None, headers={"Idempotency-Key": key})

    found = ok(await post("/v1/found-cards", "found-01", card_number=number, outlet="hall-3"), 201)
    again = ok(await post("/v1/found-cards", "found-02", card_number=number, outlet="hall-4"), 201)
    assert again["id"] == found["id"]
    refused(await post(f"/v1/found-cards/{found['id']}/destroy", "destroy-01"), "CARD_STATE", 409)
    ok(await post(f"/v1/found-cards/{found['id']}/hand-back", "hand-back-01"))
    assert ok(await post(f"/v1/found-cards/{found['id']}/hand-back", "hand-back-02"))["state"] == "returned"
    second = ok(await post("/v1/found-cards", "found-03", card_number=number, outlet="hall-3"), 201)
    stand.centre.clock.advance(90 * DAY)
    assert (await stand.jobs())["mark_overdue_found_cards"] == 1
    assert (await stand.jobs())["mark_overdue_found_cards"] == 0
    overdue = ok(await operator.get("/v1/found-cards", params={"overdue": True}))["items"]
    assert [row["id"] for row in overdue] == [second["id"]]
    ok(await stand.act(number, "loss", kind="formal"))
    refused(await post(f"/v1/found-cards/{second['id']}/hand-back", "hand-back-03"), "CARD_STATE", 409)
    ok(await post(f"/v1/found-cards/{second['id']}/destroy", "destroy-02"))
    topics = stand.centre.store.sql("SELECT topic FROM outbox_messages WHERE topic LIKE 'notice%' ORDER BY id")
    assert [topic for (topic,) in topics] == ["notice.card_found"] * 2 + ["notice.found_card_overdue"]


async def test_lists_and_history_come_in_pages(stand: BankStand) -> None:
    numbers = [await stand.card() for _ in range(5)]
    ok(await stand.act(numbers[1], "lock"))
    operator, seen, cursor = stand.centre.as_("operator"), [], None
    while True:
        query: dict[str, Any] = {"limit": 2, "state": "1"} | ({"cursor": cursor} if cursor else {})
        page = ok(await operator.get("/v1/cards", params=query))
        seen += [card["card_number"] for card in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(set(numbers) - {numbers[1]})
    refused(await operator.get("/v1/cards", params={"cursor": "bm90aGluZw"}), "INPUT_INVALID", 400)
    first = ok(await operator.get(f"/v1/cards/{numbers[1]}/history", params={"limit": 1}))
    rest = ok(await operator.get(f"/v1/cards/{numbers[1]}/history", params={"cursor": first["next_cursor"]}))
    assert [event["id"] for event in first["items"] + rest["items"]] == sorted(
        (event["id"] for event in first["items"] + rest["items"]), reverse=True
    )


@pytest.mark.parametrize("region", ["120000", "130000"])
async def test_rules_of_the_region_decide(stand: BankStand, region: str) -> None:
    """Tianjin lifts formal losses, Hebei does not and keeps no numbers; a wallet proves no holder, so may neither."""
    first = {"120000": "E", "130000": "G"}[region]
    operator = stand.centre.as_("operator")
    ok(
        await operator.post("/v1/card-numbers", json={"region": region, "body_from": f"{first}0000001", "count": 5}),
        201,
    )
    delivery = {"delivery": "d", "region": region, "reset_information": [reset(1)]}
    ok(await operator.post("/v1/blanks", json=delivery), 201)
    application = ok(await stand.centre.apply(1, region=region), 201)["id"]
    outcome = await stand.centre.run(ok(await stand.centre.start(application, atr(1)), 201))
    number = outcome["result"]["card_number"]
    days = {"120000": 5, "130000": 10}[region]
    refused(await stand.act(number, "loss", by="wallet", kind="temporary"), "CLIENT_FORBIDDEN", 403)
    until = ok(await stand.act(number, "loss", kind="temporary"))["card"]["temporary_until"]
    assert until == f"2026-01-{5 + days:02d}T01:00:00Z"
    refused(await stand.act(number, "release", by="wallet"), "CLIENT_FORBIDDEN", 403)
    ok(await stand.act(number, "release"))
    ok(await stand.act(number, "loss", kind="formal"))
    lifted = await stand.act(number, "release")
    if region == "120000":
        assert ok(lifted)["card"]["state"] == "1"
        ok(await stand.act(number, "loss", kind="formal"))
        ok(await stand.act(number, "replacements", cause="lost"), 201)
        assert "no_replacement_open" in refused(await stand.act(number, "release"), "CARD_STATE", 409)["detail"]
    else:
        refused(lifted, "CARD_STATE", 409)
        kept = await stand.act(number, "replacements", cause="lost", keeps_number=True)
        assert "reissue_keeps_number" in refused(kept, "CARD_STATE", 409)["detail"]


async def test_who_may_do_what(stand: BankStand) -> None:
    number = await stand.card()
    refused(await stand.act(number, "lock", by="terminal"), "CLIENT_FORBIDDEN", 403)
    refused(await stand.act(number, "cancel", by="wallet"), "CLIENT_FORBIDDEN", 403)
    await stand.centre.register("elsewhere", ("operator",), region="120000")
    refused(await stand.act(number, "loss", by="elsewhere", kind="formal"), "NOT_FOUND", 404)
    assert ok(await stand.centre.as_("elsewhere").get("/v1/cards"))["items"] == []


def test_the_tables_are_whole() -> None:
    """Every live state of a card can be left, and what is cancelled stays so."""
    tables = machines()
    for state in CardState:
        acts = tables.possible("social", state, "office", "operator", "system")
        assert bool(acts) is (state is not CardState.CANCELLED)
    for act, coupling in tables.coupling.items():
        if coupling.financial is not None:
            assert tables.transition("financial", coupling.financial).target != "none", act
