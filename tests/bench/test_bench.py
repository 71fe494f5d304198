"""Structure and budgets of the measurements; counts only, never times."""

from __future__ import annotations

import dataclasses
import json
from typing import get_type_hints

import pytest

from bench import apdu, cards, crypto, fuzz
from bench.measure import BenchError, agree, latencies, rates
from bench.run import PARTS, run
from onecard_cli import develop
from simulators.pcscd import is_available


@pytest.fixture(scope="module")
def card_figures() -> cards.CardsResult:
    return cards.measure(rounds=1)


def test_reads_keep_their_budgets(card_figures: cards.CardsResult) -> None:
    found = {row.card: row.commands for row in card_figures.reads}
    assert found["adult-1.0"] <= 3
    assert found["adult-2.0"] <= 3
    assert found["adult-3.0"] <= 7
    assert found["adult-3.0 · PSAM"] > 0
    assert all(row.is_met for row in card_figures.reads if row.budget)


def test_personalization_takes_the_challenges_and_two_round_trips(card_figures: cards.CardsResult) -> None:
    rows = {(row.stage, row.generation): row for row in card_figures.issues}
    assert set(rows) == {(stage, g) for stage in ("initialization", "personalization") for g in ("2.0", "3.0")}
    for (stage, _), row in rows.items():
        assert row.budget == row.challenges + 2
        assert row.round_trips == row.batches + 1
        assert row.is_met == (row.round_trips <= row.budget)
        if stage == "personalization":
            assert row.is_met
            assert row.commands <= 260


@pytest.mark.parametrize(
    ("command", "response", "characters"),
    [
        ("00B0000004", "00000000 9000", 12),  # the example of a read of four bytes
        ("00200000 03 123456", "9000", 11),
        ("00200000 00", "63C3", 7),
        ("00A4040C", "9000", 7),
    ],
)
def test_characters_of_the_contact_line(command: str, response: str, characters: int) -> None:
    class Card:
        def power_on(self) -> bytes:
            return b""

        def power_off(self) -> None: ...

        def transmit(self, command: bytes) -> bytes:
            return bytes.fromhex(response)

    line = cards.ContactLine(Card())
    line.transmit(bytes.fromhex(command))
    assert line.characters == characters


def test_twelve_characters_take_fifteen_milliseconds() -> None:
    assert cards.line_seconds(12) == {"9600": 0.015, "115200": 0.001}


def test_every_cipher_stands_beside_its_peer() -> None:
    result = crypto.measure(rounds=1, slot_s=0.0005)
    rows = {(row.operation_zh, row.size): row for row in result.engines}
    assert len(rows) == len(result.engines) == 13
    assert {row.target for row in result.engines} == {15.0, 100.0, 3.0, None}
    for row in result.engines:
        assert min(row.peer_per_s, row.portable_per_s, row.ours_per_s) > 0
        assert (row.is_met is None) == (row.target is None)
    assert {(row.operation, row.algorithm) for row in result.key_service} == {
        (operation, algorithm)
        for operation in ("authentication_value", "wrap_card_key")
        for algorithm in ("3DES", "SM4")
    }


@pytest.mark.pcsc
@pytest.mark.skipif(not is_available()[0], reason=is_available()[1] or "available")
def test_every_path_to_a_card_is_measured() -> None:
    result = apdu.measure(rounds=1, calls=5)
    assert result.skipped == ""
    assert {(row.path, row.command) for row in result.rows} == {
        (path, command) for path in apdu.NAMES_ZH for command in apdu.COMMANDS
    }
    assert all(row.ratio == 1 for row in result.rows if row.path == apdu.RAW)


def test_without_pcsc_a_sentence_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apdu.pcsc.is_available", lambda **_: (False, "pyscard is not installed"))
    result = apdu.measure()
    assert (result.rows, result.skipped) == ([], "pyscard is not installed")
    assert "pyscard is not installed" in str(result.tables()[0])


def test_contenders_take_turns_and_must_agree() -> None:
    order: list[str] = []
    rates({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2, slot_s=0)
    assert "".join(order[-4:]) == "abba"
    assert set(latencies({"a": lambda: None}, rounds=2, calls=3)) == {"a"}
    agree("equal", {"a": b"1", "b": b"1"})
    for results in ({"a": b"1", "b": b"2"}, {"a": False, "b": False}):
        with pytest.raises(BenchError, match="disagree"):
            agree("digest", results)


def test_json_and_tables_carry_the_same_parts(
    card_figures: cards.CardsResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PARTS, "cards", lambda: card_figures)
    run("cards", as_json=True)
    figures = json.loads(capsys.readouterr().out)
    assert figures["cards"] == json.loads(json.dumps(dataclasses.asdict(card_figures)))
    assert {"cores", "python", "openssl", "date"} <= set(figures["machine"])
    run("cards", as_json=False)
    shown = capsys.readouterr().out
    assert "Python" in shown.splitlines()[0]
    assert "读基本信息 / reading the basic information" in shown
    assert all(str(row.commands) in shown for row in card_figures.issues)


def test_an_unknown_part_is_refused_and_the_known_ones_stand_in_the_help() -> None:
    with pytest.raises(BenchError, match="crypto, apdu, cards") as refusal:
        run("speed", as_json=True)
    (option,) = get_type_hints(develop.bench, include_extras=True)["only"].__metadata__
    assert sorted(str(refusal.value).partition("there are ")[2].split(", ")) == sorted(option.help.split(", "))


def test_long_parts_run_only_when_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []

    def measure(*, inputs: int) -> fuzz.FuzzResult:
        asked.append(inputs)
        return fuzz.FuzzResult([], fuzz.SEED)

    monkeypatch.setattr(fuzz, "measure", measure)
    monkeypatch.setattr("bench.run.PARTS", {})
    run(None, as_json=True)
    assert asked == []
    run("fuzz", as_json=True, inputs=7)
    assert asked == [7]
    assert json.loads(capsys.readouterr().out.split("\n}\n")[1] + "}")["fuzz"]["seed"] == fuzz.SEED
