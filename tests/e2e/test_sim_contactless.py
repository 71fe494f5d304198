"""Simulated cards in the field, with and without PC/SC: from `./onecard sim card` outside in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulators.pcscd import is_available
from tests.e2e.support import onecard

pytestmark = pytest.mark.slow
needs_pcsc = [
    pytest.mark.pcsc,
    pytest.mark.skipif(not is_available()[0], reason=is_available()[1] or "available"),
]
LINKS = [pytest.param("--no-pcsc", id="without-pcsc"), pytest.param("", id="pcsc", marks=needs_pcsc)]

AGENT = """
import json, subprocess, sys, time, urllib.request
from pathlib import Path
from websockets.sync.client import connect
ready = Path(sys.argv[1])
options = ["--port", "0", "--ws-port", "0", "--psam-reader", "00 01", "--ready-file", str(ready)]
agent = subprocess.Popen(["./onecard", "agent", "run", *options],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    while not ready.exists():
        assert agent.poll() is None
        time.sleep(0.05)
    facts = json.loads(ready.read_text())
    for _ in range(600):
        readers = json.load(urllib.request.urlopen(facts["url"] + "/v1/readers"))
        if all(reader["atr"] for reader in readers):
            break
        time.sleep(0.1)
    answers = {}
    with connect(facts["ws_url"], origin=None) as socket:
        for kind in (1, 2, 3):
            socket.send(json.dumps({"function": "iReadCardBas", "iType": kind}))
            answers[kind] = json.loads(socket.recv())
    print(json.dumps({"readers": readers, "answers": answers}))
finally:
    agent.terminate()
    agent.wait()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def in_field(home: Path, command: str, *options: str, persona: str = "adult-3.0") -> str:
    done = onecard("sim", "card", "--persona", persona, "--contactless", *options, "--exec", command, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("link", LINKS)
def test_card_commands_work_in_the_field(link: str, home: Path) -> None:
    """The holder's data behind an authentication by the PSAM, and a purchase under it."""
    commands = [
        "./onecard card read --json",
        "./onecard card transit purchase 2.00 --line 17 --station 9 --json",
    ]
    said = in_field(home, "; echo ,; ".join(commands), *([link] if link else []))
    read, paid = json.loads(f"[{said}]")
    assert read["name"] == "测试丙"
    assert paid["is_verified"] is True


def test_the_agent_chooses_it_for_i_type_2(home: Path, tmp_path: Path) -> None:
    script = tmp_path / "agent.py"
    script.write_text(AGENT)
    said = json.loads(in_field(home, f".venv/bin/python {script} {tmp_path / 'ready.json'}", "--no-pcsc"))
    assert [reader["is_contactless"] for reader in said["readers"] if reader["role"] == "card"] == [True]
    assert said["readers"][0]["atr"].startswith("3B8D8001")
    assert "测试丙" in json.dumps(said["answers"]["2"], ensure_ascii=False)
    assert "测试丙" in json.dumps(said["answers"]["3"], ensure_ascii=False)
    assert said["answers"]["1"]["success"] != "1", "there is no contact reader"
