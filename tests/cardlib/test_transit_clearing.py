"""The clearing rule against a purse that knows what it paid; payloads from outside."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cardlib.terminal_records import PAYLOADS, RecordBody, RecordInvalidError
from cardlib.transit_clearing import Judged, Standing, Told, Verdict, Why, standings, takings_fen, verdict_of
from cardlib.transit_takings import MAX_REASONS, TRANSIT_PAYLOADS, TransitDay, TransitTap
from tests.cardlib.transit import keys
from tests.simulators import transit as stand

START = datetime(2026, 1, 5, 1, tzinfo=UTC)
BODY = {"key": "0" * 32, "at": "2026-01-05T01:00:00Z", "boot": "0" * 32, "up_ms": 1}


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[Told], int]:
    """Taps of one purse as terminals tell of them, and what it has paid in the end. The last one is known."""
    taps: list[Told] = []
    balance, sequence, paid = 100_000, 16, 0
    for number in range(draw(st.integers(1, 8))):
        fen, is_executed = draw(st.sampled_from([0, 100, 300])), draw(st.booleans())
        psam = draw(st.sampled_from(["A", "B", "C"]))
        at = START + timedelta(seconds=number)
        tap = Told(psam, f"{number:08X}", sequence, balance, fen, "suspicious", Verdict.NONE, at)
        if is_executed:
            proof = replace(tap, outcome="paid", verdict=draw(st.sampled_from([Verdict.GENUINE, Verdict.FOREIGN])))
            told = draw(st.sampled_from([[tap], [proof], [tap, replace(proof, outcome="recovered")], [proof, proof]]))
            balance, sequence, paid = balance - fen, sequence + 1, paid + fen
        else:
            void = replace(tap, outcome="void", at=at + timedelta(seconds=0.5))
            forged = replace(tap, outcome="paid", verdict=Verdict.WRONG)
            told = draw(st.sampled_from([[tap], [void], [tap, void], [forged], []]))
        taps += told
        if draw(st.booleans()):
            balance += 1000  # a load
    last = Told("A", "FFFFFFFF", sequence, balance, 0, "paid", Verdict.GENUINE, START + timedelta(minutes=1))
    return [*taps, last], paid


@settings(max_examples=100)
@given(lives(), st.randoms(use_true_random=False))
def test_takings_are_what_the_purse_paid_in_whatever_order_one_hears_of_it(
    life: tuple[list[Told], int], order: random.Random
) -> None:
    taps, paid = life
    judged = standings(taps)
    taken = [tap.sequence for tap, one in zip(taps, judged, strict=True) if one.is_taking]
    assert sorted(taken) == list(range(16, taps[-1].sequence + 1)), "each number once"
    # Who of several in one number charged the purse is known only where what it held says so.
    claims = {(tap.sequence, tap.amount_fen) for tap in taps if tap.verdict is not Verdict.WRONG}
    if len(claims) == len(taken):
        assert takings_fen(taps) == paid
    shuffled = order.sample(taps, len(taps))
    assert takings_fen(shuffled) == takings_fen(taps)
    now = {tap: one.standing for tap, one in zip(shuffled, standings(shuffled), strict=True) if taps.count(tap) == 1}
    assert now == {tap: one.standing for tap, one in zip(taps, judged, strict=True) if tap in now}


def told(sequence: int, outcome: Any, verdict: Verdict = Verdict.NONE, **change: Any) -> Told:
    tap = Told("A", f"{sequence:08X}", sequence, 1000, 300, outcome, verdict, START)
    return replace(tap, **change)


LATER = START + timedelta(seconds=9)


@pytest.mark.parametrize(
    ("taps", "wanted"),
    [
        ([told(1, "suspicious")], [Judged(Standing.OPEN, Why.UNDECIDED)]),
        (
            [told(1, "suspicious"), told(1, "void", number="0000000A", at=LATER)],
            [Judged(Standing.NOT_EXECUTED, Why.ASKED_AGAIN), Judged(Standing.VOID)],
        ),
        (
            [told(1, "suspicious"), told(2, "void", balance_fen=700)],
            [Judged(Standing.EXECUTED, Why.BALANCE), Judged(Standing.VOID)],
        ),
        (
            [told(1, "suspicious"), told(2, "suspicious", balance_fen=600)],
            [Judged(Standing.NOT_EXECUTED, Why.BALANCE), Judged(Standing.OPEN, Why.UNDECIDED)],
        ),
        (
            [told(1, "suspicious"), told(3, "paid", Verdict.GENUINE)],
            [Judged(Standing.EXECUTED, Why.WENT_ON), Judged(Standing.BOOKED)],
        ),
        (
            [told(1, "suspicious"), told(3, "paid", Verdict.WRONG)],
            [Judged(Standing.OPEN, Why.UNDECIDED), Judged(Standing.REFUSED, Why.TAC_WRONG)],
        ),
        (
            [told(1, "paid", Verdict.GENUINE), told(1, "paid", Verdict.GENUINE, psam="B", at=LATER)],
            [Judged(Standing.BOOKED), Judged(Standing.REFUSED, Why.NUMBER_TAKEN)],
        ),
        (
            [told(1, "paid", Verdict.FOREIGN), told(1, "paid", Verdict.GENUINE, psam="B", at=LATER)],
            [Judged(Standing.REFUSED, Why.NUMBER_TAKEN), Judged(Standing.BOOKED)],
        ),
        (
            [told(1, "suspicious"), told(1, "void", at=LATER)],
            [Judged(Standing.REPEATED, Why.TOLD_BETTER), Judged(Standing.VOID)],
        ),
        (
            # What another terminal says of this number takes nothing back.
            [told(1, "suspicious"), told(1, "void", teller="forger", at=LATER), told(2, "paid", Verdict.GENUINE)],
            [Judged(Standing.EXECUTED, Why.WENT_ON), Judged(Standing.VOID), Judged(Standing.BOOKED)],
        ),
        (
            [told(1, "suspicious", Verdict.GENUINE)],  # the card's MAC2 was wrong, its TAC is right
            [Judged(Standing.BOOKED)],
        ),
    ],
)
def test_what_decides(taps: list[Told], wanted: list[Judged]) -> None:
    assert standings(taps) == wanted


def tap(name: str = "3DES", **change: Any) -> TransitTap:
    """The purchase of the worked vectors."""
    facts: dict[str, Any] = {"psam": "099900000001", "number": "00000100", "issuer": "09990100FFFFFFFF"}
    facts |= {"serial": "09990100000000001234", "city": "9901", "passenger_class": 1, "product": "plain"}
    facts |= {"sequence": 16, "balance_fen": 10000, "amount_fen": 200, "fare_fen": 200, "type": 6}
    facts |= {"mode": "bus_flat", "time": "20250316080500", "key_version": 1, "acceptor": "19990100FFFFFFFF"}
    facts |= {"algorithm": int(stand.of(name)["algorithm_id"], 16), "outcome": "paid"}
    facts |= {"tac": {"3DES": "4CF00485", "SM4": "645C92E4"}[name]}
    facts |= {"place": {"city": "9901", "industry": 2, "line": 2, "station": 5}}
    return TransitTap.model_validate(facts | change)


@pytest.mark.parametrize("name", stand.NAMES)
def test_tacs_of_the_worked_vectors(name: str) -> None:
    service = keys(name)._keys
    good = tap(name)
    assert verdict_of(good, service) is Verdict.GENUINE
    for change in ({"amount_fen": 201}, {"number": "00000101"}, {"psam": "099900000002"}, {"time": "20250316080501"}):
        assert verdict_of(good.model_copy(update=change), service) is Verdict.WRONG
    assert good.tac is not None
    wrong = f"{int(good.tac, 16) ^ 1:08X}"
    assert verdict_of(good.model_copy(update={"tac": wrong}), service) is Verdict.WRONG
    assert verdict_of(good, None) is Verdict.FOREIGN
    assert verdict_of(good.model_copy(update={"tac": None}), service) is Verdict.NONE


@settings(max_examples=100)
@given(st.data())
def test_payloads_from_outside(data: st.DataObject) -> None:
    """Whatever is put in place of a field is taken as the schema says, or refused without being quoted."""
    kind = data.draw(st.sampled_from([model.kind for model in TRANSIT_PAYLOADS]))
    good = {"transit_tap": tap().model_dump(mode="json")}
    day = TransitDay(psam="0" * 12, day="2026-01-05", counter="0" * 32, statement=1)
    base: dict[str, Any] = dict(good.get(kind) or day.model_dump(mode="json"))
    field = data.draw(st.sampled_from(sorted(base)))
    junk = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.just("SECRET"), st.just({"a": 1}))
    base[field] = data.draw(junk)
    text = json.dumps(BODY | {"kind": kind, "payload": base})
    try:
        said = RecordBody.from_text(text).opened().model_dump_json()
    except RecordInvalidError as error:
        said = str(error)
    else:
        assert PAYLOADS[kind].model_validate_json(said).model_dump_json() == said
    assert "SECRET" not in said


def test_what_a_payload_must_not_be() -> None:
    for change in ({"tac": None}, {"time": "20251316080500"}, {"amount_fen": -1}, {"outcome": "void"}, {"holder": "x"}):
        with pytest.raises(ValidationError):
            tap(**change)
    day: dict[str, Any] = {"psam": "0" * 12, "day": "2026-01-05", "counter": "0" * 32, "statement": 1}
    for change in ({"day": "2026-02-30"}, {"refusals": {f"R{n}": 1 for n in range(MAX_REASONS + 1)}}):
        with pytest.raises(ValidationError):
            TransitDay.model_validate(day | change)
