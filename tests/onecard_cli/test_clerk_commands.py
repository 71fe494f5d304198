"""`onecard clerk` and `onecard office tree` against a centre of one's own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from cardlib.client_auth import ClientAuth, ClientKey
from issuance.app import create_app
from issuance.database import migrate
from issuance.settings import Settings
from onecard_cli import clerk
from onecard_cli.__main__ import app
from onecard_cli.home import Home
from onecard_cli.registration import register_clients


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A centre in this process, asked by `operator-1`; clerks without a client's key reach it, too."""
    monkeypatch.setenv("ONECARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ONECARD_ISSUANCE_DATABASE_URL", raising=False)
    home = Home.default()
    migrate(home.database_url)
    register_clients(home, home.database_url, {"operator-1": ("operator",)})
    with home.keys_in_use() as keys:
        centre = create_app(Settings(database_url=home.database_url, tasks_pause_s=0), keys)
        key = ClientKey.load(home.client_key("operator-1"))
        with TestClient(centre, base_url="http://127.0.0.1:8400") as client:
            client.auth = ClientAuth(key)

            @contextmanager
            def reached(_url: str, _client_id: str) -> Iterator[httpx.Client]:
                yield client

            monkeypatch.setattr(clerk, "centre", reached)
            monkeypatch.setattr(httpx, "Client", lambda **_: TestClient(centre, base_url="http://127.0.0.1:8400"))
            yield client


def run(*words: str) -> Any:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


PASSWORD = "一个足够长的测试口令 1a"


def settled(client: TestClient, login: str, temporary: str) -> pyotp.TOTP:
    """What the first log-in demands; the one-time codes of who has done it."""
    given = {"login": login, "password": temporary, "code": ""}
    client.headers["X-CSRF-Token"] = client.post("/v1/staff/log-in", json=given).json()["csrf"]
    begun = client.post("/v1/staff/codes").json()
    codes = pyotp.TOTP(begun["secret"])
    first = {"ticket": begun["ticket"], "code": codes.now()}  # the next one is for the log-in
    assert client.post("/v1/staff/codes/confirm", json=first).status_code == 204
    change = {"old": temporary, "password": PASSWORD}
    assert client.post("/v1/staff/password", json=change).status_code == 204
    return codes


def test_a_second_clerk_decides(operator: TestClient) -> None:
    top = run("clerk", "first", "wang.li", "--name", "王丽", "--region", "110000", "--office", "示例市社保中心")
    office = str(top["clerk"]["office_id"])
    temporary = {}
    for login, role in (("li.ming", "stock_keeper"), ("zhang.wei", "supervisor")):
        made = run("clerk", "add", login, "--name", "测试", "--office", office, "--role", role)
        temporary[login] = made["temporary_password"]
    numbers = {"region": "110000", "body_from": "A0000001", "count": 1}
    assert operator.post("/v1/card-numbers", json=numbers).status_code == 201
    keeper = TestClient(operator.app, base_url="http://127.0.0.1:8400")
    settled(keeper, "li.ming", temporary["li.ming"])
    codes = settled(TestClient(operator.app, base_url="http://127.0.0.1:8400"), "zhang.wei", temporary["zhang.wei"])
    body = {"act": "lock", "numbers": ["A00000011"], "reason": "x"}
    asked = keeper.post("/v1/staff/approvals", json={"act": "number.change", "body": body, "reason": "作废"}).json()
    words = ("clerk", "decide", asked["id"], "approve", "--as", "zhang.wei", "--reason", "属实")
    wrong = CliRunner().invoke(app, list(words), input="no such password\n000000\n")
    assert (wrong.exit_code, "LOGIN_REFUSED" in wrong.output) == (1, True)
    done = CliRunner().invoke(app, list(words), input=f"{PASSWORD}\n{codes.at(time.time() + 30)}\n")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"changed": 1, "unchanged": 0}
    assert PASSWORD not in done.output
    assert [found["decided_by"] for found in run("clerk", "approvals", "--state", "approved")] == ["zhang.wei"]
    chief = operator.get("/v1/clerks", params={"login": "zhang.wei"}).json()["items"][0]["id"]
    ended = {found["end_reason"] for found in operator.get(f"/v1/clerks/{chief}/sessions").json()}
    assert "log_out" in ended, "the command does not stay logged in"


@pytest.mark.usefixtures("operator")
def test_offices_and_clerks() -> None:
    top = run("clerk", "first", "wang.li", "--name", "王丽", "--region", "110000", "--office", "示例市社保中心")
    assert top["clerk"]["roles"] == ["administrator"]
    parent = str(top["clerk"]["office_id"])
    names = ("--name", "示例区社保中心", "--region", "110105", "--parent", parent)
    office = run("office", "tree", "add", *names)
    assert [found["id"] for found in run("office", "tree", "list")] == [int(parent), office["id"]]
    made = run("clerk", "add", "li.ming", "--name", "李明", "--office", str(office["id"]), "--role", "issuer")
    assert made["clerk"]["office"] == office["path"]
    assert [found["login"] for found in run("clerk", "list", "--office", str(office["id"]))] == ["li.ming"]
    changed = run("clerk", "change", "li.ming", "--role", "collector", "--role", "reviewer", "--reason", "调岗")
    assert changed["roles"] == ["collector", "reviewer"]
    again = run("clerk", "reset", "li.ming")
    assert again["temporary_password"] != made["temporary_password"]
    assert run("clerk", "sessions", "li.ming") == []
    assert run("clerk", "sessions", "li.ming", "--end") == {"ended": 0}
    assert run("clerk", "change", "li.ming", "--status", "suspended", "--reason", "离岗")["status"] == "suspended"
    assert run("office", "tree", "close", str(office["id"]))["status"] == "closed"
    assert run("clerk", "approvals") == []
    unknown = CliRunner().invoke(app, ["clerk", "reset", "nobody"])
    assert unknown.exit_code == 1
    assert "NOT_FOUND" in unknown.output
