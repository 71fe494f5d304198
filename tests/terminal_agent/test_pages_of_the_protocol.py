"""Every message has its page in docs/agent, and every example there is what an agent answers.

A block ```http``` is a request and a block ```ws``` a message to the driver's port; the block ```json``` after it is
the answer, with its status where that is not 200. `ONECARD_WRITE_ANSWERS=1` writes the answers anew.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cardlib.failures import FailureCode
from terminal_agent.app import ROUTERS
from terminal_agent.client_failures import script
from terminal_agent.driver_functions import FUNCTIONS
from terminal_agent.problems import problem_response
from tests.terminal_agent.replay import Counter, Request, counter, differences

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "agent").glob("*.md"))
ONLY_SHAPES = {"catalog.md", "journal.md"}
"""Pages whose answers depend on what a centre has published and a day has brought; long ones are told in part."""
WRITES = bool(os.environ.get("ONECARD_WRITE_ANSWERS"))
_EXAMPLE = re.compile(r"^```(http|ws) ?(\w*)\n(.*?)^```\n```json ?(\d*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_EVENT = re.compile(r"^```json event (\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TEXTS = {page.name: page.read_text("utf-8") for page in PAGES}
JSON_HEAD = "Content-Type: application/json\r\n"
ALL = "\n".join(TEXTS.values())


def parsed(text: str, during: str) -> Request:
    head, _, body = text.partition("\n\n")
    line, *headers = head.splitlines()
    method, path = line.split(" ", 1)
    fields = (header.split(": ", 1) for header in headers)
    return Request(method, path.strip(), dict(fields), body.strip(), during)  # type: ignore[arg-type]


def shortened(answer: Any) -> Any:
    """Of a problem what differs from case to case; its words are in docs/failures.md. No path of this machine."""
    if isinstance(answer, dict) and str(answer.get("type")).startswith("urn:onecard:failure:"):
        answer = {name: answer[name] for name in ("status", "code", "detail", "holder", "errors") if name in answer}
    return json.loads(re.sub(r'"/[^"]*/tty-', '"/dev/tty-', json.dumps(answer)))


def write(page: Path, before: str, status: int, answer: Any) -> None:
    """Put the answer into the block that follows `before`."""
    written = "" if answer is None else json.dumps(answer, ensure_ascii=False) + "\n"
    block = f"```json{'' if status == 200 else f' {status}'}\n{written}```"
    old = re.compile(re.escape(before) + r"```json ?\d*\n.*?^```", re.MULTILINE | re.DOTALL)
    page.write_text(old.sub(lambda _: before + block, page.read_text("utf-8"), count=1), "utf-8")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    with counter(tmp_path_factory.mktemp("agent")) as made:
        yield made


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_are_what_the_agent_answers(page: Path, stand: Counter) -> None:
    wrong = list[str]()
    for kind, during, asked, status, told in _EXAMPLE.findall(TEXTS[page.name]):
        seen_status, seen = played(stand, kind, during, asked)
        is_exact = page.name not in ONLY_SHAPES
        seen = shortened(seen)
        lines = differences(json.loads(told.strip() or "null"), seen, is_exact=is_exact, may_grow=not is_exact)
        if seen_status != int(status or 200):
            lines.append(f"status {seen_status}")
        wrong += [f"{asked.splitlines()[0]} {line}" for line in lines]
        if WRITES and lines and is_exact:
            write(page, f"```{kind}{f' {during}' if during else ''}\n{asked}```\n", seen_status, seen)
    stand.give_back()
    assert wrong == []


def played(stand: Counter, kind: str, during: str, asked: str) -> tuple[int, Any]:
    return (200, stand.speak(asked, during)) if kind == "ws" else stand.play(parsed(asked, during))


def test_events_are_told_as_they_come(stand: Counter) -> None:
    """Also where another process has played the pages' examples."""
    told = {name: json.loads(text) for name, text in _EVENT.findall(ALL)}
    due = {"lease_changed", "pairing_wanted", "session_done", "qr_scanned"}
    for page in () if due <= stand.events.keys() else PAGES:
        for kind, during, asked, *_ in _EXAMPLE.findall(TEXTS[page.name]):
            played(stand, kind, during, asked)
        stand.give_back()
    until = time.monotonic() + 30
    while not due <= (heard := dict(stand.events)).keys():
        assert time.monotonic() < until, heard.keys()
        time.sleep(0.01)
    wrong = {name: differences(told.get(name), seen, is_exact=False) for name, seen in heard.items()}
    assert {name: lines for name, lines in wrong.items() if lines} == {}


