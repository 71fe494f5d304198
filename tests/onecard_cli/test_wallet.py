"""`onecard wallet`: what each command sends as the phone, what it prints, how it refuses."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from typer.testing import CliRunner

from onecard_cli import wallet
from onecard_cli.__main__ import app
from onecard_cli.home import Home
from onecard_ui.code_picture import codes_in
from simulators.wallet.phone import Link, Phone, new_key

ECARD, SIGN = "e" * 32, "a" * 32
CODE = "OC1.3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
REQUEST = {"id": "c" * 32, "text": "同意\n"}
ASKED: list[tuple[str, str, dict[str, Any]]] = []


def centre(request: httpx.Request) -> httpx.Response:
    """Answers what a centre would, and remembers what it was asked."""
    body = json.loads(request.content) if request.content else {}
    payload = request.headers["Device-Proof"].partition(".")[0]
    proof = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert (proof["method"], proof["path"]) == (request.method, request.url.raw_path.decode())
    assert proof["sign_no"] == ("" if request.url.path == "/v1/ecards" else SIGN)
    path = request.url.path.removeprefix(f"/v1/ecards/{ECARD}")
    ASKED.append((request.method, path, body))
    if path == "/password-checks" and body["password"] != "482915":
        refusal = {"code": "ECARD_PASSWORD_WRONG", "title": "x", "detail": "tries left: 5", "fields": []}
        return httpx.Response(403, json=refusal, headers={"Content-Type": "application/problem+json"})
    answers: dict[str, Any] = {
        "/password-checks": {"busi_seq": "proof-of-password"},
        "/codes": {"code": CODE, "scene": "identity", "expires_at": "2026-01-05T01:01:00Z", "ttl_s": 60},
        "/consent-requests": {"items": [REQUEST]},
        "/consents": {"items": []},
        "/family-requests": {"items": []},
        "/v1/ecards": {"ecard_no": ECARD, "sign_no": SIGN, "holder": {"name": "测*甲"}},
    }
    return httpx.Response(200, json=answers.get(path, {"ok": True}))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A command on a phone with a card; `given` is typed into it."""
    monkeypatch.setenv("ONECARD_HOME", str(tmp_path))
    home = Home.default()
    home.make_client_key(wallet.CLIENT_ID)
    Phone.open(home.path / "phones" / "cli.json").take_link(Link(ECARD, SIGN, "测*甲", new_key()[0]))
    client = httpx.AsyncClient
    monkeypatch.setattr("httpx.AsyncClient", lambda **options: client(**options, transport=httpx.MockTransport(centre)))
    ASKED.clear()

    def command(*words: str, given: str = "482915\n") -> Any:
        return CliRunner().invoke(app, ["wallet", *words], input=given)

    return command


CONFIRMED = {
    ("loss", "--kind", "formal"): ("/loss", "loss", {"kind": "formal"}),
    ("release",): ("/loss/release", "loss", {}),
    ("authorise",): ("/authorisation", "authorise", {}),
    ("level",): ("/level", "level", {}),
    ("unlink", SIGN): (f"/links/{SIGN}/unlink", "unlink", {}),
    ("family", "confirm", "f1"): ("/family-requests/f1/confirm", "family", {}),
    ("family", "add", "--relation", "parent", "--name", "测试父", "--number", "1", "--card-number", "A1"): (
        "/family",
        "family",
        {"relation": "parent", "name": "测试父", "social_security_number": "1", "card_number": "A1"},
    ),
}


@pytest.mark.parametrize("words", CONFIRMED, ids=lambda words: " ".join(words[:2]))
def test_acts_go_behind_the_password(run: Callable[..., Any], words: tuple[str, ...]) -> None:
    path, purpose, body = CONFIRMED[words]
    done = run(*words)
    assert done.exit_code == 0, done.output
    check, act = ASKED
    assert check == ("POST", "/password-checks", {"password": "482915", "purpose": purpose})
    assert act == ("POST", path, body | {"busi_seq": "proof-of-password"})
    assert "482915" not in done.output


PLAIN = {
    ("card",): ("GET", ""),
    ("uses",): ("GET", "/uses"),
    ("consents", "refuse", "c1"): ("POST", "/consent-requests/c1/refuse"),
    ("consents", "revoke", "c1"): ("POST", "/consents/c1/revoke"),
    ("consents", "proof", "c1"): ("GET", "/consents/c1/proof"),
    ("family", "refuse", "f1"): ("POST", "/family-requests/f1/refuse"),
    ("family", "end", "f1"): ("POST", "/family/f1/end"),
}


@pytest.mark.parametrize("words", PLAIN, ids=lambda words: " ".join(words[:2]))
def test_other_acts_ask_for_nothing(run: Callable[..., Any], words: tuple[str, ...]) -> None:
    done = run(*words, given="")
    assert json.loads(done.output) == {"ok": True}
    assert [(method, path) for method, path, _ in ASKED] == [PLAIN[words]]


