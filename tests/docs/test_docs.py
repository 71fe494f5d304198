"""What the pages say must exist: links, commands, options, settings, paths of the APIs, personas, messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import typer
from fastapi import APIRouter
from pydantic import BaseModel

import issuance.applications.case_endpoints
import issuance.applications.endpoints
import issuance.audit.endpoints
import issuance.bank.endpoints
import issuance.cards.endpoints
import issuance.catalog.endpoints
import issuance.clients.endpoints
import issuance.codes.bus
import issuance.codes.endpoints
import issuance.consents.endpoints
import issuance.ecards.endpoints
import issuance.ecards.family_endpoints
import issuance.hsm_route.endpoints
import issuance.login.channel_endpoints
import issuance.login.endpoints
import issuance.login.national.keys
import issuance.login.operator_endpoints
import issuance.newborns.endpoints
import issuance.operations
import issuance.outbox.endpoints
import issuance.person_file.endpoints
import issuance.photos.endpoints
import issuance.privacy.endpoints
import issuance.production.endpoints
import issuance.progress.endpoints
import issuance.recognition.endpoints
import issuance.sessions.endpoints
import issuance.stock.endpoints
import issuance.stock.movement_endpoints
import issuance.supervision.endpoints
import issuance.terminals.endpoints
import issuance.transit_codes.endpoints
import terminal_agent.app
from cardlib.failures import FailureCode
from cardlib.wire import BatchResponses, SessionReply, SessionStart
from issuance.settings import Settings
from onecard_cli.__main__ import app
from simulators.personas import names
from terminal_agent.settings import AgentSettings

ROOT = Path(__file__).parents[2]
PROTOCOL = ROOT / "docs" / "agent"
PAGES = sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md"), *PROTOCOL.glob("*.md")])
TEXTS = {
    f"agent/{page.name}" if page.parent == PROTOCOL else page.name: page.read_text(encoding="utf-8") for page in PAGES
}
EXAMPLE_HOSTS = re.compile(r"127\.0\.0\.1|localhost|\[::1\]|(?:[\w-]+\.)*example(?:\.(?:com|org|net))?|…|\.\.\.")

_LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s`'\"<>()|]*", re.ASCII)
_COMMAND = re.compile(r"\./onecard((?:[ ]+(?!\./)[\w./:=@%+{}$<>\[\],-]+)*)", re.ASCII)
_JSON = re.compile(r"^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
_MACHINE_PATH = re.compile(r"(?<![\w.}/])/(?:root|work|home|tmp|Users)/")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_ROUTERS: tuple[APIRouter, ...] = (
    issuance.applications.case_endpoints.router,
    issuance.applications.endpoints.router,
    issuance.audit.endpoints.router,
    issuance.bank.endpoints.router,
    issuance.outbox.endpoints.router,
    issuance.cards.endpoints.router,
    issuance.catalog.endpoints.router,
    issuance.clients.endpoints.router,
    issuance.codes.bus.router,
    issuance.codes.endpoints.router,
    issuance.consents.endpoints.router,
    issuance.recognition.endpoints.router,
    issuance.ecards.endpoints.router,
    issuance.transit_codes.endpoints.router,
    issuance.ecards.family_endpoints.router,
    issuance.hsm_route.endpoints.router,
    issuance.login.channel_endpoints.router,
    issuance.login.endpoints.router,
    issuance.login.national.keys.router,
    issuance.login.operator_endpoints.router,
    issuance.newborns.endpoints.router,
    issuance.photos.endpoints.router,
    issuance.privacy.endpoints.router,
    issuance.operations.router,
    issuance.production.endpoints.router,
    issuance.sessions.endpoints.router,
    issuance.stock.endpoints.router,
    issuance.stock.movement_endpoints.router,
    issuance.supervision.endpoints.router,
    issuance.terminals.endpoints.router,
    issuance.person_file.endpoints.router,
    issuance.progress.endpoints.router,
)


def anchors(text: str) -> set[str]:
    """Anchors GitHub makes of a page's headings."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path


def complaint(command: Any, words: list[str]) -> str:
    """What is wrong with `./onecard WORDS`, empty when such a command and such options exist."""
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    if command.context_settings.get("ignore_unknown_options"):
        return ""
    known = {"--help"}.union(*(set(p.opts) | set(p.secondary_opts) for p in command.params))
    unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in known]
    return f"no option {unknown[0]}" if unknown else ""


def words_of(match: str) -> list[str]:
    words = [word.rstrip(".,:") for word in match.split()]
    return [word for word in words if word]


CLI = typer.main.get_command(app)


