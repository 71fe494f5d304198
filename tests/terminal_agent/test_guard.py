"""Strangers are refused by Host and Origin on every route, over HTTP and WebSocket (targets.md, row 1)."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
import websockets
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apdu.inprocess import InProcessReaders
from terminal_agent.guard import Guard
from terminal_agent.origins import Origins
from terminal_agent.server import Ready, running_agent
from terminal_agent.settings import AgentSettings
from tests.terminal_agent.stand import settings

ALLOWED = "https://hall.example"

HOSTILE_ORIGINS = [
    "null",
    "https://evil.example",
    "http://hall.example",
    "https://hall.example:443",
    "https://hall.example:8443",
    "https://hall.example/",
    "https://hall.example.",
    "https://HALL.example",
    "HTTPS://hall.example",
    "https://sub.hall.example",
    "https://hall.example.evil.example",
    "https://evilhall.example",
    "https://hall.exampl",
    "https://hall.example@evil.example",
    "https://evil.example?https://hall.example",
    "https://evil.example#https://hall.example",
    "https://hall.example https://evil.example",
    "https://hall.example,https://evil.example",
    "https://evil.example, https://hall.example",
    "https://hаll.example".encode().decode("latin-1"),
    "https://*",
    "*",
    "file://",
    "chrome-extension://abcdefghijklmnop",
    "http://localhost",
    "http://127.0.0.1",
    "http://127.0.0.1:{port}0",
    "http://127.0.0.1.evil.example:{port}",
    "http://localhost.evil.example:{port}",
    "http://LOCALHOST:{port}",
    "https://127.0.0.1:{port}",
    "http://0.0.0.0:{port}",
    "http://[::ffff:127.0.0.1]:{port}",
    "http://2130706433:{port}",
    "",
    " ",
]
HOSTILE_HOSTS = [
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1",
    "127.0.0.1:{port}0",
    "127.0.0.1.nip.example:{port}",
    "localhost.:{port}",
    "LOCALHOST:{port}",
    "user@127.0.0.1:{port}",
    "0.0.0.0:{port}",
    "[::]:{port}",
    "127.1:{port}",
    "127.0.0.1:0{port}",
    "127.0.0.1:{port}, evil.example",
    "",
]


@pytest.fixture(scope="module")
def ready() -> Iterator[Ready]:
    with running_agent(settings(port=0, ws_port=0, allowed_origins=(ALLOWED,)), InProcessReaders()) as where:
        yield where


def raw_request(port: int, *lines: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for a request written byte for byte, as no client library would send it."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        answer, written = b"", "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body
        with suppress(ConnectionError):  # who answers before it has read all resets the connection afterwards
            link.sendall(written)
        with suppress(ConnectionError):
            while chunk := link.recv(65536):
                answer += chunk
    head, _, rest = answer.partition(b"\r\n\r\n")
    status, *header_lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in header_lines)
    return int(status.split()[1]), headers, rest


@pytest.mark.parametrize("origin", HOSTILE_ORIGINS)
def test_hostile_origin_is_refused_over_http(ready: Ready, origin: str) -> None:
    own = f"Host: 127.0.0.1:{ready.http_port}"
    written = origin.format(port=ready.http_port)
    for method, path in (("GET", "/v1/readers"), ("POST", "/v1/card-sessions"), ("GET", "/"), ("GET", "/nowhere")):
        status, headers, body = raw_request(ready.http_port, f"{method} {path} HTTP/1.1", own, f"Origin: {written}")
        assert status == 403
        assert json.loads(body)["code"] == "ORIGIN_FORBIDDEN"
        assert "access-control-allow-origin" not in headers
    status, headers, _ = raw_request(
        ready.http_port,
        "OPTIONS /v1/readers HTTP/1.1",
        own,
        f"Origin: {written}",
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Private-Network: true",
    )
    assert status == 403
    assert not [name for name in headers if name.startswith("access-control-")]


@pytest.mark.parametrize("origin", HOSTILE_ORIGINS)
def test_hostile_origin_is_refused_over_websocket(ready: Ready, origin: str) -> None:
    status, headers, body = raw_request(
        ready.ws_port,
        "GET / HTTP/1.1",
        f"Host: 127.0.0.1:{ready.ws_port}",
        f"Origin: {origin.format(port=ready.http_port)}",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    assert status in (400, 403)
    assert status == 400 or json.loads(body)["code"] == "ORIGIN_FORBIDDEN"
    assert "sec-websocket-accept" not in headers


@pytest.mark.parametrize("host", HOSTILE_HOSTS)
def test_rebound_host_is_refused(ready: Ready, host: str) -> None:
    status, _, body = raw_request(
        ready.http_port, "GET /v1/readers HTTP/1.1", f"Host: {host.format(port=ready.http_port)}"
    )
    assert status in (400, 421)
    assert status == 400 or json.loads(body)["code"] == "HOST_FORBIDDEN"
    status, headers, _ = raw_request(
        ready.ws_port,
        "GET / HTTP/1.1",
        f"Host: {host.format(port=ready.ws_port)}",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    assert status in (400, 421)
    assert "sec-websocket-accept" not in headers


@pytest.mark.parametrize("lines", [(), ("Host: 127.0.0.1:{port}", "Host: evil.example")])
def test_no_or_two_hosts_are_refused(ready: Ready, lines: tuple[str, ...]) -> None:
    version = "1.1" if lines else "1.0"
    written = [line.format(port=ready.http_port) for line in lines]
    assert raw_request(ready.http_port, f"GET /v1/readers HTTP/{version}", *written)[0] in (400, 421)


def test_two_origins_are_refused(ready: Ready) -> None:
    own = f"Host: 127.0.0.1:{ready.http_port}"
    lines = ("GET /v1/readers HTTP/1.1", own, f"Origin: {ALLOWED}", "Origin: https://evil.example")
    assert raw_request(ready.http_port, *lines)[0] == 403


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_fetch_metadata_decides_without_origin(ready: Ready, site: str, status: int) -> None:
    assert httpx.get(f"{ready.url}/v1/readers", headers={"Sec-Fetch-Site": site}).status_code == status


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_own_page_and_plain_programs_are_served(ready: Ready, host: str) -> None:
    base = f"http://{host}:{ready.http_port}"
    assert httpx.get(f"{base}/v1/readers").status_code == 200
    assert httpx.get(f"{base}/v1/readers", headers={"Origin": base}).status_code == 200


def test_listed_origin_gets_exactly_what_it_needs(ready: Ready) -> None:
    answer = httpx.get(f"{ready.url}/v1/readers", headers={"Origin": ALLOWED, "Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers
    question = {
        "Origin": ALLOWED,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Private-Network": "true",
        "Access-Control-Request-Local-Network": "true",
    }
    preflight = httpx.options(f"{ready.url}/v1/card-sessions", headers=question)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == ALLOWED
    assert preflight.headers["access-control-allow-private-network"] == "true"
    assert preflight.headers["access-control-allow-local-network"] == "true"
    unasked = httpx.options(
        f"{ready.url}/v1/readers", headers={"Origin": ALLOWED, "Access-Control-Request-Method": "GET"}
    )
    assert "access-control-allow-private-network" not in unasked.headers


async def test_websocket_serves_listed_and_own_origins(ready: Ready) -> None:
    for origin in (ALLOWED, ready.url, None):
        async with websockets.connect(ready.ws_url, origin=origin) as link:
            await link.send("{}")
            assert json.loads(await link.recv())["success"] == "-14"


def test_every_answer_carries_the_security_headers(ready: Ready) -> None:
    for path, headers in (("/", {}), ("/static/agent.js", {}), ("/nowhere", {}), ("/v1/readers", {"Origin": "null"})):
        answer = httpx.get(f"{ready.url}{path}", headers=headers)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "server" not in answer.headers


def test_large_bodies_are_refused_declared_or_not(ready: Ready) -> None:
    big = b"x" * (64 * 1024 + 1)
    declared = httpx.post(f"{ready.url}/v1/card-sessions", content=big, headers={"Content-Type": "application/json"})
    chunked = httpx.post(
        f"{ready.url}/v1/card-sessions", content=iter([big]), headers={"Content-Type": "application/json"}
    )
    assert [declared.status_code, chunked.status_code] == [413, 413]
    assert declared.json()["code"] == chunked.json()["code"] == "INPUT_INVALID"


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "https://hall.example/", "hall.example", "https://*.example", "https://hall.example:443",
     "https://Hall.example", "https://a.example:0", "https://a.example:70000", "ftp://a.example", "https://-a.example"],
)  # fmt: skip
def test_allow_list_takes_exact_origins_only(origin: str) -> None:
    with pytest.raises(ValueError, match=r"origin|port"):
        AgentSettings(allowed_origins=(origin,))


def test_allow_list_is_empty_by_default() -> None:
    assert AgentSettings().allowed_origins == ()


@hypothesis_settings(max_examples=100)
@given(st.binary(max_size=60).filter(lambda raw: raw not in (ALLOWED.encode(), b"http://127.0.0.1:80")))
def test_no_other_bytes_pass_as_origin(raw: bytes) -> None:
    passed: list[str] = []

    async def app(scope: object, receive: object, send: object) -> None:
        passed.append("through")

    async def exchange() -> int:
        sent: list[dict[str, object]] = []

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "server": ("127.0.0.1", 12343),
            "headers": [(b"host", b"127.0.0.1:12343"), (b"origin", raw)],
        }
        await Guard(app, Origins((ALLOWED,)))(scope, None, send)  # type: ignore[arg-type]
        return sent[0]["status"]  # type: ignore[return-value]

    own = {f"http://{host}:12343".encode() for host in ("127.0.0.1", "localhost", "[::1]")}
    if raw not in own:
        assert asyncio.run(exchange()) == 403
        assert not passed
