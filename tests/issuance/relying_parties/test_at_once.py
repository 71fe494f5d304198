"""Requests that share a transaction and go past the framework's routing are answered as they are without either."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import psycopg
import pytest
from starlette.types import Receive, Scope, Send

from issuance.direct import DirectRoutes
from tests.issuance.conftest import both_engines, ok
from tests.issuance.relying_parties.stand import CALLBACK, Stand, failed

FORM = "application/x-www-form-urlencoded"
ANSWERS = ("content-type", "cache-control", "www-authenticate", "allow", "access-control-allow-origin")
GUARDS = ("x-content-type-options", "content-security-policy", "x-frame-options", "referrer-policy")


@both_engines
async def test_a_stranger_with_the_same_code_at_the_same_moment_changes_nothing(stand: Stand) -> None:
    await stand.register("thief", redirect_uris=[CALLBACK])
    code, verifier = await stand.code()
    clients = ["thief", "hall", "thief"]
    first, own, last = await asyncio.gather(*(stand.exchange(code, verifier, client_id) for client_id in clients))
    failed(first, "invalid_grant")
    failed(last, "invalid_grant")
    assert (await stand.user_info(ok(own)["access_token"])).status_code == 200
    assert stand.centre.store.sql("SELECT count(*) FROM audit_entries WHERE act = 'login.shown-twice'") == [(0,)]


async def test_the_same_code_twice_at_the_same_moment_ends_the_log_in(stand: Stand) -> None:
    code, verifier = await stand.code()
    answers = await asyncio.gather(*(stand.exchange(code, verifier) for _ in range(3)))
    (won,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert (await stand.user_info(won["access_token"])).status_code == 401
    failed(await stand.refresh(won["refresh_token"]), "invalid_grant")


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_what_another_process_holds_keeps_nobody_waiting(stand: Stand) -> None:
    """A process that stands still in the middle of an exchange, or of taking a pushed request."""
    (held, verifier), (free, other) = await stand.code(), await stand.code()
    pushed = ok(await stand.browser().post("/oidc/par", data=stand.asked(), auth=("hall", stand.secrets["hall"])), 201)
    asked = {"client_id": "hall", "request_uri": pushed["request_uri"]}
    with psycopg.connect(stand.centre.store.url.replace("+psycopg", "")) as stuck:
        stuck.execute(
            "SELECT * FROM login_codes WHERE code_hash = (SELECT code_hash FROM login_codes LIMIT 1) FOR UPDATE"
        )
        stuck.execute("SELECT * FROM login_pushed_requests FOR UPDATE")
        requests = (stand.exchange(held, verifier), stand.exchange(free, other), stand.authorize(asked))
        answers = await asyncio.wait_for(asyncio.gather(*requests), 14)  # a lock is waited for 15 s
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400]


async def test_hostile_requests_get_the_answers_of_the_framework_s_own_way(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = (await stand.log_in())["access_token"]
    by_the_short_way = await _answers(stand, token)

    async def past(self: Any, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    monkeypatch.setattr(DirectRoutes, "__call__", past)
    assert by_the_short_way == await _answers(stand, token)
    assert all(guard in headers for _, headers, _ in by_the_short_way for guard in GUARDS)
    assert max(status for status, *_ in by_the_short_way) < 500, "what is sent wrong is no fault of ours"


async def _answers(stand: Stand, token: str) -> list[tuple[int, dict[str, str], bytes]]:
    browser, big = stand.browser(), stand.services.settings.body_limit_bytes + 1

    async def parts() -> Any:
        for _ in range(3):
            yield b"a=" + b"b" * (big // 2)

    bearer = f"Bearer {token}"
    asked: list[dict[str, Any]] = [
        {"method": method, "url": f"/oidc/{path}"}
        for path in ("authorize", "token", "userinfo", "token/", "userinfo//")
        for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "TRACE")
    ]
    asked += [
        {"method": "POST", "url": "/oidc/token", "content": content, "headers": {"Content-Type": kind}}
        for content in (b"", b"a=1&a=2", b"%FF=%FF", b"=" * 200, b"&".join([b"a=b"] * 99), b"x" * big, b"\x00\xff")
        for kind in (FORM, f"{FORM}; charset=utf-8", "application/json", "multipart/form-data; boundary=x", "")
    ]
    asked.append({"method": "POST", "url": "/oidc/token", "content": parts(), "headers": {"Content-Type": FORM}})
    asked += [
        {"method": "GET", "url": "/oidc/userinfo", "headers": headers}
        for headers in (
            [("Authorization", bearer), ("Authorization", "Bearer x")],
            [("Authorization", "Bearer x"), ("Authorization", bearer)],
            {"Authorization": bearer.encode() + b"\xff"},
            {"Authorization": bearer, "Origin": "https://evil.example"},
            {"Authorization": "Basic x"},
        )
    ]
    asked.append({"method": "GET", "url": "/oidc/authorize?client_id=hall&client_id=hall"})
    asked.append({"method": "GET", "url": "/oidc/authorize?client_id=%00&state=%F0%9F"})
    return [_told(await browser.request(**one)) for one in asked]


def _told(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    assert "x-request-id" in answer.headers
    return answer.status_code, {n: answer.headers[n] for n in ANSWERS + GUARDS if n in answer.headers}, answer.content
