"""`onecard card transit` on a simulated purse and PSAM, torn taps included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import apdu.pcsc
from apdu.inprocess import DEFAULT_READERS, InProcessReaders
from onecard_cli.__main__ import app
from onecard_cli.home import Home
from simulators.card import CardGone, SimCard
from simulators.contactless import ContactlessCard
from simulators.factory import build_card
from simulators.personas import load
from simulators.psam import SimPsam

START = {"adult-3.0": 10000, "child-3.0": 5000}
DEBIT, CREDIT = 0x54, 0x52


class Bus:
    """A validator: one purse at a time, a PSAM, and this installation's keys."""

    def __init__(self, home: Path, persona: str, *, is_contactless: bool) -> None:
        roots = Home.at(home).roots()
        kind = ContactlessCard if is_contactless else SimCard
        self.card = kind(build_card(load(persona), roots))
        self.readers = InProcessReaders()
        self.readers.insert(DEFAULT_READERS[0], self.card)
        self.readers.insert(DEFAULT_READERS[1], SimPsam(roots))

    def run(self, *arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(app, ["card", "transit", *arguments, "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.output)

    def torn(self, ins: int, *arguments: str, where: str = "after") -> None:
        """The same command with the card pulled before or after `ins` is carried out; it is back in the reader then."""
        transmit = self.card.transmit

        def pulled(command: bytes) -> bytes:
            if command[1] != ins:
                return transmit(command)
            if where == "after":
                transmit(command)
            self.card.power_off()
            raise CardGone("pulled")

        self.card.transmit = pulled  # type: ignore[method-assign]
        assert self.run(*arguments, code=1)["failure"] == "CARD_REMOVED"
        self.card.transmit = transmit  # type: ignore[method-assign]
        self.readers.remove(DEFAULT_READERS[0])
        self.readers.insert(DEFAULT_READERS[0], self.card)

    @property
    def fen(self) -> int:
        return self.run("balance")["balance"]["available"]


@pytest.fixture(params=[(p, c) for p in START for c in (False, True)], ids=lambda p: f"{p[0]}-{'field' * p[1]}")
def bus(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bus:
    persona, is_contactless = request.param
    monkeypatch.setenv("ONECARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ONECARD_PSAM_READER", DEFAULT_READERS[1])
    made = Bus(tmp_path / "home", persona, is_contactless=is_contactless)
    monkeypatch.setattr(apdu.pcsc, "PcscReaders", lambda: made.readers)
    return made


def test_a_day(bus: Bus) -> None:
    start = bus.fen
    paid = bus.run("purchase", "2.00")
    assert (paid["balance_fen"], paid["is_verified"], paid["is_recovered"]) == (start - 200, True, False)
    bus.run("purchase", "0", "--line", "2", "--station", "5", "--trip", "entry")
    bus.run("purchase", "3", "--line", "2", "--station", "17", "--trip", "exit")
    bus.run("purchase", "1.5", "--line", "23", "--station", "9")
    loaded = bus.run("load", "50.00")
    assert (loaded["kind"], loaded["balance_fen"], loaded["is_verified"]) == (2, start - 650 + 5000, True)
    changed = bus.run("overdraft", "10")
    assert (changed["kind"], changed["balance_fen"]) == (7, start - 650 + 6000)
    log = bus.run("log")
    assert [(e["type"], e["amount_fen"]) for e in log["log"]] == [
        (7, 1000),
        (2, 5000),
        (9, 150),
        (9, 300),
        (9, 0),
        (6, 200),
    ]
    assert [(t["type"], t["line"], t["station"]) for t in log["trips"]] == [(6, 23, 9), (4, 2, 17), (3, 2, 5)]
    assert bus.run("unresolved")["unresolved"] == []
    assert bus.run("load", "1000", code=1)["failure"] == "INPUT_INVALID", "a purse is not filled without limit"
    assert bus.run("load", "1")["amount_fen"] == 100, "the refused one is freed at the next tap"
    assert bus.run("load", "1", "--terminal", "12", code=1)["failure"] == "INPUT_INVALID"
    nothing = {"ok": True, "is_interrupted": False, "balance_fen": bus.fen, "carried_out": []}
    assert bus.run("recover") == nothing


def test_a_torn_purchase_is_settled_by_the_next_tap(bus: Bus) -> None:
    start = bus.fen
    bus.torn(DEBIT, "purchase", "2.00")
    told = bus.run("unresolved")["unresolved"]
    assert [(t["kind"], t["amount_fen"]) for t in told] == [(6, 200)]
    assert told[0]["card"].startswith("***")
    assert bus.run("balance")["interrupted"] == told
    again = bus.run("purchase", "2.00")
    assert (again["is_recovered"], again["balance_fen"], bool(again["tac"])) == (True, start - 200, True)
    assert bus.run("unresolved")["unresolved"] == []
    assert bus.run("purchase", "2.00")["balance_fen"] == start - 400


def test_a_torn_load_is_settled_by_the_next_tap_or_by_recover(bus: Bus) -> None:
    start = bus.fen
    bus.torn(CREDIT, "load", "20.00")
    again = bus.run("load", "20.00")
    assert (again["is_recovered"], again["balance_fen"]) == (True, start + 2000)
    bus.torn(CREDIT, "load", "10.00")
    found = bus.run("recover")
    assert (found["balance_fen"], [r["kind"] for r in found["carried_out"]]) == (start + 3000, [2])
    bus.torn(CREDIT, "load", "5.00")
    assert bus.run("purchase", "1.00")["balance_fen"] == start + 3500 - 100, "a purchase settles a load too"
    ledger = [json.loads(line) for line in (Path(Home.default().path) / "transit-loads.jsonl").read_text().splitlines()]
    assert [line[-1] for line in ledger] == ["approved", "booked"] * 3


def test_nothing_happened_is_told(bus: Bus) -> None:
    start = bus.fen
    for ins, command in ((DEBIT, "purchase"), (CREDIT, "load")):
        bus.torn(ins, command, "2.00", where="before")
        found = {"ok": True, "is_interrupted": True, "balance_fen": start, "carried_out": []}
        assert bus.run("recover") == found
