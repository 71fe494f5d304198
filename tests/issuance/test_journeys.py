"""Journeys at the centre: each tap once, TACs proved, torn taps decided later, and a day that comes out to the fen."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from cardlib.identity import card_factor
from cardlib.terminal_records import PurchaseRecord
from cardlib.transit_clearing import standings
from hsm.api import KeyService
from hsm.remote import KeyServer, connect
from issuance.journeys.intake import told_of
from issuance.journeys.models import TransitTapRow
from issuance.privacy.retention import forget
from issuance.scope import EVERYWHERE
from issuance.supervision.alerts import evaluate_alerts
from simulators.card import crypto as cipher
from tests.issuance.conftest import Centre, atr, both_engines, ok, refused
from tests.issuance.transit_days import DAY, ROOT, Gate, Purse, Wrong, day_of, transit_keys

OUTCOMES = ("paid", "paid", "suspicious", "void")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyService]:
    """A key service that has the operator's roots."""
    service = transit_keys(tmp_path_factory.mktemp("keys") / "keys")
    yield service
    service.close()


@pytest.fixture
async def gates(centre: Centre, tmp_path: Path) -> tuple[Gate, Gate]:
    await centre.register("other", ("terminal",), "130000")
    return Gate(centre, tmp_path, "terminal", 1), Gate(centre, tmp_path, "other", 2)


