"""`onecard login client` against a centre of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from joserfc import jwt
from joserfc.jwk import ECKey
from joserfc.jws import extract_compact
from typer.testing import CliRunner

from cardlib.client_auth import ClientAuth, ClientKey
from issuance.app import create_app
from issuance.database import migrate
from issuance.settings import Settings
from onecard_cli import login, login_denials
from onecard_cli.__main__ import app
from onecard_cli.home import Home
from onecard_cli.registration import register_clients


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One for all tests of this file."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ONECARD_HOME", str(tmp_path_factory.mktemp("home")))
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

                for module in (login, login_denials):
                    monkeypatch.setattr(module, "centre", reached)
                yield client


def run(*words: str, group: str = "client") -> Any:
    result = CliRunner().invoke(app, ["login", group, *words])
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


@pytest.mark.usefixtures("centre")
def test_a_system_with_a_key(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [ECKey.generate_key("P-256").as_dict(private=False)]}), encoding="utf-8")
    words = ("add", "desk", "--name", "窗口", "--auth", "private_key_jwt", "--counter", "--signed", "--jwks", str(file))
    assert run(*words)["client_secret"] is None
    view = next(view for view in run("list") if view["id"] == "desk")
    assert view["grant_types"] == ["urn:openid:params:grant-type:ciba", "refresh_token"]
    assert (view["needs_signed_requests"], len(view["jwks"]["keys"])) == (True, 1)
    file.write_text(json.dumps({"keys": [ECKey.generate_key("P-256", {"kid": "next"}).as_dict(private=False)]}))
    assert run("keys", "desk", str(file))["jwks"]["keys"][0]["kid"] == "next"
    file.write_text("{", encoding="utf-8")
    spoilt = CliRunner().invoke(app, ["login", "client", *words])
    assert (spoilt.exit_code, "INPUT_INVALID" in spoilt.output) == (1, True)


@pytest.mark.usefixtures("centre")
def test_the_deny_list() -> None:
    assert run("add", "203.0.113.7", "--reason", "钓鱼", group="deny")["entry"] == "203.0.113.7/32"
    (entry,) = run("list", group="deny")
    assert (entry["reason"], entry["created_by"]) == ("钓鱼", "operator-1")
    run("remove", "203.0.113.7", group="deny")
    assert run("list", group="deny") == []
    wrong = CliRunner().invoke(app, ["login", "deny", "add", "203.0.113.7/24", "--reason", "x"])
    assert (wrong.exit_code, "INPUT_INVALID" in wrong.output) == (1, True)


def test_keys_rotate_while_the_service_runs(centre: TestClient) -> None:
    keys = cast(FastAPI, centre.app).state.services.login_keys
    now = datetime.now(UTC)
    before = keys.encode({"a": 1}, "ES256", "JWT", now)
    result = CliRunner().invoke(app, ["login", "keys", "rotate", "ES256"])
    assert result.exit_code == 0, result.output
    after = keys.encode({"a": 1}, "ES256", "JWT", now)
    published = {key["kid"]: key for key in centre.get("/oidc/jwks").json()["keys"]}
    for token, kid in ((before, "LOGIN_ES256-1"), (after, "LOGIN_ES256-2")):
        assert extract_compact(token.encode()).headers()["kid"] == kid
        assert jwt.decode(token, ECKey.import_key(published[kid]), algorithms=["ES256"]).claims == {"a": 1}
        assert keys.decode(token, "JWT") == {"a": 1}
