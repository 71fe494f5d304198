"""`onecard agent catalog` and `onecard catalog what --agent`: the same answer from files here and from the agent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from apps_catalog.distribution.client import fetch
from onecard_cli.__main__ import app
from terminal_agent.server import running_agent
from tests.terminal_agent.catalog.conftest import Centre, configuration
from tests.terminal_agent.stand import readers_with, settings


@pytest.fixture
def agent_url(terminal: dict[str, Any]) -> Iterator[str]:
    with running_agent(settings(port=0, ws_port=0, **terminal), readers_with()) as ready:
        yield ready.url


def run(*arguments: str, typed: str | None = None) -> Any:
    return CliRunner().invoke(app, arguments, input=typed)


def test_the_same_answer_here_and_there(agent_url: str, centre: Centre) -> None:
    question = ("catalog", "what", "--from", "130000", "--in", "110000", "--on", "2026-12-01", "--carrier", "qr")
    state = ("agent", "catalog", "--fetch", "--agent", agent_url)
    told = run(*state)
    assert (told.exit_code, "1 张 / cards" in told.stdout, "有新版本" in told.stdout) == (0, True, True)
    here = run(*question, "--json").stdout
    assert run(*question, "--json", "--agent", agent_url).stdout == here
    centre.go()
    assert run(*question, "--json", "--agent", agent_url).stdout == here
    assert run(*question, "--all", "--agent", agent_url).stdout == run(*question, "--all").stdout
    failed = run(*state)
    assert (failed.exit_code, "[SERVICE_UNREACHABLE]" in failed.stdout) == (1, True)
    (alarm,) = json.loads(run(*state, "--json").stdout)["alarms"]
    assert alarm["remedy_zh"]
    refused = run("catalog", "what", "--from", "130000", "--in", "440000", "--agent", agent_url)
    assert (refused.exit_code, "REGION_UNKNOWN" in refused.output) == (1, True)


def test_a_gate_takes_its_roots_from_what_was_fetched(centre: Centre, tmp_path: Path) -> None:
    held = tmp_path / "held"
    fetch(centre.path.as_uri(), held, root=centre.root, roles=["trust-anchors"])
    told = run("ecard", "gate", "--held", str(held), "--json", typed="00\n")
    assert json.loads(told.stdout)["failure"] == "TRANSIT_CODE_MALFORMED"
    (anchors,) = held.glob("sets/*/files/trust-anchors/*.json")
    anchors.write_bytes(anchors.read_bytes() + b" ")
    assert "CATALOG_DAMAGED" in run("ecard", "gate", "--held", str(held), typed="00\n").output
    assert "INPUT_INVALID" in run("ecard", "gate", typed="00\n").output


def test_publishing_looks_before_it_signs(tmp_path: Path) -> None:
    (tmp_path / "counter.json").write_bytes(configuration(colour="blue"))
    order = ("publish", str(tmp_path / "repo"), str(tmp_path), "--role", "terminal-configuration")
    told = run("catalog", "repo", *order, "--keys", str(tmp_path / "keys"))
    assert (told.exit_code, "PUBLICATION_INVALID" in told.output, "colour" in told.output) == (1, True, True)
