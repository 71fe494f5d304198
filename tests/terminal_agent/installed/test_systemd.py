"""systemd hears that the agent is ready and alive, and nothing more while the loop or a reader stands still."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from onecard_cli import ROOT
from terminal_agent.server import serve
from terminal_agent.settings import AgentSettings
from terminal_agent.systemd import STUCK_S, notify, supervised, watchdog_s
from tests.terminal_agent.stand import readers_with

UNIT = ROOT / "deploy" / "agent" / "onecard-agent.service"
WORST_EXPOSURE = 2.0
"""Of systemd-analyze security, 0 best, 10 worst; most services have 9."""


class Systemd:
    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self._socket.recv(100).decode())
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    made = Systemd(address)
    yield made
    made.close()


async def test_a_served_agent_tells_ready_alive_and_stopping(systemd: Systemd) -> None:
    stop = asyncio.Event()
    own = AgentSettings(port=0, ws_port=0)
    task = asyncio.create_task(serve(own, readers_with(), stop=stop, on_ready=lambda ready: None))
    heard: list[str] = []
    end = time.monotonic() + 60
    while heard.count("WATCHDOG=1") < 2 and time.monotonic() < end:
        await asyncio.sleep(0.01)
        heard += systemd.heard()
    stop.set()
    await task
    heard += systemd.heard()
    assert (heard[0], heard[-1]) == ("READY=1", "STOPPING=1")
    assert heard.count("WATCHDOG=1") >= 2


async def test_silence_while_a_reader_or_the_loop_is_stuck(systemd: Systemd) -> None:
    stuck = 0.0
    async with supervised(lambda: stuck):
        await asyncio.sleep(0.02)
        assert "WATCHDOG=1" in systemd.heard()
        stuck = STUCK_S
        await asyncio.sleep(0.03)
        systemd.heard()
        await asyncio.sleep(0.03)
        assert systemd.heard() == []
        stuck = 0.0
        await asyncio.sleep(0.03)
        systemd.heard()
        time.sleep(0.05)  # noqa: ASYNC251 - the loop stands still
        assert systemd.heard() == []


def test_nobody_is_told_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert notify("READY=1") is False
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    assert notify("READY=1") is False
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_s() is None


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_unit_is_hardened(tmp_path: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    last = [line for line in told.stdout.splitlines() if "exposure level" in line]
    assert last, told.stderr
    exposure = float(last[0].split(":")[1].split()[0])
    assert exposure <= WORST_EXPOSURE, last[0]
    # verify wants the programs it starts; they are put by the package, so a stand-in is named here.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/onecard/bin/onecard-agent", "/bin/true"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert [line for line in verified.stderr.splitlines() if UNIT.name in line] == []
