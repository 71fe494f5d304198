"""`onecard login client` against a centre of one's own."""

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
from onecard_cli import login
from onecard_cli.__main__ import app
from onecard_cli.home import Home
from onecard_cli.registration import register_clients


@pytest.fixture
def centre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("ONECARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ONECARD_ISSUANCE_DATABASE_URL", raising=False)
    home = Home.default()
    migrate(home.database_url)
    register_clients(home, home.database_url, {"operator-1": ("operator",)})
    with home.keys_in_use() as keys:
        service = create_app(Settings(database_url=home.database_url, tasks_pause_s=0), keys)
        with TestClient(service, base_url="http://127.0.0.1:8400") as client:
            client.auth = ClientAuth(ClientKey.load(home.client_key("operator-1")))

            @contextmanager
            def reached(_url: str, _client_id: str) -> Iterator[httpx.Client]:
                yield client

            monkeypatch.setattr(login, "centre", reached)
            yield client


def run(*words: str) -> Any:
    result = CliRunner().invoke(app, ["login", "client", *words])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_add_list_suspend(centre: TestClient) -> None:
    address = "https://hall.example/callback"
    made = run("add", "hall", "--name", "示例大厅", "--redirect", address, "--scope", "profile", "--scope", "openid")
    assert (made["client_id"], made["issuer"], len(made["client_secret"]) > 40) == (
        "hall",
        "http://127.0.0.1:8400",
        True,
    )
    assert run("add", "kiosk", "--name", "自助机", "--device", "--auth", "none")["client_secret"] is None
    listed = {view["id"]: view for view in run("list")}
    assert (listed["hall"]["scopes"], listed["hall"]["redirect_uris"]) == (["openid", "profile"], [address])
    assert listed["kiosk"]["grant_types"] == ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]
    assert run("suspend", "hall")["status"] == "suspended"
    token = {"grant_type": "refresh_token", "refresh_token": "x"}
    refused = centre.post("/oidc/token", data=token, auth=("hall", made["client_secret"]))
    assert refused.json()["error"] == "invalid_client"


@pytest.mark.usefixtures("centre")
@pytest.mark.parametrize("address", ["http://hall.example/", "https://hall.example/#x"])
def test_a_wrong_address_is_told(address: str) -> None:
    result = CliRunner().invoke(app, ["login", "client", "add", "x", "--name", "x", "--redirect", address])
    assert (result.exit_code, "INPUT_INVALID" in result.output) == (1, True)
