"""`onecard card transit`, `pki` and `bank` on a simulated card and PSAM behind a real PC/SC service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hsm.primitives import default_engine
from onecard_cli.__main__ import app
from simulators.pcscd import is_available
from tests.e2e.support import onecard

needs_pcsc = [
    pytest.mark.pcsc,
    pytest.mark.slow,
    pytest.mark.skipif(not is_available()[0], reason=is_available()[1] or "available"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize(
    "persona", [pytest.param("adult-3.0", marks=needs_pcsc), pytest.param("child-3.0", marks=needs_pcsc)]
)
def test_a_day_with_the_card(persona: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("letter")
    pin, start = {"adult-3.0": ("123456", 10000), "child-3.0": ("246813", 5000)}[persona]
    folder = f"cd {Path(__file__).resolve().parents[2]}; "
    lines = [
        "./onecard card transit purchase 2.00 --line 17 --station 9 --json",
        "./onecard card transit purchase 1.5 --json",
        "./onecard card transit log --json",
        "./onecard card transit balance --json",
        f"echo {pin} | ./onecard card pki sign {tmp_path}/letter --out {tmp_path}/sig --json",
        f"./onecard card pki verify {tmp_path}/letter {tmp_path}/sig --json",
        "./onecard card bank --json",
        "./onecard card pki info --json",
    ]
    command = folder + "; echo ,; ".join(lines)
    done = onecard("sim", "card", "--persona", persona, "--fresh", "--exec", command, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    ride, fare, log, balance, signed, verified, bank, info = json.loads(f"[{done.stdout}]")
    assert all(answer["ok"] for answer in (ride, fare, log, balance, signed, verified, bank, info))
    assert [(r["number"], r["amount_fen"], r["is_verified"]) for r in (ride, fare)] == [(1, 200, True), (2, 150, True)]
    assert [(e["type"], e["amount_fen"]) for e in log["log"]] == [(6, 150), (9, 200)]
    assert [(t["line"], t["station"], t["balance_fen"]) for t in log["trips"]] == [(17, 9, start - 200)]
    assert balance["balance"]["available"] == start - 350 == fare["balance_fen"]
    assert verified["is_valid"] is True
    assert signed["public_key"] == verified["public_key"] == info["signing_key"]
    assert bank["number"].startswith("620000***")
    journal = [json.loads(line)["act"] for line in (home / "transit-journal.jsonl").read_text().splitlines()]
    assert journal[-4:] == ["begin", "finish"] * 2


def test_a_signature_is_verified_without_a_card(tmp_path: Path) -> None:
    private, public = default_engine().sm2_generate()
    (tmp_path / "letter").write_bytes(b"letter")
    (tmp_path / "sig").write_text(default_engine().sm2_sign(private, b"letter").hex())
    arguments = [
        "card",
        "pki",
        "verify",
        str(tmp_path / "letter"),
        str(tmp_path / "sig"),
        "--key",
        public.hex(),
        "--json",
    ]
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, json.loads(done.stdout)["is_valid"]) == (0, True)
    (tmp_path / "letter").write_bytes(b"other")
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, json.loads(done.stdout)["is_valid"]) == (1, False)
    arguments[-2] = "04" + "00" * 64
    assert json.loads(CliRunner().invoke(app, arguments).stdout)["failure"] == "INPUT_INVALID"
