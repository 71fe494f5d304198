"""The rules file of a transit terminal: what it says, and what is refused."""

import copy
import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.transit_fares import Discount, FareTable, Tier
from cardlib.transit_rules import (
    MAX_BYTES,
    Issuer,
    Limits,
    Policy,
    Product,
    RulePlace,
    TransitRules,
    TransitRulesError,
    as_message,
    read_table,
)
from tests.cardlib.gate_stand import table

EXAMPLES = sorted((Path(__file__).parents[2] / "docs/transit-rules").glob("*.toml"))
GROUPS = {"place", "issuers", "fares", "products", "limits", "policy", "tiers", "discounts"}
CODED = json.dumps(table("metro_exit", 17)).encode()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_read_and_written(path):
    rules = as_message(TransitRules, read_table(path))
    assert TransitRules.parse(json.dumps(rules.to_json()), is_json=True) == rules
    assert rules.product_of("09990100", 3).price(900) == 0


@pytest.mark.parametrize("part", [TransitRules, RulePlace, Issuer, Product, FareTable, Tier, Discount, Limits, Policy])
def test_every_field_is_in_the_docs(part):
    told = (EXAMPLES[0].parents[1] / "transit-gate.md").read_text("utf-8")
    assert {name for name in part.model_fields if f"{name}`" not in told} <= GROUPS


def test_there_is_an_example_for_each_kind():
    assert {path.stem for path in EXAMPLES} == {"metro-entry", "metro-exit", "bus"}


@pytest.mark.parametrize(
    ("mode", "changes", "place"),
    [
        ("metro_exit", {"fares": {"flat_fen": 200, "maximum_fen": 900}}, "pairs"),
        ("metro_exit", {"fares": {"pairs": {"2:5-2:17": 900}, "maximum_fen": 800}}, "maximum_fen"),
        ("metro_exit", {"fares": {"pairs": {"2:5-2:17": 3, "2:17-2:5": 4}, "maximum_fen": 9}}, "other way"),
        ("metro_exit", {"fares": {"positions": {"2:5": 1}, "maximum_fen": 9}}, "together"),
        ("bus_flat", {"fares": {}}, "flat_fen"),
        ("bus_flat", {"fares": {"flat_fen": True}}, "flat_fen"),
        ("bus_flat", {"fares": {"discounts": [{"begins": "06:00", "ends": "07:00", "percent": True}]}}, "percent"),
        ("bus_flat", {"fares": {"discounts": [{"begins": "07:00", "ends": "07:00", "percent": 50}]}}, "midnight"),
        ("bus_flat", {"fares": {"discounts": [{"begins": "06:00Z", "ends": "07:00", "percent": 50}]}}, "no zone"),
        ("bus_board", {"place": table("bus_board", 256)["place"]}, "bus stop"),
        ("metro_entry", {"valid_from": "2027-01-01"}, "end before"),
        ("metro_entry", {"issuers": [{"issuer": "*"}, {"issuer": "*"}]}, "twice"),
        ("metro_entry", {"issuers": []}, "issuers"),
        ("metro_entry", {"limits": {"retap": 2}}, "limits.retap"),
        ("metro_entry", {"products": [{"slug": "plain", "zh": "x", "en": "x", "classes": [1]}]}, "plain"),
        ("metro_entry", {"format": "transit-rules-2"}, "format"),
    ],
)
def test_rules_that_do_not_hang_together(mode, changes, place):
    with pytest.raises(TransitRulesError, match=place):
        TransitRules.parse(json.dumps(table(mode, 5) | changes), is_json=True)


@pytest.mark.parametrize("raw", [b"", b"[", b'{"format":1,"format":1}', b"\xff", b"x" * (MAX_BYTES + 1), b"[" * 99999])
@pytest.mark.parametrize("is_json", [True, False])
def test_what_is_no_rules_file(raw, is_json):
    with pytest.raises(TransitRulesError):
        TransitRules.parse(raw, is_json=is_json)


@settings(max_examples=80)
@given(st.integers(0, len(CODED) - 1), st.binary(max_size=3), st.integers(0, 3), st.booleans())
def test_a_changed_file_is_read_or_refused(at, put, cut, is_json):
    raw = CODED[:at] + put + CODED[at + cut :]
    try:
        rules = TransitRules.parse(raw, is_json=is_json)
    except TransitRulesError:
        return
    assert TransitRules.parse(json.dumps(rules.to_json()), is_json=True) == rules


def test_fares_by_distance_and_by_pair():
    fares = {
        "maximum_fen": 900,
        "pairs": {"2:1-2:2": 1},
        "positions": {"2:1": 0, "2:2": 100, "2:3": 6000, "2:4": 6001, "2:5": 50000},
        "tiers": [{"up_to_m": 6000, "fen": 300}, {"up_to_m": 12000, "fen": 400}],
    }
    found = TransitRules.model_validate(table("metro_exit", 17) | {"fares": fares}).fares
    prices = [found.between((2, 1), (2, to)) for to in (2, 3, 4, 5, 6)]
    assert prices == [1, 300, 400, None, None]
    assert found.between((2, 2), (2, 1)) == 1


@pytest.mark.parametrize(
    ("began", "fen"),
    [
        ("2027-01-04T06:59:59", 353),  # a Monday
        ("2027-01-04T07:00:00", 505),
        ("2027-01-04T20:00:00", 404),
        ("2027-01-04T23:59:59", 404),
        ("2027-01-04T00:00:00", 353),
        ("2027-01-03T06:00:00", 505),  # a Sunday
        ("2027-02-20T06:00:00", 353),  # a Saturday that is worked
        ("2027-02-17T06:00:00", 505),  # a Wednesday that is not
    ],
)
def test_fares_by_the_hour(began, fen):
    worked = {"days": [1, 2, 3, 4, 5], "also_on": ["2027-02-20"], "not_on": ["2027-02-17"]}
    early = {"begins": "00:00", "ends": "07:00", "percent": 70} | worked
    late = {"begins": "20:00", "ends": "00:00", "percent": 80}
    assert FareTable(flat_fen=1, discounts=[early, late]).at(505, datetime.fromisoformat(began)) == fen


@given(st.integers(0, 100000), st.integers(0, 100), st.integers(0, 1000))
@settings(max_examples=50)
def test_a_price_is_rounded_down_and_never_below_nothing(fare, percent, fixed):
    product = Product(slug="x", zh="x", en="x", classes=(1,), percent=percent, fixed_fen=fixed)
    exact = fare * percent / 100 - fixed
    assert product.price(fare) == max(0, int(exact // 1) if exact >= 0 else 0)


def test_the_first_product_that_fits():
    rules = TransitRules.model_validate(table("metro_entry"))
    found = [rules.product_of("09990100", kind) for kind in (1, 2, 3)]
    assert [each and each.slug for each in found] == [None, "student-half", "senior-free"]
    assert rules.product_of("01000000", 3) is None, "the discount is for cards of the city"
    changed = copy.deepcopy(table("metro_entry"))
    changed["products"][0]["issuer"] = "*"
    assert TransitRules.model_validate(changed).product_of("01000000", 3).slug == "senior-free"
