"""Small routes, problem documents, and the page with its files."""

from __future__ import annotations

import json
import re

import pytest

import apps_catalog.question
import terminal_agent.catalog.blocked
import terminal_agent.catalog.releases
import terminal_agent.catalog.schemas
import terminal_agent.device_endpoints
import terminal_agent.device_schemas
import terminal_agent.journal.views
import terminal_agent.lease_endpoints
import terminal_agent.log_in
import terminal_agent.pairing_endpoints
import terminal_agent.schemas
import terminal_agent.settlement_schemas
from onecard_ui import HERE as KIT
from terminal_agent.app import ROUTERS
from terminal_agent.page import HERE, words
from terminal_agent.schemas import Problem
from tests.terminal_agent.stand import READER, ScriptedCard, agent_with, readers_with

MESSAGES = (
    apps_catalog.question,
    terminal_agent.catalog.blocked,
    terminal_agent.catalog.releases,
    terminal_agent.catalog.schemas,
    terminal_agent.schemas,
    terminal_agent.journal.views,
    terminal_agent.lease_endpoints,
    terminal_agent.pairing_endpoints,
    terminal_agent.device_endpoints,
    terminal_agent.device_schemas,
    terminal_agent.log_in,
    terminal_agent.settlement_schemas,
)

PROBLEM_MEMBERS = {"type", "title", "status", "detail", "code", "title_en", "cause_zh", "cause_en", "remedy_zh",
                   "remedy_en", "retry"}  # fmt: skip


async def test_readers_and_info() -> None:
    async with agent_with(readers_with(ScriptedCard())) as client:
        readers = (await client.get("/v1/readers")).json()
        info = (await client.get("/v1/info")).json()
    assert [(r["name"], r["state"], r["role"], r["is_contactless"]) for r in readers] == [
        (READER, "PRESENT", "card", False)
    ]
    assert (info["profile"], info["has_centre"], info["terminal_number"], info["jobs"]) == ("counter", False, None, [])


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "NOT_FOUND"),
        ("GET", "/static/../settings.py", 404, "NOT_FOUND"),
        ("GET", "/static/%2e%2e/settings.py", 404, "NOT_FOUND"),
        ("GET", "/docs", 404, "NOT_FOUND"),
        ("PUT", "/v1/readers", 405, "INPUT_INVALID"),
        ("GET", "/?lang=fr", 422, "INPUT_INVALID"),
    ],
)
async def test_every_refusal_is_a_problem_document(method: str, path: str, status: int, code: str) -> None:
    async with agent_with(readers_with()) as client:
        answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["code"] == code
    assert answer.json().keys() >= PROBLEM_MEMBERS


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/readers", "GET"),
        ("/v1/card-sessions", "POST"),
        ("/v1/card-sessions/x", "DELETE, GET"),
        ("/", "GET"),
        ("/static/onecard.css", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(path: str, allowed: str) -> None:
    async with agent_with(readers_with()) as client:
        answer = await client.put(path)
    assert (answer.status_code, answer.json()["code"]) == (405, "INPUT_INVALID")
    assert answer.headers["allow"] == allowed


async def test_the_kit_and_bootstrap_are_one_stylesheet() -> None:
    """A style computed from Bootstrap alone would ask for pictures that the pages' policy forbids."""
    async with agent_with(readers_with()) as client:
        whole = await client.get("/static/onecard.css")
        again = await client.get("/static/onecard.css", headers={"If-None-Match": whole.headers["ETag"]})
        page = await client.get("/")
    assert whole.text.index(".form-select{") < whole.text.index("--oc-ink:")
    assert (again.status_code, again.content) == (304, b"")
    assert "bootstrap" not in page.text


async def test_payload_errors_do_not_echo_the_payload() -> None:
    async with agent_with(readers_with()) as client:
        answer = await client.post("/v1/card-sessions", json={"reader": READER, "kind": "110105199001010012"})
        broken = await client.post(
            "/v1/card-sessions", content=b'{"reader": 110105199001010012', headers={"Content-Type": "application/json"}
        )
        named = await client.post("/v1/card-sessions", json={"110105199001010012": 1})
        surrogate = await client.post(
            "/v1/card-sessions", content=b'{"\\ud800": 1}', headers={"Content-Type": "application/json"}
        )
    answers = [answer, broken, named, surrogate]
    assert [answer.status_code for answer in answers] == [422] * 4
    assert answer.json()["errors"][0]["loc"][-1] == "kind"
    assert "110105199001010012" not in "".join(answer.text for answer in answers)
    for answer in answers:
        Problem.model_validate(answer.json(), extra="forbid")


async def test_unforeseen_failures_stay_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("inner secret")

    monkeypatch.setattr("terminal_agent.cards.SocialSecurityCard", broken)
    async with agent_with(readers_with(ScriptedCard())) as client:
        answer = await client.post(f"/v1/readers/{READER}/basic-information", json={})
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")
    assert "inner secret" not in answer.text
    assert "inner secret" in caplog.text
    assert answer.headers["content-security-policy"]


async def test_page_is_served_in_both_languages_and_sizes() -> None:
    async with agent_with(readers_with()) as client:
        zh = await client.get("/")
        en = await client.get("/?lang=en", headers={"Cookie": "oc_type=large"})
        paths = re.findall(r'(?:href|src)="(/static/[^"#]+)', zh.text)
        files = {path: await client.get(path) for path in paths}
    assert 'lang="zh-CN"' in zh.text
    assert 'data-type="normal"' in zh.text
    assert 'lang="en"' in en.text
    assert 'data-type="large"' in en.text
    assert zh.headers["cache-control"] == "no-store"
    assert len(files) >= 5
    assert {path: answer.status_code for path, answer in files.items()} == dict.fromkeys(files, 200)


async def test_page_obeys_its_own_content_security_policy() -> None:
    async with agent_with(readers_with()) as client:
        page = (await client.get("/")).text
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"<style|\bstyle=|\son\w+=|javascript:", page)
    scripts = [path for home in (HERE, KIT) for path in (home / "static").glob("*.js")]
    assert "innerHTML" not in "".join(path.read_text("utf-8") for path in scripts)