def test_apply_makes_a_key_and_keeps_the_link(run: Callable[..., Any], tmp_path: Path) -> None:
    who = ("--name", "测试甲", "--number", "990101199001010115", "--card-number", "A00000017")
    done = run("apply", *who, "--phone", "other")
    assert done.exit_code == 0, done.output
    ((_, _, body),) = ASKED
    assert (body["name"], body["password"], len(body["public_key"])) == ("测试甲", "482915", 66)
    kept = Phone.open(tmp_path / "phones" / "other.json").link
    assert kept is not None
    assert (kept.ecard_no, kept.sign_no, kept.holder) == (ECARD, SIGN, "测*甲")


def test_a_code_is_drawn_and_can_be_scanned(run: Callable[..., Any], tmp_path: Path) -> None:
    done = run("code", given="")
    *rows, said = done.output.splitlines()
    assert said == CODE
    picture = Image.new("L", (len(rows[0]) * 4, len(rows) * 8), 255)
    for y, row in enumerate(rows):
        for x, block in enumerate(row):
            for half, is_dark in enumerate((block in "▀█", block in "▄█")):
                if is_dark:
                    picture.paste(0, (4 * x, 8 * y + 4 * half, 4 * x + 4, 8 * y + 4 * half + 4))
    assert [found.text for found in codes_in(picture)] == [CODE]
    file = tmp_path / "code.png"
    assert run("code", "--scene", "payment", "--png", str(file)).output.splitlines()[-1] == CODE
    assert [found.text for found in codes_in(Image.open(file).convert("L"))] == [CODE]
    assert ASKED[-1][2] == {"scene": "payment", "busi_seq": "proof-of-password"}
    assert json.loads(run("code", "--json").output)["ttl_s"] == 60


def test_a_consent_is_shown_before_it_is_signed(run: Callable[..., Any]) -> None:
    done = run("consents", "approve", REQUEST["id"])
    assert "同意" in done.output
    method, path, body = ASKED[-1]
    assert (method, path, body["busi_seq"]) == (
        "POST",
        f"/consent-requests/{REQUEST['id']}/approve",
        "proof-of-password",
    )
    assert len(bytes.fromhex(body["signature"])) == 64
    assert run("consents", "approve", "d" * 32).exit_code == 1


def test_refusals_say_what_to_do(run: Callable[..., Any]) -> None:
    done = run("release", given="000000\n")
    assert done.exit_code == 1
    assert "ECARD_PASSWORD_WRONG" in done.output
    assert "tries left: 5" in done.output
    assert "letters, digits" in run("card", "--phone", "../x").output
    assert "ECARD_UNLINKED" in run("card", "--phone", "nobody").output


def test_lists_say_both_sides(run: Callable[..., Any]) -> None:
    assert json.loads(run("consents", "list").output) == {"waiting": [REQUEST], "given": []}
    assert json.loads(run("family", "list").output) == {"members": {"ok": True}, "asking": []}
    changed = run("password", given="482915\n730264\n")
    assert changed.exit_code == 0
    assert ASKED[-1] == ("PUT", "/password", {"old_password": "482915", "new_password": "730264"})


CLAIM = ("--name", "测试甲", "--number", "1", "--card-number", "A1")


def test_a_forgotten_password_is_reset(run: Callable[..., Any]) -> None:
    assert run("reset", *CLAIM, given="730264\n").exit_code == 0
    said = {"name": "测试甲", "social_security_number": "1", "card_number": "A1", "new_password": "730264"}
    assert [("POST", "/password/reset", said)] == ASKED


@pytest.mark.parametrize("words", [("reset", *CLAIM), ("apply", *CLAIM), ("level",), ("password",)])
def test_what_is_not_six_digits_is_not_sent(run: Callable[..., Any], words: tuple[str, ...]) -> None:
    refused = run(*words, given="48291\n48291\n")
    assert (refused.exit_code, "[INPUT_INVALID]" in refused.stderr, "输满 6 位" in refused.stderr) == (1, True, True)
    assert ASKED == []


def test_a_place_that_cannot_be_written_is_said(run: Callable[..., Any], tmp_path: Path) -> None:
    refused = run("code", "--png", str(tmp_path / "none" / "code.png"))
    assert (refused.exit_code, "No such file" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("role", "number", "status"),
    [
        ("wallet", "1100000001", 0),
        ("wallet", "11", 1),
        ("wallet", "１１０００００００１", 1),
        ("terminal", "1100000001", 1),
    ],
)
def test_a_channel_number_is_a_wallets(run: Callable[..., Any], role: str, number: str, status: int) -> None:
    words = ["issuance", "register", "city-app", "--role", role, "--name", "城市通", "--channel-no", number]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, "pydantic" in done.stderr) == (status, False), done.stderr


def test_a_taken_port_is_said(run: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = CliRunner().invoke(app, ["sim", "wallet", "--port", str(port)])
    assert (refused.exit_code, "[INPUT_INVALID]" in refused.stderr, f":{port}" in refused.stderr) == (1, True, True)
