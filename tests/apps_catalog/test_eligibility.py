"""`Catalog.what`: every item answered, every condition with a reason, on the one item of conftest and on ours."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from apps_catalog import (
    Answer,
    CardState,
    Carrier,
    Catalog,
    Category,
    Ground,
    Holder,
    Opened,
    Outcome,
    QueryError,
    RegionUnknownError,
    load,
)
from bench import catalog as bench_catalog
from tests.apps_catalog.conftest import ITEM

DAY = date(2025, 6, 1)
RULE = (
    'rule = { age_from = 60, age_to = 70, ecard_level = 2, categories = ["disabled", "elderly"], opened = ["bank"]'
    ', whole = true }\ngenerations = ["3.0"]\n'
)
FIT = Holder(
    "120000",
    age=60,
    card_state=CardState.NORMAL,
    generation="3.0",
    ecard_level=2,
    categories=frozenset({Category.ELDERLY}),
    opened=frozenset({Opened.BANK, Opened.TRANSIT}),
)


@pytest.fixture
def strict(write: Callable[..., Path]) -> Catalog:
    return load(write(items=ITEM + RULE))


def only(catalog: Catalog, holder: Holder, region: str = "110000", **question: object) -> Answer:
    question = {"on": DAY, "carrier": "qr"} | question
    (answer,) = catalog.what(holder, region, **question)  # type: ignore[arg-type]
    return answer


def grounds(answer: Answer, met: bool | None) -> set[Ground]:
    return {reason.ground for reason in answer.reasons if reason.met is met}


def test_yes_names_every_condition(strict: Catalog) -> None:
    answer = only(strict, FIT)
    assert answer.outcome is Outcome.YES
    assert grounds(answer, True) == set(Ground) - {Ground.NETWORK, Ground.STANDING, Ground.WORDS}
    assert {reason.met for reason in answer.reasons} == {True}


@pytest.mark.parametrize(
    ("change", "question", "ground"),
    [
        ({"region": "130100"}, {}, Ground.CARD_ORIGIN),
        ({}, {"region": "130200"}, Ground.PLACE),
        ({}, {"on": date(2024, 12, 31)}, Ground.DAYS),
        ({}, {"on": date(2026, 1, 1)}, Ground.DAYS),
        ({}, {"carrier": "contactless"}, Ground.CARRIER),
        ({}, {"offline": True}, Ground.NETWORK),
        ({"generation": "2.0"}, {}, Ground.GENERATION),
        ({"age": 59}, {}, Ground.AGE),
        ({"age": 71}, {}, Ground.AGE),
        ({"card_state": CardState.CANCELLED}, {}, Ground.CARD_STATE),
        ({"card_state": CardState.LOST}, {"carrier": "contact"}, Ground.CARD_STATE),
        ({"ecard_level": 1}, {}, Ground.ECARD_LEVEL),
        ({"ecard_level": 0}, {}, Ground.ECARD_LEVEL),
        ({"categories": frozenset({Category.STUDENT})}, {}, Ground.CATEGORY),
        ({"opened": frozenset({Opened.TRANSIT})}, {}, Ground.OPENED),
    ],
)
def test_no_names_the_condition_that_fails(
    strict: Catalog, change: dict[str, object], question: dict[str, object], ground: Ground
) -> None:
    answer = only(strict, replace(FIT, **change), **question)  # type: ignore[arg-type]
    assert answer.outcome is Outcome.NO
    assert grounds(answer, False) == {ground}


@pytest.mark.parametrize(
    ("change", "question", "ground"),
    [
        ({"age": None}, {}, Ground.AGE),
        ({"generation": None}, {}, Ground.GENERATION),
        ({"ecard_level": None}, {}, Ground.ECARD_LEVEL),
        ({"categories": None}, {}, Ground.CATEGORY),
        ({"opened": None}, {}, Ground.OPENED),
        ({"card_state": CardState.TEMPORARILY_LOST}, {}, Ground.CARD_STATE),
    ],
)
def test_what_the_question_leaves_open_stays_open(
    strict: Catalog, change: dict[str, object], question: dict[str, object], ground: Ground
) -> None:
    answer = only(strict, replace(FIT, **change), **question)  # type: ignore[arg-type]
    assert answer.outcome is Outcome.DEPENDS
    assert grounds(answer, None) == {ground}


def test_the_level_of_the_code_does_not_matter_to_the_card(strict: Catalog) -> None:
    assert only(strict, replace(FIT, ecard_level=0), carrier="contact").outcome is Outcome.YES


def test_words_no_rule_covers_and_unconfirmed_items_stay_open(write: Callable[..., Path]) -> None:
    answer = only(load(write(items=ITEM.replace('"stated"', '"inferred"'))), FIT)
    assert answer.outcome is Outcome.DEPENDS
    assert grounds(answer, None) == {Ground.WORDS, Ground.STANDING}
    assert "适用对象：持卡人" in {reason.text.zh for reason in answer.reasons}


def test_a_card_is_normal_unless_told(write: Callable[..., Path]) -> None:
    enabling = load(write(items=ITEM + 'rule = { card_states = ["sealed"], whole = true }\n'))
    answers = [only(enabling, replace(FIT, card_state=state)) for state in (None, CardState.SEALED, CardState.NORMAL)]
    assert [answer.outcome for answer in answers] == [Outcome.DEPENDS, Outcome.YES, Outcome.NO]
    plain = load(write(items=ITEM + "rule = { whole = true }\n"))
    assert only(plain, replace(FIT, card_state=None)).outcome is Outcome.YES


def test_an_answer_as_data(strict: Catalog) -> None:
    document = only(strict, FIT).to_json()
    assert (document["id"], document["outcome"]) == ("joint-culture-loan", "yes")
    assert {"ground": "carrier", "met": True, "text": {"zh": "可用：插卡、电子社保卡二维码"}} in [
        reason | {"text": {"zh": reason["text"]["zh"]}} for reason in document["reasons"]
    ]


def test_the_plain_question_finds_what_no_reason_speaks_against(shipped: Catalog) -> None:
    """`what_can` and `what` look at places, holders, days and carriers alike."""
    plain = {Ground.DAYS, Ground.PLACE, Ground.CARD_ORIGIN, Ground.CARRIER}
    day = date(2026, 12, 1)
    for region, card, carrier in itertools.product(
        ("110000", "130100", "130200"), ("130100", "120000", "510100"), (*Carrier, None)
    ):
        listed = shipped.what_can(region, holder_region=card, carrier=carrier, on=day)
        answers = shipped.what(Holder(card), region, carrier=carrier, on=day)
        assert [answer.item for answer in answers if not plain & grounds(answer, False)] == listed
        assert all(grounds(answer, False) for answer in answers if answer.outcome is Outcome.NO)


def test_people_ask_about_our_items(shipped: Catalog) -> None:
    day = date(2026, 12, 1)
    hebei = Holder("130000", age=70, ecard_level=1, card_state=CardState.NORMAL, generation="3.0")
    by_code = {answer.item.id: answer for answer in shipped.what(hebei, "110000", on=day, carrier="qr")}
    assert len(by_code) == len(shipped.items)
    assert by_code["joint-hrss-scan-login"].outcome is Outcome.YES
    assert by_code["joint-medical-bedside-payment"].outcome is Outcome.NO
    assert grounds(by_code["110000-tourism-park-annual-pass"], False) == {Ground.CARD_ORIGIN, Ground.CARRIER}
    assert grounds(by_code["joint-hrss-card-for-minor"], False) >= {Ground.AGE}
    assert by_code["110000-elderly-community-dining"].outcome is Outcome.NO
    tapped = {
        answer.item.id: answer for answer in shipped.what(hebei, "110000", on=day, carrier="contactless", offline=True)
    }
    assert grounds(tapped["joint-transport-bus"], False) == set()
    assert Ground.NETWORK in grounds(tapped["joint-tourism-park-entry"], False)


def test_impossible_questions_are_refused(shipped: Catalog) -> None:
    for question in ({"region": "310000"}, {"region": "1"}, {"carrier": "chip"}, {"holder": Holder("13")}):
        arguments = {"holder": FIT, "region": "110000"} | question
        with pytest.raises(QueryError):
            shipped.what(**arguments)  # type: ignore[arg-type]
    with pytest.raises(RegionUnknownError):
        shipped.what(FIT, "310000")


def test_bench_measures_answers(strict: Catalog) -> None:
    """On our machines a question takes about a tenth of the millisecond it may take; see bench/README.md."""
    figures = bench_catalog.measure(rounds=1, calls=10, catalog=strict)
    assert [row.question for row in figures.rows] == [*bench_catalog.QUESTIONS, bench_catalog.FILTER]
    assert "1000" in str(figures.to_json()["target_us"])
    assert figures.tables()
