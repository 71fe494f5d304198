"""Budgets of commands and bytes of every flow, and the line times computed from them."""

from __future__ import annotations

import pytest

from apdu import tlv
from bench import flows, wire
from bench.cards import AIR_BIT_S, air_bits
from bench.measure import BenchError


@pytest.fixture(scope="module")
def rows() -> dict[str, flows.FlowRow]:
    return {row.flow: row for row in flows.measure().rows}


@pytest.mark.parametrize("flow", flows.FLOWS, ids=lambda flow: flow.en)
def test_a_flow_keeps_its_budget(flow: flows.Flow, rows: dict[str, flows.FlowRow]) -> None:
    row = rows[flow.en]
    assert (row.commands, row.byte_count) <= (flow.commands, flow.byte_count)
    assert row.byte_count <= flow.byte_count
    assert row.is_met


def test_a_contactless_card_needs_no_get_response(rows: dict[str, flows.FlowRow]) -> None:
    assert all(row.air_commands <= row.commands for row in rows.values())
    assert all(row.air_s < row.line_s["9600"] for row in rows.values())
    assert rows["transit tap"].air_commands == 4


def test_only_flows_with_a_psam_talk_to_it(rows: dict[str, flows.FlowRow]) -> None:
    with_psam = {name for name, row in rows.items() if row.sam_commands}
    assert with_psam == {"basic read, 3.0, PSAM", "medical purchase, PSAM", "transit tap", "rail entry, composite"}


@pytest.mark.parametrize(("length", "bits"), [(0, 29), (2, 47), (253, 2306), (254, 9 * 260 + 4 + 29)])
def test_bits_on_the_air(length: int, bits: int) -> None:
    assert air_bits(length) == bits
    assert round(1 / AIR_BIT_S) == 105938


def test_data_objects_and_secured_commands_are_measured() -> None:
    result = wire.measure(rounds=1, slot_s=0.0005)
    assert len(result.rows) == 10
    assert {row.target_per_s for row in result.rows} == {wire.TLV_TARGET, wire.WRAP_TARGET, None}
    for row in result.rows:
        assert row.ours_per_s > 0
        assert (row.is_met is None) == (row.target_per_s is None)
    assert result.has_peer or result.tables()[-1] == wire.ABSENT


def test_a_peer_that_reads_something_else_is_no_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        @staticmethod
        def parse_list(data: bytes) -> list[tlv.Tlv]:
            return tlv.parse(data)[:1]

        @staticmethod
        def parse_dict(data: bytes) -> dict[int, bytes]:
            return {item.tag: item.value for item in tlv.parse(data)}

    monkeypatch.setattr(wire, "_yubikit", lambda: (Other, None))
    with pytest.raises(BenchError, match="tree"):
        wire.measure(rounds=1, slot_s=0.0005)
