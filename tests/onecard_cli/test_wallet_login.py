"""`onecard wallet login`: who asks is said before anything is asked for, and what is signed is what the centre sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from hsm.primitives import default_engine
from onecard_cli import wallet
from onecard_cli.__main__ import app
from onecard_cli.home import Home
from simulators.wallet.phone import Link, Phone
from tests.onecard_cli.test_wallet import ASKED, ECARD, SIGN, centre

LINK = f"http://127.0.0.1:8400/login/link#{'Z' * 22}"
LOGIN = {
    "id": "d" * 32,
    "client_id": "jobs",
    "name": "示例网",
    "host": "jobs.example",
    "network": "203.0.113.*",
    "agent": "",
    "at_counter": False,
    "message": "",
    "items": [{"name": "name", "zh": "姓名", "en": "Name"}],
    "choices": [12, 47, 83],
    "text": "登录确认书\n核对数字: ",
}
WAITING: list[bool] = []
PRIVATE, POINT = default_engine().sm2_generate()


def with_log_ins(request: httpx.Request) -> httpx.Response:
    answer = centre(request)
    if request.url.path.endswith("/log-ins") and request.method == "GET":
        return httpx.Response(200, json={"items": [{"id": LOGIN["id"]}] if WAITING else []})
    is_taken = request.url.path.endswith(("/log-ins", "/claim"))
    return httpx.Response(201, json=LOGIN) if is_taken else answer


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("ONECARD_HOME", str(tmp_path))
    home = Home.default()
    home.make_client_key(wallet.CLIENT_ID)
    Phone.open(home.path / "phones" / "cli.json").take_link(Link(ECARD, SIGN, "测*甲", PRIVATE))
    client, transport = httpx.AsyncClient, httpx.MockTransport(with_log_ins)
    monkeypatch.setattr("httpx.AsyncClient", lambda **options: client(**options, transport=transport))
    ASKED.clear()

    def command(*words: str, given: str = "") -> Any:
        return CliRunner().invoke(app, ["wallet", "login", *words], input=given)

    return command


@pytest.mark.parametrize(("words", "given"), [(("--number", "47"), "482915\n"), ((), "47\n482915\n")])
def test_a_log_in_is_approved(run: Callable[..., Any], words: tuple[str, ...], given: str) -> None:
    done = run(LINK, *words, given=given)
    assert done.exit_code == 0, done.output
    assert all(part in done.output for part in ("示例网", "jobs.example", "203.0.113.*", "姓名 / Name"))
    scan, password, approval = ASKED
    assert scan == ("POST", "/log-ins", {"code": "Z" * 22})
    assert password[2] == {"password": "482915", "purpose": "login"}
    assert approval[1] == f"/log-ins/{LOGIN['id']}/approve"
    body = approval[2]
    assert (body["number"], body["busi_seq"]) == (47, "proof-of-password")
    signed = f"{LOGIN['text']}47".encode()
    assert default_engine().sm2_verify(POINT, signed, bytes.fromhex(body["signature"]))


def test_a_log_in_is_refused_without_the_password(run: Callable[..., Any]) -> None:
    assert run(LINK, "--refuse").exit_code == 0
    assert [path for _, path, _ in ASKED] == ["/log-ins", f"/log-ins/{LOGIN['id']}/refuse"]


def test_the_log_in_that_a_counter_asks_for(run: Callable[..., Any]) -> None:
    WAITING.append(True)
    done = run("--waiting", "--number", "47", given="482915\n")
    WAITING.clear()
    assert done.exit_code == 0, done.output
    paths = [path for method, path, _ in ASKED if method == "POST"]
    assert paths[0] == f"/log-ins/{LOGIN['id']}/claim"
    assert paths[-1] == f"/log-ins/{LOGIN['id']}/approve"
    nobody = run("--waiting")
    assert (nobody.exit_code, "NOT_FOUND" in nobody.output) == (1, True)
    assert run("--waiting", LINK).exit_code == run().exit_code == 1


@pytest.mark.parametrize("link", ["https://evil.example/", "OC1.abc", LINK + "?", LINK.replace("#", "?")])
def test_what_is_no_log_in_is_not_sent(run: Callable[..., Any], link: str) -> None:
    done = run(link)
    assert done.exit_code != 0
    assert "LOGIN_LINK_INVALID" in done.output
    assert json.dumps(ASKED) == "[]"