def test_every_message_has_its_page() -> None:
    requested = {(kind, asked.splitlines()[0].split("?")[0]) for kind, _, asked, _, _ in _EXAMPLE.findall(ALL)}
    lines = {re.sub(r"\{\w+\}", "{}", line) for kind, line in requested if kind == "http"}
    routes = {
        f"{method} {re.sub(r'{[^}]+}', '{}', route.path)}"
        for part in ROUTERS
        for route in part.routes
        for method in route.methods  # type: ignore[attr-defined]
    }
    assert sorted(routes - lines - {"GET /v1/events"}) == []
    spoken = {json.loads(asked)["function"] for kind, _, asked, _, _ in _EXAMPLE.findall(ALL) if '"function"' in asked}
    assert sorted(FUNCTIONS.keys() - spoken) == []
    assert sorted(name for name in published() if f"`{name}`" not in ALL and f"event {name}\n" not in ALL) == []


def test_no_pin_is_asked_for_a_log_in_whose_page_has_gone(stand: Counter) -> None:
    def is_asked() -> bool:
        return bool(stand.play(Request("GET", "/v1/info"))[1]["is_pin_wanted"])

    order = stand.filled('{"reader": "Counter Reader 00 00", "text": "{log_in_text}"}')
    with httpx.stream("GET", f"{stand.where.url}/v1/events", timeout=30) as stream:
        with socket.create_connection(("127.0.0.1", stand.where.http_port)) as page:
            head = f"POST /v1/log-ins HTTP/1.1\r\nHost: 127.0.0.1:{stand.where.http_port}\r\n{JSON_HEAD}"
            page.sendall(f"{head}Content-Length: {len(order.encode())}\r\n\r\n{order}".encode())
            names = (line for line in stream.iter_lines() if line.startswith("event: pin_"))
            assert next(names) == "event: pin_wanted"
            assert is_asked()
        assert next(names) == "event: pin_over"
    assert not is_asked()


def test_every_page_is_listed() -> None:
    assert sorted(name for name in TEXTS if f"({name})" not in TEXTS["protocol.md"]) == ["protocol.md"]


def test_every_failure_is_answered_as_its_page_says() -> None:
    sections = (ROOT / "docs" / "failures.md").read_text("utf-8").split("\n## ")[1:]
    plain = {section.partition("\n")[0]: re.sub(r"^\d\. |\s", "", section, flags=re.MULTILINE) for section in sections}
    for code in FailureCode:
        answer = problem_response(code)
        body = json.loads(bytes(answer.body))
        names = ("title", "title_en", "cause_zh", "cause_en", "remedy_zh", "remedy_en")
        texts = [re.sub(r"\s", "", body[name]) for name in names]
        assert [text for text in (*texts, f"HTTP{answer.status_code}·") if text not in plain[code.value]] == [], code
        assert f"  {code.value}: " in script()


def published() -> Iterator[Any]:
    """Names of events in the source: what is handed to the hub, and the kinds of a reader's event."""
    names = re.compile(r"""^(?:[A-Z_]+, )*[A-Z_]+(?:: Final)? = ("[a-z_]+"(?:, "[a-z_]+")*)$""", re.MULTILINE)
    for path in (ROOT / "terminal_agent").rglob("*.py"):
        source = path.read_text("utf-8")
        yield from re.findall(r"publish\(\s*\"(\w+)\"", source)
        if "publish(" in source:
            for line in names.findall(source):
                yield from (name for name in re.findall(r'"(\w+)"', line) if "_" in name)
    yield from ("reader_added", "reader_removed", "card_inserted", "card_removed", "service_lost", "service_restored")
