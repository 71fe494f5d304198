"""`onecard agent devices`: what the table says of readers and devices, and of an agent newer than this program."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cardlib.failures import FailureCode
from onecard_cli import agent_devices
from onecard_cli.__main__ import app
from terminal_agent.device_schemas import HealthView
from terminal_agent.devices import Device, DeviceKind, Health

READERS = [
    {"name": "[red]Desk[/red] 00 00", "state": "IN_USE", "role": "card", "holder": {"owner": "窗口 3"}},
    {"name": "SAM", "state": "PRESENT", "role": "psam", "holder": None},
]
GOOD = {"successes": 812, "failures": 1, "last_success_at": "2026-01-05T04:00:00Z"}
SCANNER = {
    "kind": "qr_scanner",
    "name": "ttyACM0",
    "state": "ready",
    "failure": None,
    "health": GOOD,
    "is_simulated": True,
}
LOST = SCANNER | {"kind": "camera", "state": "lost", "failure": "READER_LOST", "is_simulated": False}


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    devices: list[dict[str, Any]] = [SCANNER]
    answers = {"/v1/readers": READERS, "/v1/devices": devices}
    monkeypatch.setattr(agent_devices, "asked_of_agent", lambda _agent, _method, path: answers[path])
    return devices


def shown(rows: list[dict[str, Any]]) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(agent_devices.table_of(rows))
    return console.export_text()


def test_the_table(listed: list[dict[str, Any]]) -> None:
    listed += [LOST, LOST | {"failure": "OF_A_NEWER_AGENT"}]
    text = shown(agent_devices.rows_of("http://127.0.0.1:1"))
    for part in ("[red]Desk[/red] 00 00", "窗口 3", "psam_reader", "812/1", "模拟", "✗ 断开", "OF_A_NEWER_AGENT"):
        assert part in text


def test_exit_status_says_whether_all_is_well(listed: list[dict[str, Any]]) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["agent", "devices", "--once"]).exit_code == 0
    listed.append(LOST)
    done = runner.invoke(app, ["agent", "devices", "--json"])
    assert (done.exit_code, len(json.loads(done.stdout))) == (1, 4)


def test_health_counts_what_a_device_did() -> None:
    device = Device(DeviceKind.PIN_PAD, "/dev/ttyUSB2")
    for is_there in (True, True, False, True):
        device.see(is_there)
    health = device.health
    assert (device.name, health.successes, health.failures) == ("ttyUSB2", 2, 1)
    assert health.last_failure is FailureCode.READER_NOT_FOUND
    assert health.last_success_at is not None
    assert HealthView.model_fields.keys() == Health.__dataclass_fields__.keys()


@pytest.mark.parametrize("command", ["devices", "journal", "pairings list", "pin-unblock"])
def test_a_silent_agent_is_not_called_the_centre(command: str) -> None:
    done = CliRunner().invoke(app, ["agent", *command.split(), "--agent", "http://127.0.0.1:9"])
    assert (done.exit_code, "AGENT_SILENT" in done.output, "中心" in done.output) == (1, True, False)