async def test_only_the_counter_may_reveal() -> None:
    for profile, may in (("counter", True), ("kiosk", False)):
        async with agent_with(readers_with(), profile=profile) as client:
            assert ('data-act="reveal"' in (await client.get("/")).text) is may


def test_words_are_complete_in_both_languages_and_all_used() -> None:
    zh, en = words()["zh"], words()["en"]
    assert zh.keys() == en.keys()
    assert all(zh.values())
    assert all(en.values())
    for key in zh:
        assert re.findall(r"\{\w+\}", zh[key]) == re.findall(r"\{\w+\}", en[key])
    source = "".join(
        path.read_text("utf-8")
        for home in (HERE, KIT)
        for folder in ("static", "templates")
        for path in (home / folder).iterdir()
    )
    used = set(re.findall(r"\b(?:w|words|zh|en)\.(\w+)", source))
    labels = set(re.findall(r'"(pin_\w+)"', source))  # names of words, handed to a macro
    families = (
        *("pin_title_", "pin_end_", "pin_next_", "pair_end_", "pair_next_", "function_", "device_", "fix_"),
        *("state_", "event_", "session_", "generation_", "done_", "initialization", "personalization"),
    )
    assert [key for key in zh if key not in used | labels and not key.startswith(families)] == []
    scripts_own = {"get", "counted", "paused", "remaining"}  # of pin.js, handed over as attributes
    assert used - zh.keys() - scripts_own == set()


async def test_api_describes_itself() -> None:
    async with agent_with(readers_with()) as client:
        document = (await client.get("/openapi.json")).json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == sum(len(part.routes) for part in ROUTERS) >= 13
    schemas = document["components"]["schemas"]
    for operation in operations:
        assert operation["summary"]
        refusals = [answer for status, answer in operation["responses"].items() if not status.startswith("2")]
        assert refusals
        for answer in refusals:
            assert answer["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }
    assert not {"HTTPValidationError", "ValidationError"} & schemas.keys()
    names = {name for name, schema in schemas.items() if schema["type"] == "object"}
    assert len(names) >= 11
    for name in names:
        model = next(getattr(module, name) for module in MESSAGES if hasattr(module, name))
        assert schemas[name]["examples"], name
        (example,) = model.model_json_schema()["examples"]  # the description leaves out members that are null
        assert model.model_validate_json(json.dumps(example), extra="forbid"), name