def lines(day: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {line["kind"]: (line["count"], line["fen"]) for one in day["terminals"] for line in one["lines"]}


async def alerts(centre: Centre) -> list[tuple[Any, ...]]:
    """Of takings, after a round."""
    await evaluate_alerts(centre.app.state.services)
    return centre.store.sql("SELECT subject, value, state FROM alerts WHERE rule = 'takings_unexplained'")


def standing_rows(centre: Centre) -> list[tuple[Any, ...]]:
    query = "SELECT offline, psam, outcome, standing FROM transit_taps ORDER BY serial, offline, psam, outcome"
    return [(row[0], int(row[1][4:]), row[2], row[3]) for row in centre.store.sql(query)]


@both_engines
async def test_a_day_comes_out_to_the_fen(gates: tuple[Gate, Gate]) -> None:
    here, there = gates
    centre, purse, other = here.centre, Purse(1), Purse(2, algorithm=4)
    here.tap(purse, 200)
    here.tap(other, 0, product="senior", catalog_item="joint-transport-free-ride", fare_fen=300)
    torn, _ = here.tap(purse, 300, "suspicious")  # it had paid
    lost, _ = here.tap(other, 300, "suspicious", is_executed=False)
    there.tap(purse, 150)
    there.tap(other, 50, "void", is_executed=False)
    there.tap(other, 100)
    here.ride("ab"), there.ride("ab")
    here.write(torn.model_copy(update={"outcome": "recovered", "tac": purse.pay(torn.model_dump(), is_executed=False)}))
    here.say(refusals={"BALANCE": 2})
    there.say(is_closed=True)
    batch = here.batch()
    await there.send()
    await here.send(batch)
    await here.send(batch)  # the answer was lost
    day = await day_of(centre)
    paid = (10_000 - purse.balance_fen) + (10_000 - other.balance_fen)
    assert paid == 200 + 300 + 150 + 100
    assert day["takings_fen"] == paid + 200, "and one ride with the code"
    assert lines(day) == {"repeated": (1, -300), "not_executed": (1, -300), "code_used": (1, -200)}
    assert day["takings_fen"] - day["said_fen"] == day["difference_fen"] == -800
    assert day["is_explained"]
    assert day["sums"]["free"] == {"count": 1, "fen": 300}
    assert day["sums"]["recovered"] == {"count": 1, "fen": 300}
    assert day["turned_away"] == {"BALANCE": 2}
    assert [(p["product"], p["catalog_item"], p["count"], p["fen"], p["fare_fen"]) for p in day["products"]] == [
        ("plain", None, 5, 950, 950),
        ("senior", "joint-transport-free-ride", 1, 0, 300),
    ]
    assert {one["terminal"]: (one["name"], one["is_closed"]) for one in day["terminals"]}["other"][1]
    (named,) = (line["records"] for one in day["terminals"] for line in one["lines"] if line["kind"] == "not_executed")
    assert [(one["psam"], one["number"]) for one in named] == [(lost.psam, lost.number)]
    hebei = await centre.register("hebei", ("operator",), "130000")
    assert hebei is None
    assert [one["terminal"] for one in (await day_of(centre, by="hebei"))["terminals"]] == ["other"]


async def test_the_next_tap_decides_wherever_and_whenever_it_comes(gates: tuple[Gate, Gate]) -> None:
    here, there = gates
    centre, purse = here.centre, Purse(1)
    here.tap(purse, 300, "suspicious")
    await here.send()
    assert standing_rows(centre) == [(16, 1, "suspicious", "open")]
    assert lines(await day_of(centre)) == {"after_statement": (1, 300), "open": (1, -300)}
    there.tap(purse, 100)
    late = there.batch()
    here.tap(purse, 200)
    await here.send()  # two numbers on, and nobody has told of the one between
    assert standing_rows(centre)[0] == (16, 1, "suspicious", "executed")
    await there.send(late)
    assert [row[3] for row in standing_rows(centre)] == ["executed", "booked", "booked"]
    assert (await day_of(centre))["takings_fen"] == 10_000 - purse.balance_fen
    other = Purse(2)
    there.tap(other, 100)
    here.tap(other, 300, "suspicious")
    here.tap(other, 200)
    await here.send()
    await there.send()  # what comes late does not undo what was decided
    assert [row[3] for row in standing_rows(centre)[3:]] == ["booked", "executed", "booked"]


async def test_another_gate_has_the_number(gates: tuple[Gate, Gate]) -> None:
    """It looked carried out, until the gate that really charged the purse was heard of."""
    here, there = gates
    centre, purse = here.centre, Purse(1)
    here.tap(purse, 300, "suspicious", is_executed=False)
    there.tap(purse, 300)
    here.tap(purse, 100)
    await here.send()
    assert standing_rows(centre)[0][3] == "executed"
    await there.send()
    assert [row[1:] for row in standing_rows(centre)][:2] == [(1, "suspicious", "not_executed"), (2, "paid", "booked")]
    assert (await day_of(centre))["takings_fen"] == 10_000 - purse.balance_fen == 400


async def test_what_is_wrong_is_not_booked_and_says_why(gates: tuple[Gate, Gate], tmp_path: Path) -> None:
    here, there = gates
    centre, purse = here.centre, Purse(1)
    _, forged = here.tap(purse, 500, tac="00000000", is_executed=False)
    real, _ = here.tap(purse, 200)
    here.write(real)  # under another key
    there.write(real.model_copy(update={"psam": there.psam, "number": "00000001"}))  # a TAC of another terminal
    here.say(), there.say()
    await centre.register("forger", ("terminal",), "130000")
    forger = Gate(centre, tmp_path, "forger", 1)  # under this PSAM's number, and earlier
    forger.write(real.model_copy(update={"tac": "00000000"}))
    assert not (await forger.send())["refused"]
    assert [(one["failure"], one["detail"]) for one in (await here.send())["refused"]] == [
        ("CONFLICT", "this tap is in the books already")
    ]
    await there.send()
    day = await day_of(centre)
    assert day["takings_fen"] == 200
    mine, others, forgers = sorted(day["terminals"], key=lambda one: one["terminal"], reverse=True)
    assert lines({"terminals": [mine]}) == {"tac_wrong": (1, -500), "rejected": (1, -200)}
    assert lines({"terminals": [others]}) == {"tac_wrong": (1, -200)}
    assert lines({"terminals": [forgers]}) == {"after_statement": (1, 200), "tac_wrong": (1, -200)}
    assert mine["lines"][1]["records"][0]["sequence"] == forged
    assert day["sums"]["refused"] == {"count": 3, "fen": 900}
    assert day["is_explained"]


async def test_foreign_purses_are_for_their_issuer_to_clear(gates: tuple[Gate, Gate]) -> None:
    here, _ = gates
    centre = here.centre
    services = centre.app.state.services
    object.__setattr__(services.settings, "transit_issuers", ("01234567",))
    here.tap(Purse(1), 200)
    await here.send()
    assert standing_rows(centre) == [(16, 1, "paid", "foreign")]
    assert (await day_of(centre))["sums"]["foreign"] == {"count": 1, "fen": 200}
    object.__setattr__(services.settings, "transit_issuers", ("09990100",))
    here.tap(Purse(2), 200, key_version=9)  # whose root is not here
    here.tap(Purse(3), 200)
    await here.send()
    assert [row[3] for row in standing_rows(centre)] == ["foreign", "foreign", "booked"]


async def test_keys_in_another_process_prove_too(gates: tuple[Gate, Gate], keys: KeyService, tmp_path: Path) -> None:
    here, _ = gates
    services, server = here.centre.app.state.services, KeyServer(tmp_path / "keys.socket", keys)
    thread = threading.Thread(target=server.serve)
    thread.start()
    client = connect(tmp_path / "keys.socket")
    object.__setattr__(services, "keys", client)
    try:
        here.tap(Purse(1), 200)
        here.tap(Purse(2), 200, tac="00000000")
        here.tap(Purse(3), 200, key_version=9)
        await here.send()
    finally:
        client.close()
        server.close()
        thread.join()
    assert [row[3] for row in standing_rows(here.centre)] == ["booked", "refused", "foreign"]


async def test_clocks_gaps_and_silence_are_told_from_each_other(gates: tuple[Gate, Gate], tmp_path: Path) -> None:
    here, _ = gates
    centre, purse = here.centre, Purse(1)
    await centre.register("gone-wrong", ("terminal",), "110000")
    wrong = Gate(centre, tmp_path, "gone-wrong", 3, clock=Wrong(centre.clock, timedelta(days=-400)))
    wrong.tap(purse, 100)
    wrong.say()
    await wrong.send()
    (believed,) = wrong.counted
    assert lines(await day_of(centre, terminal="gone-wrong")) == {"moved_in": (1, 100)}
    assert lines(await day_of(centre, believed)) == {"moved_out": (1, -100)}
    for fen in (200, 300):
        here.tap(purse, fen)
    here.say()
    await here.send(here.batch(1))
    missing = await day_of(centre, terminal="terminal")
    assert missing["terminals"][0]["said"] is None, "its statement has not come either"
    centre.clock.advance(24 * 3600)
    silent = await day_of(centre, terminal="terminal")
    assert (lines(silent), silent["is_explained"]) == ({"unsaid": (1, 200)}, False)
    assert await alerts(centre) == [("terminal:terminal", 1, "raised")]
    batch = here.batch()
    await here.send(batch.model_copy(update={"up_ms": batch.up_ms + 24 * 3_600_000}))  # the test's clock made a leap
    assert lines(await day_of(centre, terminal="terminal")) == {}
    centre.clock.advance(3500)
    assert await alerts(centre) == [("terminal:terminal", 1, "raised")], "within the hour"
    centre.clock.advance(100)
    assert await alerts(centre) == [("terminal:terminal", 1, "over")]
    here.tap(purse, 50)
    here.counted[DAY]["paid"]["fen"] += 7  # takings nobody can account for
    here.say()
    await here.send()
    day = await day_of(centre, terminal="terminal")
    assert (lines(day), day["is_explained"]) == ({"unexplained": (0, -7)}, False)


async def test_records_that_did_not_come_are_named(gates: tuple[Gate, Gate]) -> None:
    here, _ = gates
    centre, purse = here.centre, Purse(1)
    for fen in (100, 300):
        here.tap(purse, fen)
    here.counted[DAY]["paid"]["count"] += 1  # and one of 200, whose record the gate still has
    here.counted[DAY]["paid"]["fen"] += 200
    here.say()
    await here.send()
    centre.store.sql("UPDATE terminal_journals SET told_sequence = 6")
    (one,) = (await day_of(centre))["terminals"]
    assert lines({"terminals": [one]}) == {"missing": (1, -200)}
    assert list(one["lines"][0]["journals"].values()) == [[4, 6]]


async def test_a_purse_and_its_journeys(gates: tuple[Gate, Gate]) -> None:
    here, there = gates
    centre, purse = here.centre, Purse(7)
    in_, _ = here.tap(purse, 0, mode="metro_entry", type=9, fare_fen=0)
    there.tap(purse, 300, mode="metro_exit", type=9, entry=here.entry(in_))
    centre.clock.advance(60)
    here.tap(purse, 0, mode="metro_entry", type=9, fare_fen=0)
    lost = here.entry(in_).model_copy(update={"time": "20260104080000"})
    there.tap(purse, 400, mode="metro_exit", type=9, entry=lost)
    here.tap(purse, 200)
    centre.clock.advance(60)
    here.tap(purse, 0, mode="metro_entry", type=9, fare_fen=0)
    await here.send()
    await there.send()
    path = f"/v1/journeys/purses/{purse.serial[1:]}"
    (found,) = ok(await centre.as_("operator").get(path))["purses"]
    assert [(len(one["taps"]), one["amount_fen"], one["trouble"]) for one in found["journeys"]] == [
        (1, 0, "under_way"),
        (1, 200, None),
        (1, 400, "no_entry"),
        (1, 0, "no_exit"),
        (2, 300, None),
    ]
    assert found["card_number"] is None
    assert (await day_of(centre))["sums"]["without_exit"] == 2
    assert centre.store.sql("SELECT subject FROM audit_entries WHERE act = 'journeys.purse'") == [
        (f"purse:{purse.serial[1:]}",)
    ]
    await centre.register("hebei", ("operator",), "130000")
    (seen,) = ok(await centre.as_("hebei").get(path))["purses"]
    assert [one["amount_fen"] for one in seen["journeys"]] == [400, 300], "as far as its own terminals saw it"


async def test_the_purse_of_a_card(centre: Centre) -> None:
    await centre.stock(blanks=2, numbers=2)
    card, other = await centre.issue(1), await centre.issue(2)
    sql = centre.store.sql
    sql("UPDATE cards SET identification_code = :code WHERE card_number = :n", code="2" * 32, n=other["card_number"])
    code = sql("SELECT identification_code FROM cards WHERE card_number = :n", n=card["card_number"])[0][0]
    purse = {"identification_code": code, "issuer": "09990100FFFFFFFF", "serial": Purse(1).serial}

    async def put(number: str, told: dict[str, str]) -> Any:
        return await centre.as_("terminal").put(f"/v1/cards/{number}/purse", json=told)

    for _ in range(2):
        assert ok(await put(card["card_number"], purse)) == purse
    refused(await put(other["card_number"], purse), "CARD_MISMATCH", 409)
    refused(await put(other["card_number"], purse | {"identification_code": "2" * 32}), "CONFLICT", 409)
    refused(await put(card["card_number"], purse | {"serial": Purse(2).serial}), "CONFLICT", 409)
    found = ok(await centre.as_("operator").get(f"/v1/journeys/purses/{Purse(1).serial[1:]}"))
    assert [(one["card_number"], one["journeys"]) for one in found["purses"]] == [(card["card_number"], [])]


async def test_a_settlement_is_booked_when_its_tac_is_the_cards_own(gates: tuple[Gate, Gate]) -> None:
    here, _ = gates
    centre, sql = here.centre, here.centre.store.sql
    await centre.stock(blanks=2)
    number = (await centre.issue(1))["card_number"]
    ((code, chip),) = sql("SELECT identification_code, reset_information FROM cards")
    key = cipher.diversify(cipher.Algorithm.SM4, ROOT, card_factor(bytes.fromhex(chip)))
    facts = {"terminal": here.psam, "time": "20260105090001", "outcome": "done"}
    facts |= {"account_fen": 100, "self_paid_fen": 20, "pooling_fen": 3}
    amounts = b"".join(fen.to_bytes(4, "big") for fen in (100, 20, 3))

    def purchase(index: int, card: str, tac: str | None = None) -> PurchaseRecord:
        message = amounts + bytes.fromhex(f"32{here.psam}{index:08X}20260105090001")
        right = cipher.tac(cipher.Algorithm.SM4, key, message).hex().upper()
        names = {"identification_code": code, "card_number": card, "number": f"{index:08X}"}
        return PurchaseRecord.model_validate(facts | names | {"tac": tac or right})

    for one in (purchase(1, number), purchase(2, number, "00000000"), purchase(3, "X00000001", "00000000")):
        here.write(one)
    refusals = [(one["sequence"], one["failure"]) for one in (await here.send())["refused"]]
    assert refusals == [(2, "SECURE_MESSAGING_FAILED")]
    assert sql("SELECT number, verdict FROM takings ORDER BY number") == [
        ("00000001", "genuine"),
        ("00000003", "foreign"),
    ]
    report = ok(await centre.as_("operator").get("/v1/terminals/terminal/reconciliation", params={"day": DAY}))
    assert (report["difference"], report["takings"][0]["count"]) == (1, 2)
    # The chip is exchanged before the rest of what it paid is told.
    order, key_of = {"cause": "damaged", "keeps_number": True}, {"Idempotency-Key": "exchange-1"}
    asked = await centre.as_("operator").post(f"/v1/cards/{number}/replacements", json=order, headers=key_of)
    await centre.run(ok(await centre.start(ok(asked, 201)["id"], atr(2)), 201))
    assert sql("SELECT reset_information FROM retired_chips") == [(chip,)]
    for one in (purchase(4, number), purchase(5, number, "00000000")):
        here.write(one)
    assert [one["sequence"] for one in (await here.send())["refused"]] == [5]
    assert sql("SELECT verdict FROM takings WHERE number = '00000004'") == [("genuine",)]


async def test_where_people_went_is_forgotten_in_time(gates: tuple[Gate, Gate]) -> None:
    here, _ = gates
    centre = here.centre
    here.tap(Purse(1), 200), here.ride("ab")
    here.say()
    await here.send()
    services = centre.app.state.services
    centre.clock.advance(1824 * 86_400)
    assert (await forget(services))["journey"] == 0
    centre.clock.advance(2 * 86_400)
    assert (await forget(services))["journey"] == 2
    counts = [centre.store.sql(f"SELECT count(*) FROM {table}")[0][0] for table in ("transit_taps", "transit_days")]
    assert counts == [0, 1], "what the gate took stays"


async def test_the_books_are_those_of_the_rule_whatever_comes_first(gates: tuple[Gate, Gate]) -> None:
    """Batches of any size from two gates: what is booked bit by bit is what the rule says of all of it."""
    centre, chance = gates[0].centre, random.Random(11)
    purses = [Purse(number) for number in range(8)]
    for _ in range(160):
        gate, purse, outcome = chance.choice(gates), chance.choice(purses), chance.choice(OUTCOMES)
        is_executed = outcome == "paid" or (outcome == "suspicious" and chance.random() < 0.5)
        tap, _ = gate.tap(purse, chance.choice((0, 100, 300)), outcome, is_executed=is_executed)
        if outcome == "suspicious" and chance.random() < 0.3:
            change = {"outcome": "recovered" if is_executed else "void"}
            change |= {"tac": purse.pay(tap.model_dump(), is_executed=False)} if is_executed else {}
            gate.write(tap.model_copy(update=change))
        centre.clock.advance(1)
    while waiting := [gate for gate in gates if gate.journal.standing().waiting]:
        gate = chance.choice([waiting[0]] * 3 + waiting)  # one is well ahead of the other
        await gate.send(gate.batch(chance.randint(1, 9)))
    async with centre.app.state.services.database.look(scope=EVERYWHERE) as session:
        rows = list(await session.scalars(select(TransitTapRow)))
    assert len({row.standing for row in rows}) == 6
    for purse in purses:
        own = [row for row in rows if row.serial == purse.serial]
        judged = standings([told_of(row) for row in own])
        assert [(row.standing, row.why) for row in own] == [(one.standing, one.why) for one in judged]
