"""The installer's self test: its command with simulators of all devices, and each fault by an agent with a script."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from cardlib.failures import FailureCode
from onecard_cli.__main__ import app
from onecard_cli.agent_selftest import blocks, lines_of
from simulators.serial import SimScanner
from terminal_agent.problems import problem_document
from terminal_agent.selftest import checks, results
from terminal_agent.selftest.checks import SelfTest, clock
from terminal_agent.selftest.results import Outcome, Result
from tests.terminal_agent.stand import scan_waits, settings

NOON = datetime(2026, 1, 5, 4, tzinfo=UTC)
READER = "Desk #1 00 00"
INFO: dict[str, Any] = {
    "version": "0.1.0", "api_level": 2, "profile": "counter", "http_port": 12345, "ws_port": 12342,
    "terminal_number": None, "is_reader_service_lost": False,
}  # fmt: skip
ALARM = {"code": "CATALOG_STALE", "detail": "nothing for 2 days"}


def problem(code: FailureCode) -> httpx.Response:
    document = problem_document(code, detail="said")
    return httpx.Response(document["status"], json=document)


def script(changes: dict[str, Any]) -> httpx.Client:
    """An agent that answers by path; what is no JSON value is the whole answer."""
    answers: dict[str, Any] = {
        "/v1/info": INFO,
        "/v1/readers": [{"name": READER, "role": "card", "atr": "3B00"}],
        f"/v1/readers/{READER}/basic-information": problem(FailureCode.CARD_MUTE),
        "/v1/devices": [
            {"kind": "card_printer", "port": "p:1", "state": "attention", "failure": "PRINTER_JAM"},
            {"kind": "qr_scanner", "port": "/dev/s", "state": "ready", "failure": None},
            {"kind": "pin_pad", "port": "/dev/p", "state": "unknown", "failure": None},
        ],
        "/v1/scanner/wait": {"text": None, "at": None},
        "/v1/pin-pad/test": problem(FailureCode.PIN_ENTRY_TIMEOUT),
        "/v1/catalog/state": {"is_updating": True, "alarms": [ALARM], "version": "1", "source": "published"},
        "/v1/journal": {"state": "full", "failure": "JOURNAL_FULL", "detail": "100000 records"},
    } | changes

    def answer(request: httpx.Request) -> httpx.Response:
        given = answers[request.url.path]
        return given if isinstance(given, httpx.Response) else httpx.Response(200, json=given)

    return httpx.Client(base_url="http://127.0.0.1:12343", transport=httpx.MockTransport(answer))


def run(changes: dict[str, Any] | None = None, left_out: tuple[str, ...] = (), **given: Any) -> dict[str, Result]:
    test = SelfTest(script(changes or {}), settings(**given), lambda *_: None, wait_s=0.1, left_out=left_out)
    return {result.name: result for result in test.results()}


def test_with_simulators_of_all_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report, scan = tmp_path / "report.html", SimScanner.scan
    with scan_waits() as waits:
        monkeypatch.setattr(SimScanner, "scan", lambda scanner, text: waits.wait(30) and scan(scanner, text))
        done = CliRunner().invoke(app, ["agent", "selftest", "--simulators", "--json", "--report", str(report)])
    told = json.loads(done.stdout)
    assert (done.exit_code, told["ok"]) == (0, True), done.output
    outcomes = {one["name"].partition(":")[0]: one["outcome"] for one in told["results"]}
    tried = ("agent", "psam", "reader", "id_card_module", "qr_scanner", "pin_pad", "card_printer", "disk")
    assert [name for name in tried if outcomes[name] != "passed"] == []
    paper = report.read_text("utf-8")
    assert ("真卡" in paper, "不合格" in paper) == (True, False)
    assert "990101" not in paper, "no person's number on the report"


def test_every_fault_has_cause_and_remedy(tmp_path: Path) -> None:
    found = run(state_dir=tmp_path, psam_readers=("SAM",))
    codes = {name: result.code for name, result in found.items() if result.outcome is Outcome.FAILED}
    assert codes == {
        "ports": "PORT_TAKEN",
        "psam": "PSAM_ABSENT",
        f"reader: {READER}": "CARD_MUTE",
        "card_printer: p:1": "PRINTER_JAM",
        "qr_scanner: /dev/s": "NOTHING_SCANNED",
        "pin_pad: /dev/p": "PIN_ENTRY_TIMEOUT",
        "catalog": "CATALOG_STALE",
        "journal": "JOURNAL_FULL",
    }
    for name in codes:
        assert all((found[name].cause.zh, found[name].cause.en, found[name].remedy.zh, found[name].remedy.en))
        assert "办法" in lines_of(found[name])
    assert found["disk"].outcome is Outcome.PASSED
    assert found["camera"].outcome is Outcome.SKIPPED


def test_no_agent_there() -> None:
    with httpx.Client(base_url="http://127.0.0.1:9", trust_env=False) as nobody:
        first, *rest = SelfTest(nobody, settings(), lambda *_: None, wait_s=1).results()
    assert (first.code, {result.outcome for result in rest}) == ("AGENT_SILENT", {Outcome.SKIPPED})


def test_nothing_ends_the_rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent = httpx.Response(500, text="no JSON")
    found = run({"/v1/info": silent}, issuance_url="http://127.0.0.1:9", state_dir=tmp_path)
    assert (found["agent"].code, found["centre"].code) == ("AGENT_SILENT", "SERVICE_UNREACHABLE")
    assert found["reader"].outcome is Outcome.SKIPPED
    monkeypatch.setattr(checks, "DISK_BYTES", 1 << 62)
    empty = {"/v1/readers": [{"name": READER, "role": "card", "atr": None}]}
    found = run(empty, left_out=("pin_pad", "centre"), port=12345, state_dir=tmp_path)
    assert found["ports"].outcome is Outcome.PASSED, "a port that was chosen"
    assert found["disk"].code == "DISK_LOW"
    left = (f"reader: {READER}", "pin_pad: /dev/p", "centre")
    assert {found[name].outcome for name in left} == {Outcome.SKIPPED}
    assert run({"/v1/readers": []})["reader"].code == "READER_NOT_FOUND"
    ends = run({"/v1/devices": silent})
    assert (ends["agent"].code, ends["pin_pad"].outcome) == ("AGENT_SILENT", Outcome.SKIPPED), "it ended in the middle"
    assert run({"/v1/info": {"name": "another"}})["agent"].code == "AGENT_SILENT"


@pytest.mark.parametrize("wrong", [("--skip", "printer"), ("--report", "/nowhere/a.html"), ("--report", "a.pdf")])
def test_a_wrong_option_is_told_before_anything_is_tried(wrong: tuple[str, str]) -> None:
    done = CliRunner().invoke(app, ["agent", "selftest", *wrong])
    assert (done.exit_code, "INPUT_INVALID" in done.output, "AGENT_SILENT" in done.output) == (1, True, False)


@pytest.mark.parametrize(("date", "code", "outcome"), [
    (format_datetime(NOON, usegmt=True), "", "passed"),
    ("Mon, 05 Jan 2026 04:01:00 GMT", "CLOCK_WRONG", "failed"),
    ("yesterday", "", "skipped"),
])  # fmt: skip
def test_the_clock_beside_the_centres(date: str, code: str, outcome: str) -> None:
    found = clock(date, NOON)
    assert (found.code, found.outcome) == (code, outcome)


def test_every_word_has_both_languages() -> None:
    def lacking(table: dict[str, Any], place: str) -> list[str]:
        halves = {key[:-3] for key in table if key.endswith(("_zh", "_en"))}
        missing = [f"{place}.{half}" for half in halves if not (table.get(half + "_zh") and table.get(half + "_en"))]
        if "zh" in table or "en" in table:
            return [] if table.get("zh") and table.get("en") else [place]
        return missing + [
            line for key, value in table.items() if isinstance(value, dict) for line in lacking(value, f"{place}.{key}")
        ]

    assert lacking(tomllib.loads((Path(results.__file__).parent / "words.toml").read_text("utf-8")), "") == []


def test_a_code_in_the_terminal_is_two_rows_a_line() -> None:
    assert blocks((b"\x00\x01", b"\x01\x01", b"\x00\x01")) == "▀ \n█▄"
