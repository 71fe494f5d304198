"""Simulated cards on a private PC/SC service, read by opensc-tool and by our own command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.support import ROOT, onecard

pytestmark = [pytest.mark.pcsc, pytest.mark.slow]

OPENSC = "opensc-tool -c default -s 00A404000F7378312E73682EC9E7BBE1B1A3D5CF -s 00B207280B"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.mark.skipif(shutil.which("opensc-tool") is None, reason="opensc is not installed")
def test_code_we_did_not_write_reads_the_card_number(home: Path) -> None:
    done = onecard("sim", "card", "--persona", "adult-2.0", "--exec", OPENSC, home=home)
    assert done.returncode == 0, done.stderr
    assert "A10000015" in done.stdout.replace("\n", "")


@pytest.mark.parametrize(
    ("persona", "name"),
    [("adult-1.0", "测试丁"), ("adult-2.0", "测试甲"), ("adult-3.0", "测试丙"), ("child-3.0", "测试小戊")],
)
def test_our_own_read_names_every_item(persona: str, name: str, home: Path) -> None:
    done = onecard("sim", "card", "--persona", persona, "--exec", "./onecard card read --json", home=home)
    assert done.returncode == 0, done.stdout
    answer = json.loads(done.stdout)
    assert answer["name"] == name
    assert {"card_number", "social_security_number", "issue_date", "expiry_date", "identification_code"} <= set(answer)


@pytest.mark.parametrize(
    ("persona", "failure"),
    [
        ("garbage", "CARD_DATA_INVALID"),
        ("mute", "CARD_MUTE"),
        ("silent", "CARD_REMOVED"),
        ("unknown-atr", "NOT_SOCIAL_SECURITY_CARD"),
        ("truncated-records", "CARD_DATA_INVALID"),
        ("blocked-2.0", "CARD_BLOCKED"),
        ("chip-3.0", "CARD_STATE"),
        ("blank-2.0", "CARD_STATE"),
    ],
)
def test_a_wrong_card_gives_cause_and_remedy(persona: str, failure: str, home: Path) -> None:
    done = onecard("sim", "card", "--persona", persona, "--exec", "./onecard card read --json", home=home)
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["failure"] == failure
    assert answer["remedy"]
    assert answer["remedy_en"]
    assert "Traceback" not in done.stderr


def test_exec_passes_the_exit_status_on(home: Path) -> None:
    assert onecard("sim", "card", "--persona", "adult-2.0", "--exec", "exit 7", home=home).returncode == 7


def test_the_card_remembers_between_runs(home: Path) -> None:
    write = "./onecard card write telephone 01000000000 --json"
    assert onecard("sim", "card", "--persona", "adult-3.0", "--exec", write, home=home).returncode == 0
    read = "./onecard card read --all --json"
    done = onecard("sim", "card", "--persona", "adult-3.0", "--exec", read, home=home)
    assert json.loads(done.stdout)["files"]["DF01EF06"]["telephone"] == "01000000000"


def test_a_blank_is_personalised_from_an_order_file(home: Path, tmp_path: Path) -> None:
    order = {
        "generation": "3.0",
        "region": "110000",
        "card_number": "C12345679",
        "institution": "915600000211000011010002",
        "issue_date": "20261122",
        "expiry_date": "20361122",
        "card_class": "3",
        "social_security_number": "990101199001010115",
        "name": "测试乙",
        "sex": "1",
        "ethnic_group": "01",
        "birthplace": "990100",
        "birth_date": "19900101",
    }
    path = tmp_path / "order.json"
    path.write_text(json.dumps(order), encoding="utf-8")
    command = f"./onecard card personalize {path} --json && ./onecard card read --json"
    done = onecard("sim", "card", "--persona", "blank-3.0", "--fresh", "--exec", command, home=home)
    assert done.returncode == 0, done.stdout
    assert '"outcome": "issued"' in done.stdout
    assert '"card_number": "C12345679"' in done.stdout


def test_an_unknown_persona_is_named(home: Path) -> None:
    done = onecard("sim", "card", "--persona", "nobody", home=home)
    assert done.returncode == 1
    assert "adult-3.0" in done.stderr


def test_a_card_is_in_one_place_at_a_time(home: Path) -> None:
    inner = "./onecard sim card --persona adult-2.0 --exec true"
    done = onecard("sim", "card", "--persona", "adult-2.0", "--exec", inner, home=home)
    assert done.returncode == 1
    assert "CARD_BUSY" in done.stderr


def test_an_asked_for_end_leaves_nothing_behind(home: Path, tmp_path: Path) -> None:
    """SIGTERM ends the command in the card's environment too, and removes the private service."""
    started = tmp_path / "started"
    command = f"echo $PCSCLITE_CSOCK_NAME > {started}; sleep 60; touch {tmp_path / 'survived'}"
    process = subprocess.Popen(
        [str(ROOT / "onecard"), "sim", "card", "--persona", "adult-2.0", "--exec", command],
        env=os.environ | {"ONECARD_HOME": str(home)},
        stdin=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while not (started.exists() and started.read_text().strip()) and time.monotonic() < end:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    assert not Path(started.read_text().strip()).parent.exists()
    assert not (tmp_path / "survived").exists()


def test_a_wrong_pin_from_a_pipe_is_told_in_json(home: Path) -> None:
    command = "echo 0000 | ./onecard card pin verify --json"
    done = onecard("sim", "card", "--persona", "adult-2.0", "--fresh", "--exec", command, home=home)
    assert json.loads(done.stdout)["failure"] == "PIN_WRONG"


def test_unknown_names_are_typing_errors(home: Path) -> None:
    for command in ("card auth --key NOPE", "card write nosuch 1"):
        done = onecard("sim", "card", "--persona", "adult-3.0", "--exec", f"./onecard {command}", home=home)
        assert "INPUT_INVALID" in done.stderr, done.stderr