def test_there_are_pages() -> None:
    assert {"card.md", "agent.md", "issuance.md", "simulators.md", "keys.md", "commands.md"} <= TEXTS.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page: Path) -> None:
    missing = []
    for link in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link or link.startswith("mailto:"):
            continue
        target, _, anchor = unquote(link).partition("#")
        file = page.parent / target if target else page
        is_anchored = not anchor or (file.suffix == ".md" and anchor in anchors(file.read_text(encoding="utf-8")))
        if not file.exists() or not is_anchored:
            missing.append(link)
    assert missing == []


@pytest.mark.parametrize("page", TEXTS)
def test_addresses_are_local_or_examples(page: str) -> None:
    foreign = [url for url in _URL.findall(TEXTS[page]) if not EXAMPLE_HOSTS.fullmatch(host_of(url))]
    assert foreign == []


@pytest.mark.parametrize("url", ["https://github.com/x", "http://user@10.0.0.1:80/", "https://example.com.evil.net/"])
def test_a_foreign_address_would_be_found(url: str) -> None:
    assert not EXAMPLE_HOSTS.fullmatch(host_of(url))


def host_of(url: str) -> str:
    netloc = urlsplit(url).netloc.rpartition("@")[2]
    return re.sub(r":\d*$", "", netloc.rstrip(".,;:"))


@pytest.mark.parametrize("page", TEXTS)
def test_no_path_of_a_machine(page: str) -> None:
    assert _MACHINE_PATH.findall(TEXTS[page]) == []


@pytest.mark.parametrize("page", TEXTS)
def test_commands_and_options_exist(page: str) -> None:
    text = re.sub(r"\\\n\s*", " ", TEXTS[page])
    found = [(match, complaint(CLI, words_of(match))) for match in _COMMAND.findall(text)]
    assert [(match, problem) for match, problem in found if problem] == []


@pytest.mark.parametrize("line", ["card fly", "demo --loud", "sim card --persona x --exec=y --slow"])
def test_a_wrong_command_would_be_found(line: str) -> None:
    assert complaint(CLI, line.split())


@pytest.mark.parametrize("command", [" ".join(path) for path in leaves(CLI)])
def test_every_command_has_its_place(command: str) -> None:
    assert f"### `./onecard {command}`" in TEXTS["commands.md"]


@pytest.mark.parametrize(
    ("page", "prefix", "settings"),
    [("agent.md", "ONECARD_AGENT_", AgentSettings), ("issuance.md", "ONECARD_ISSUANCE_", Settings)],
)
def test_every_setting_is_told_and_no_other(page: str, prefix: str, settings: type[BaseModel]) -> None:
    told = set(re.findall(rf"`{prefix}([A-Z0-9_]+)`", TEXTS[page]))
    assert told == {name.upper() for name in settings.model_fields}


def test_every_path_of_the_services_is_told() -> None:
    agent = {route.path for router in terminal_agent.app.ROUTERS for route in router.routes}  # type: ignore[attr-defined]
    agent = {path.replace("{name:path}", "{name}") for path in agent}
    protocol = "".join(text for page, text in TEXTS.items() if page.startswith("agent"))
    centre = {route.path for router in _ROUTERS for route in router.routes}  # type: ignore[attr-defined]
    assert sorted(path for path in agent if path not in protocol) == []
    told = TEXTS["issuance.md"] + TEXTS["ecard.md"] + TEXTS["login.md"] + TEXTS["login-ministry.md"]
    assert sorted(path for path in centre if path not in told) == []


def test_every_persona_is_told_and_no_other() -> None:
    table = TEXTS["simulators.md"].partition("| persona |")[2].partition("\n\n")[0]
    told = {name for line in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", line.split("|")[1])}
    assert told == set(names())


@pytest.mark.parametrize("page", sorted(TEXTS.keys() - {"failures.md"}))
def test_failure_codes_exist(page: str) -> None:
    """Words in capitals with an underscore, in code: failure codes, variables, keys, states, bytes."""
    others = re.compile(
        r"(?:ONECARD|PCSCLITE|RK|UK|MK|TMK|PERSON|CONSENT)_\w+|IN_USE|AWAIT_REMOVAL|LISTEN_\w+|AUDIT_(?:SEAL|HEAD)"
        r"|TRANSIT_(?:ROOT|ISSUER)"
    )
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", TEXTS[page]))
    assert {name for name in named if not others.fullmatch(name)} <= set(FailureCode.__members__)


@pytest.mark.parametrize("page", TEXTS)
def test_json_is_json_and_messages_are_messages(page: str) -> None:
    for block in _JSON.findall(TEXTS[page]):
        data = json.loads(block)
        if not isinstance(data, dict):
            continue
        if "batch" in data:
            SessionReply.model_validate(data)
        elif "responses" in data:
            BatchResponses.model_validate(data)
        elif {"kind", "atr"} <= data.keys():
            SessionStart.model_validate(data)
