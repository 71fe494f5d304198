"""Rules that a network publishes, and what a gate's own file makes of them."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.transit_network import GateFile, NetworkRules, check_published, in_force, own_rules, timeline
from cardlib.transit_rules import Degraded, TransitRules, TransitRulesError, as_message, read_table

DOCS = Path(__file__).parents[2] / "docs/transit-rules"
PUBLISHED = {file.name: file.read_bytes() for file in (DOCS / "published").iterdir()}
FIRST = tomllib.loads(PUBLISHED["demo-metro.2026-01-01.toml"].decode())
GATE = read_table(DOCS / "gates/metro-exit.toml")


def network(**changes: Any) -> NetworkRules:
    return as_message(NetworkRules, FIRST | changes)


def own(**changes: Any) -> GateFile:
    made = own_rules(GATE | changes)
    assert isinstance(made, GateFile)
    return made


def test_the_examples_are_what_the_gates_own_file_would_say() -> None:
    assert [rules.version for rules in check_published(PUBLISHED)] == ["2026.1", "2027.1"]
    rules = own().rules(network())
    alone = own_rules(read_table(DOCS / "metro-exit.toml"))
    same = ("mode", "place", "issuers", "fares", "policy")
    assert {name: getattr(rules, name) for name in same} == {name: getattr(alone, name) for name in same}
    assert isinstance(own_rules(read_table(DOCS / "metro-exit.toml")), TransitRules)


def test_variations_are_for_the_gates_they_fit_and_the_later_one_counts() -> None:
    said = network(
        variations=[
            {"lines": [2], "policy": {"waits_for_mac2": True, "code_fare_fen": 100}},
            {"lines": [2], "stations": ["2:17"], "policy": {"code_fare_fen": 200}},
            {"lines": [3], "stations": ["2:17"], "policy": {"code_fare_fen": 300}},
            {"modes": ["metro_entry"], "fares": {"maximum_fen": 2000}},
        ]
    )
    rules = own(degraded=["fare_free"]).rules(said)
    assert (rules.policy.waits_for_mac2, rules.policy.code_fare_fen, rules.fares.maximum_fen) == (True, 200, 900)
    assert (rules.policy.degraded, rules.policy.block_list) == ({Degraded.FARE_FREE}, "required")
    assert own(mode="metro_entry").rules(said).fares.maximum_fen == 2000


def test_institutions_of_both_files_are_the_gates_own() -> None:
    place = GATE["place"] | {"network": ["A" * 16]}
    rules = own(place=place).rules(network(institutions=["B" * 16, "A" * 16]))
    assert rules.place.network == ("A" * 16, "B" * 16)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"valid_until": date(2025, 12, 31)}, "end before they begin"),
        ({"network": "Demo Metro"}, "network"),
        ({"mode": "metro_exit"}, "mode"),
        ({"variations": [{"modes": ["metro"]}]}, "variations.0.modes"),
        ({"issuers": [{"issuer": "*"}, {"issuer": "*"}]}, "twice"),
        ({"variations": [{"policy": {"lock": "for ever"}}]}, "lock"),
        ({"variations": [{}, {"fares": {"maximum_fen": 100}}]}, r"variations\.1: .*above maximum_fen"),
    ],
)
def test_network_rules_that_cannot_be(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(TransitRulesError, match=told):
        network(**changes)


def test_a_gate_for_which_the_network_has_no_fare_gets_none() -> None:
    with pytest.raises(TransitRulesError, match="flat_fen"):
        own(mode="bus_flat").rules(network())
    for mode in ("metro_exit", "bus_flat", "bus_board", "service_exit"):
        place = GATE["place"] | {"station": 17}
        assert own(mode=mode, place=place).no_rules().valid_until == date.min, "no dead clock says so"


def test_nothing_is_published_that_gates_could_not_use() -> None:
    name, later = sorted(PUBLISHED)
    first, second = PUBLISHED[name], PUBLISHED[later]
    for files, told in (
        ({name: second}, f"its name must be {later}"),
        ({name: first, later: second.replace(b"2027.1", b"2026.1")}, "version 2026.1 is there twice"),
        ({name: first[:-1] + b"'"}, f"{name}: not TOML"),
    ):
        with pytest.raises(TransitRulesError, match=told):
            check_published(files)


def test_of_several_editions_the_one_that_began_last_counts_while_it_lasts() -> None:
    year = network(valid_from=date(2026, 1, 1), valid_until=date(2026, 12, 31))
    feast = network(valid_from=date(2026, 2, 16), valid_until=date(2026, 2, 23))
    found = [in_force((feast, year), date(2026, *day)) for day in ((2, 15), (2, 16), (2, 23), (2, 24), (12, 31))]
    assert found == [year, feast, feast, year, year]
    assert timeline([feast, year, network(valid_from=date(2027, 1, 3), valid_until=date(2027, 1, 3))])[:4] == [
        (date(2026, 1, 1), date(2026, 2, 15), year),
        (date(2026, 2, 16), date(2026, 2, 23), feast),
        (date(2026, 2, 24), date(2026, 12, 31), year),
        (date(2027, 1, 1), date(2027, 1, 2), None),
    ]
    assert timeline([network(valid_until=date.max)])[0][1] == date.max
    assert in_force((feast, year), date(2025, 12, 31)) is None
    assert in_force((feast, year), date(2027, 1, 1)) is year, "over, but told as such"


@given(st.binary(max_size=80) | st.text(max_size=80))
@settings(max_examples=60)
def test_no_bytes_end_a_gate_that_reads_them(raw: bytes | str) -> None:
    with pytest.raises(TransitRulesError):
        NetworkRules.parse(raw)
