"""`onecard clerk` and `onecard office tree` against a centre of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
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
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A centre in this process, asked by `operator-1`."""
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
            yield home


def run(*words: str) -> Any:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_offices_and_clerks(home: Home) -> None:
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
