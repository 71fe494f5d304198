"""`card record` and `card run`, from the words typed to the card; `card read --all` on every simulated card."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import apdu.pcsc
from apdu.inprocess import DEFAULT_READERS, InProcessReaders
from onecard_cli.__main__ import app
from onecard_cli.home import Home
from onecard_cli.personas import persona_card
from simulators.personas import names

ROOT = Path(__file__).parents[2]
PIN = "123456\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home.at(tmp_path_factory.mktemp("home"))
    home.key_service().close()
    return home


@pytest.fixture
def readers(home: Home, monkeypatch: pytest.MonkeyPatch) -> InProcessReaders:
    """What stands in for PC/SC."""
    readers = InProcessReaders()
    monkeypatch.setenv("ONECARD_HOME", str(home.path))
    monkeypatch.delenv("ONECARD_PSAM_READER", raising=False)
    monkeypatch.setattr(apdu.pcsc, "PcscReaders", lambda: readers)
    return readers


@pytest.fixture
def adult(home: Home, readers: InProcessReaders) -> InProcessReaders:
    """With a new card of adult-3.0 in the first reader."""
    chip = persona_card(home, "adult-3.0", fresh=True)
    chip.lock.close()
    readers.insert(DEFAULT_READERS[0], chip.card)
    return readers


def card(*words: str, typed: str = "", code: int = 0) -> str:
    result = CliRunner().invoke(app, ["card", *words], input=typed)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def script(folder: Path, text: str) -> str:
    file = folder / "script.apdu"
    file.write_text(text, encoding="utf-8")
    return str(file)


FAILING = {
    "garbage": "CARD_DATA_INVALID",
    "mute": "CARD_MUTE",
    "silent": "CARD_MUTE",
    "unknown-atr": "NOT_SOCIAL_SECURITY_CARD",
    "truncated-records": "CARD_DATA_INVALID",
    "blocked-2.0": "CARD_BLOCKED",
    "chip-2.0": "CARD_STATE",
    "chip-3.0": "CARD_STATE",
    "blank-2.0": "CARD_STATE",
    "blank-3.0": "CARD_STATE",
}


@pytest.mark.parametrize("persona", names())
def test_read_all_says_everything_or_why_not(persona: str, home: Home, readers: InProcessReaders) -> None:
    chip = persona_card(home, persona)
    with chip.lock:
        readers.insert(DEFAULT_READERS[0], chip.card)
        result = CliRunner().invoke(app, ["card", "read", "--all", "--json"])
    data = json.loads(result.output)
    if persona in FAILING:
        assert (data["ok"], data["failure"]) == (False, FAILING[persona])
        assert data["remedy"]
        return
    assert data["ok"]
    assert data["raw"].keys() == data["files"].keys()
    assert len(data["raw"]) > 3
    assert all(re.fullmatch("([0-9A-F]{2})+", record) for records in data["raw"].values() for record in records)
    assert data["card_number"].encode().hex().upper() in "".join(data["raw"]["SSSEEF05"])


def test_what_is_recorded_can_be_run(adult: InProcessReaders, tmp_path: Path) -> None:
    file = tmp_path / "session.apdu"
    data = json.loads(card("record", str(file), "read", "--all", "--json").partition("✓")[0])
    assert data["ok"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith("raw\nreset => 3B")
    report = json.loads(card("run", str(file), "--json"))
    assert report["ok"]
    assert report["passed"] > 40
    assert report["skipped"] == sum(line["outcome"] == "skipped" for line in report["lines"])
    assert "CONFLICT" in card("record", str(file), "read", code=1)


def test_a_recording_finds_what_changed(adult: InProcessReaders, tmp_path: Path) -> None:
    file = tmp_path / "session.apdu"
    card("record", str(file), "transit", "balance")
    text = file.read_text()
    file.write_text(text.replace("=> 00002710 9000", "=> 00002711 9000"))
    assert text != file.read_text()
    output = card("run", str(file), code=1)
    assert "期望 00002711 9000 / 00002711 9000 was expected" in output
    assert "1 失败 / failed" in output


def test_no_pin_gets_into_a_recording_and_failures_are_kept(adult: InProcessReaders, tmp_path: Path) -> None:
    file = tmp_path / "session.apdu"
    assert "PIN_WRONG" in card("record", str(file), "pin", "verify", typed="987654\n", code=1)
    assert "987654" not in file.read_text()
    assert "00200000 ?4 => 63C2" in file.read_text()
    empty = tmp_path / "empty.apdu"
    card("record", str(empty), "explain", "9000")
    card("record", str(empty), "read", "--no-such-option", code=2)
    assert not empty.exists()


def test_the_example_of_the_docs_runs(adult: InProcessReaders, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "scripts.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```apdu\n(.*?)```", text, re.DOTALL)
    for where in ((), ("--no-pcsc", "--persona", "adult-3.0")):
        report = json.loads(card("run", script(tmp_path, example), "--json", *where, typed=PIN))
        assert report["ok"], report
        assert report["skipped"] == 0
    assert "123456" not in json.dumps(report)


def test_the_report_tells_cause_and_remedy_and_masks(adult: InProcessReaders, tmp_path: Path) -> None:
    file = script(tmp_path, "00A4 0400 [7378312E73682EC9E7BBE1B1A3D5CF]\n00B2 0130 00\n00B2072800\n")
    output = card("run", file, code=1)
    assert "不满足安全状态" in output
    assert "原因" in output
    assert "办法" in output
    assert "READ RECORD  00 B2 07" not in output, "it stops at the first failure"
    going = card("run", file, "--keep-going", code=1)
    assert "A1 00 00 02 3" not in going
    assert "07 09 41 31 30 .. 90 00 [13]" in going
    assert "07 09 41 31 30 30 30 30 30 32 33 90 00" in card("run", file, "--keep-going", "--show-personal", code=1)


def test_a_script_error_names_its_place(tmp_path: Path) -> None:
    data: Any = json.loads(card("run", script(tmp_path, "reset\n00B2 0\n"), "--json", code=1))
    assert data["failure"] == "INPUT_INVALID"
    assert data["detail"].startswith("line 2, column 6: hex digits come in pairs")


def test_the_last_try_of_a_pin_is_kept(adult: InProcessReaders, tmp_path: Path) -> None:
    file = script(tmp_path, "00A4 0400 [7378312E73682EC9E7BBE1B1A3D5CF]\n00200000 [$secret:PIN] => 63Cx\n")
    for _ in range(2):
        card("run", file, typed="000000\n")
    assert json.loads(card("run", file, "--json", typed="000000\n", code=1))["failure"] == "PIN_LAST_TRY"
    card("run", file, "--use-last-try", typed="000000\n")
    assert json.loads(card("run", file, "--json", typed="000000\n", code=1))["failure"] == "PIN_LOCKED"


def test_a_secret_is_digits(adult: InProcessReaders, tmp_path: Path) -> None:
    file = script(tmp_path, "00200000 [$secret:PIN]")
    assert "INPUT_INVALID" in card("run", file, typed="secret\n", code=1)
