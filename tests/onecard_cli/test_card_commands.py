"""`onecard card` on simulated cards, from the words typed to the card's own state."""

from __future__ import annotations

import json
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import apdu.pcsc
from apdu.inprocess import DEFAULT_READERS, InProcessReaders
from onecard_cli import card_account
from onecard_cli.__main__ import app
from onecard_cli.card_account import fen
from onecard_cli.home import Home
from onecard_cli.output import CommandError
from simulators.card import Faults, SimCard
from simulators.factory import build_card
from simulators.personas import load
from simulators.psam import SimPsam

PIN = "123456\n"


class Counter:
    """A reader with one adult 2.0 card of this installation's keys."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.roots = Home.at(home).roots()
        self.readers = InProcessReaders()
        self.card = SimCard(build_card(load("adult-2.0"), self.roots))
        self.readers.insert(DEFAULT_READERS[0], self.card)

    def insert_psam(self) -> None:
        self.readers.insert(DEFAULT_READERS[1], SimPsam(self.roots, region="990100"))

    def run(self, *arguments: str, typed: str = PIN, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["card", *arguments], input=typed)
        assert result.exit_code == code, result.output
        return result.output

    def json(self, *arguments: str, typed: str = PIN, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", typed=typed, code=code))


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installation with keys."""
    home = Home.at(tmp_path_factory.mktemp("furnished"))
    home.roots()
    home.key_service().close()
    return home.path


@pytest.fixture
def counter(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter:
    shutil.copytree(furnished, tmp_path / "home")
    monkeypatch.setenv("ONECARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ONECARD_PSAM_READER", raising=False)
    made = Counter(tmp_path / "home")
    monkeypatch.setattr(apdu.pcsc, "PcscReaders", lambda: made.readers)
    return made


def test_read_all_with_pin_shows_values_and_texts(counter: Counter) -> None:
    data = counter.json("read", "--all", "--pin")
    assert data["refused"] == {}
    assert data["texts"]["SSSEEF06"]["sex"]["en"] == "male"
    assert data["account"]["balance"] == 150000
    assert "files.SSSEEF06.sex  性别: 1 = 男 / male" in counter.run("read", "--all", "--auth", "keys")
    assert "DF04EF06" in counter.json("read", "--all")["refused"]


def test_export_diff_and_import_go_round(counter: Counter, tmp_path: Path) -> None:
    file = tmp_path / "card.json"
    counter.run("export", str(file), "--pin")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert counter.json("export", str(file), code=1)["failure"] == "CONFLICT"
    assert counter.json("diff", str(file), "--pin")["same"] is True
    counter.run("write", "degree:2", '{"degree_code": "403", "school_name": "测试"}')
    counter.run("append", "DF02EF16", '{"policy": "010", "approval_date": "20260301"}')
    different = counter.json("diff", str(file), "--pin", code=1)
    assert [(d["path"], d["item"]) for d in different["differences"]] == [("DF01EF15", "degree:2"), ("DF02EF16", "")]
    assert counter.json("import", str(file), "--pin", code=1)["failure"] == "CONFLICT", "a log is never shortened"
    after = tmp_path / "after.json"
    counter.run("export", str(after), "--pin")
    assert "degree:2" not in counter.run("diff", str(file), str(after), code=1)
    file.write_text("{}")
    assert counter.json("import", str(file), code=1)["failure"] == "INPUT_INVALID"


def test_a_photo_comes_from_a_file(counter: Counter, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8\xff" + bytes(range(1, 200)))
    assert "202 bytes" in counter.run("write", "photo", f"@{photo}")


def test_explain_needs_no_card_and_reads_lines() -> None:
    runner = CliRunner()
    assert "密码已锁定" in runner.invoke(app, ["card", "explain", "6983", "--ins", "20"]).output
    lines = "00200000 ?4 => 63C2\n6A82\n"
    found = json.loads(runner.invoke(app, ["card", "explain", "-", "--json"], input=lines).output)
    assert [each["kind"] for each in found] == ["recording", "sw"]
    assert "校验密码" in runner.invoke(app, ["card", "explain", "00", "20", "0000", "03", "123456"]).output
    part = runner.invoke(app, ["card", "explain", "-"], input="# two lines\nreset => 3B00\n\nxyz\n9000\n")
    assert (part.exit_code, "line 4" in part.output, "成功" in part.output, "ATR" in part.output) == (
        1,
        True,
        True,
        True,
    )
    assert runner.invoke(app, ["card", "explain", "xyz"]).exit_code == 1


def test_pin_commands(counter: Counter) -> None:
    assert counter.json("pin", "verify", typed="000000\n", code=1)["failure"] == "PIN_WRONG"
    counter.run("pin", "change", typed=PIN + "654321\n")
    counter.run("pin", "verify", typed="654321\n")
    counter.run("pin", "reload", typed="222222\n")
    counter.run("pin", "change", "--remove", typed="222222\n")
    assert counter.json("pin", "status")["is_set"] is False
    counter.run("pin", "change", "--first", typed="333333\n")
    for wrong in ("1111\n", "2222\n"):
        counter.run("pin", "verify", typed=wrong, code=1)
    assert counter.json("pin", "verify", typed="333333\n", code=1)["failure"] == "PIN_LAST_TRY"
    counter.run("pin", "unblock")
    assert counter.json("pin", "status")["tries"] == 3


def test_failed_keys_are_remembered_between_runs(counter: Counter) -> None:
    key = next(key for key in counter.card.state.dfs[0].keys if key.kid == 0x06)
    right, key.value = key.value, bytes(16)
    for _ in range(2):
        assert counter.json("pin", "unblock", code=1)["failure"] == "AUTHENTICATION_FAILED"
    key.value = right
    refused = counter.json("pin", "unblock", code=1)
    assert (refused["failure"], key.retry_left) == ("KEY_LAST_TRY", 1)
    counter.run("pin", "unblock", "--use-last-try")
    counter.run("pin", "unblock")


def test_account_load_purchase_and_log(counter: Counter) -> None:
    assert counter.json("account", "load", "100.00", "--pin")["amount_fen"] == 10000
    paid = counter.json("account", "purchase", "--account", "40", "--self-paid", "10", "--pooling", "50", "--pin")
    assert (paid["amount_fen"], len(paid["tac"])) == (4000, 8)
    shown = counter.json("account", "show", "--pin")
    assert (shown["balance"], shown["self_paid_total"], len(shown["log"])) == (156000, 1000, 2)
    assert "1560.00" in counter.run("account", "show", "--pin")
    counter.run("account", "starting-day", "0701")
    assert counter.json("account", "show", "--pin")["starting_day"] == "0701"
    poor = counter.json("account", "purchase", "--account", "9999", "--pin", code=1)
    assert poor["failure"] == "BALANCE_INSUFFICIENT"


def test_two_terminals_of_one_home_share_no_transaction_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONECARD_HOME", str(tmp_path / "home"))
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: card_account._next_number(), range(40)))
    assert sorted(numbers) == list(range(40))


