"""What doctor says of the serial devices in the agent's settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apdu.serial.port import SerialPort
from onecard_cli import doctor_devices
from onecard_cli.doctor_devices import IN_USE, device_findings
from simulators.printer import SimCardPrinter
from simulators.serial import SimIdCardModule, SimMt3Reader, SimPinPad, SimScanner
from terminal_agent.settings import Mt3Reader


def test_no_device_no_finding() -> None:
    assert list(device_findings()) == []


def test_devices_that_answer_one_in_use_one_silent_one_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = doctor_devices._ask_mt3

    def asked(reader: Mt3Reader) -> str:
        """Who is silent is soon given up; who answers has all the time."""
        with monkeypatch.context() as patch:
            patch.setattr("apdu.serial.readers.PROBE_TIMEOUT_S", 0.1 if reader.port == dumb.path else 30.0)
            return ask(reader)

    monkeypatch.setattr(doctor_devices, "_ask_mt3", asked)
    monkeypatch.setattr("apdu.serial.idcard_reader.ANSWER_TIMEOUT_S", 30.0)
    with (
        SimMt3Reader({}) as reader,
        SimMt3Reader({}, label="dumb") as dumb,
        SimIdCardModule() as module,
        SimScanner() as scanner,
        SimPinPad() as pad,
        SerialPort(scanner.path),
    ):
        dumb.is_frozen = True
        pad.unplug()
        monkeypatch.setenv("ONECARD_AGENT_MT3_READERS", json.dumps([reader.path, dumb.path]))
        monkeypatch.setenv("ONECARD_AGENT_ID_CARD_MODULE", module.path)
        monkeypatch.setenv("ONECARD_AGENT_SCANNER", scanner.path)
        monkeypatch.setenv("ONECARD_AGENT_PIN_PAD", pad.path)
        alive, silent, card, code, missing = device_findings()
    assert (alive.ok, alive.detail, alive.remedy) == (True, "ok, ONECARD SIM 1", "")
    assert not silent.ok
    assert "断开" in silent.detail
    assert "波特率" in silent.remedy
    assert (card.ok, card.detail) == (True, "ok")
    assert (code.ok, code.detail) == (True, IN_USE)
    assert not missing.ok
    assert "没有找到" in missing.detail
    assert "dialout" in missing.remedy


def test_the_card_printer_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with SimCardPrinter(tmp_path) as printer:
        monkeypatch.setenv("ONECARD_AGENT_CARD_PRINTER", printer.address)
        (good,) = device_findings()
        printer.fail("jam")
        (jam,) = device_findings()
    (gone,) = device_findings()
    assert (good.ok, good.detail, good.remedy) == (True, "ok", "")
    assert (jam.ok, jam.detail.startswith("打印机卡住了")) == (False, True)
    assert "打开盖子" in jam.remedy
    assert not gone.ok
    assert "打开打印机" in gone.remedy
