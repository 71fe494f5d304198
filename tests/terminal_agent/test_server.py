"""The agent as a process: ports, ready file, busy ports, and an end within two seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import websockets

from apdu.inprocess import InProcessReaders
from terminal_agent import server
from terminal_agent.server import PortBusyError, running_agent
from tests.terminal_agent.stand import kept_port, settings

PROGRAM = """
import sys
from pathlib import Path
from apdu.inprocess import InProcessReaders
from terminal_agent.server import run
from terminal_agent.settings import AgentSettings

run(AgentSettings(port=0, ws_port=0), InProcessReaders(), ready_file=Path(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_reports_its_ports_and_ends_cleanly_with_listeners_attached(tmp_path: Path, number: int) -> None:
    ready_file = tmp_path / "ready.json"
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(ready_file)], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not ready_file.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        starting_s = time.monotonic() - started
        ready = json.loads(ready_file.read_text())
        assert ready["pid"] == process.pid
        base = f"http://127.0.0.1:{ready['http_port']}"
        assert httpx.get(f"{base}/healthz").json() == {"status": "ok"}
        info = httpx.get(f"{base}/v1/info").json()
        assert (info["http_port"], info["ws_port"]) == (ready["http_port"], ready["ws_port"])
        with httpx.stream("GET", f"{base}/v1/events", timeout=30):
            begun = time.monotonic()
            process.send_signal(number)
            assert process.wait(30) == 0
            assert time.monotonic() - begun < max(2, 2 * starting_s), "on a slow computer starting is slow too"
        assert not ready_file.exists()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_busy_port_is_told_before_anything_starts() -> None:
    with (
        running_agent(settings(port=0, ws_port=0), InProcessReaders()) as where,
        pytest.raises(PortBusyError, match=rf"{where.http_port}: .* by .*\({os.getpid()}\)"),
        running_agent(settings(port=where.http_port, ws_port=0), InProcessReaders()),
    ):
        pass


def test_a_usual_port_that_is_taken_gives_way_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_agent(settings(port=0, ws_port=0), InProcessReaders()) as first, kept_port() as free:
        monkeypatch.setattr(server, "OTHER_PORTS", {first.http_port: (first.ws_port, free)})
        stand = settings(port=first.http_port, ws_port=0, state_dir=tmp_path)
        file = tmp_path / "agent.json"
        with running_agent(stand, InProcessReaders()) as second:
            assert second.http_port == free
            assert httpx.get(f"{second.url}/v1/info").json()["http_port"] == free
            assert json.loads(file.read_text()) == {"http_port": free, "ws_port": second.ws_port, "pid": os.getpid()}
            assert file.stat().st_mode & 0o077 == 0
    assert not file.exists()


async def test_websocket_port_serves_nothing_else() -> None:
    with running_agent(settings(port=0, ws_port=0), InProcessReaders()) as where:
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{where.ws_port}/v1/readers")).status_code == 404
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(f"ws://127.0.0.1:{where.http_port}/")