def test_a_psam_settles_too(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    counter.insert_psam()
    monkeypatch.setenv("ONECARD_PSAM_READER", "00 01")
    assert counter.json("account", "purchase", "--account", "1.50", "--pin", "--auth", "psam")["amount_fen"] == 150
    assert counter.json("account", "show", "--pin")["balance"] == 149850


@pytest.mark.parametrize(("fault", "is_done"), [("tear_after", True), ("tear_before", False)])
def test_an_interrupted_transaction_must_be_settled_first(counter: Counter, fault: str, is_done: bool) -> None:
    # SELECT and EF05, PIN query and VERIFY, SELECT DF04, INITIALIZE and its GET RESPONSE, then DEBIT
    counter.card.faults = Faults(**{fault: 8})
    assert counter.json("account", "purchase", "--account", "1", "--pin", code=1)["failure"] == "CARD_REMOVED"
    counter.card.faults = Faults()
    counter.readers.remove(DEFAULT_READERS[0])
    counter.readers.insert(DEFAULT_READERS[0], counter.card)
    assert counter.json("account", "purchase", "--account", "1", "--pin", code=1)["failure"] == "CONFLICT"
    found = counter.json("account", "recover", "--pin")
    assert (found["is_interrupted"], found["is_done"]) == (True, is_done)
    assert counter.json("account", "show", "--pin")["balance"] == 150000 - 100 * is_done
    assert counter.json("account", "recover", "--pin") == {"ok": True, "is_interrupted": False}
    assert "nothing was interrupted" in counter.run("account", "recover", "--pin")
    counter.run("account", "purchase", "--account", "1", "--pin")


@pytest.mark.parametrize(
    "arguments", [("account", "load", "0.00"), ("account", "purchase", "--account", "0"), ("transit", "load", "0")]
)
def test_no_money_is_refused_before_the_card_is_asked_for(counter: Counter, arguments: tuple[str, ...]) -> None:
    counter.readers.remove(DEFAULT_READERS[0])
    assert counter.json(*arguments, code=1)["failure"] == "INPUT_INVALID"


def test_a_settlement_may_leave_the_account_alone(counter: Counter) -> None:
    settled = counter.json("account", "purchase", "--account", "0", "--self-paid", "10", "--pin")
    assert settled["amount_fen"] == 0
    assert counter.json("account", "show", "--pin")["self_paid_total"] == 1000


def test_blocks_ask_first(counter: Counter) -> None:
    counter.run("block", "application", "DF07", typed="n\n", code=1)
    assert not any(df.is_blocked for df in counter.card.state.dfs)
    counter.run("block", "application", "DF07", "--yes")
    assert counter.json("block", "application", "DF99", "--yes", code=1)["failure"] == "INPUT_INVALID"
    assert set(counter.json("read", "--all", "--pin")["refused"].values()) == {"APPLICATION_BLOCKED"}
    counter.run("block", "card", "--yes")
    assert counter.json("read", code=1)["failure"] == "CARD_BLOCKED"


def test_amounts() -> None:
    assert fen("12.34") == 1234
    with pytest.raises(CommandError):
        fen("1.234")
