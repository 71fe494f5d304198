"""What hostile pages and programs can send by wire: each is refused and told in the log, and the service goes on.

What only a browser can produce is in test_agent_in_browser.py; every spelling of origins and hosts in test_guard.py.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.types import Message

from apdu.inprocess import InProcessReaders
from terminal_agent import bodies, connections, refusals
from terminal_agent.app import ROUTERS
from terminal_agent.hub import EventHub
from terminal_agent.pairing import Pairings
from terminal_agent.server import Ready, running_agent
from tests.terminal_agent.stand import READER, settings
from tests.terminal_agent.test_guard import raw_request

HALL, ASKS, OTHER = "https://hall.example", "https://asks.example", "https://other-asks.example"
SOON_S, LONG_S = 0.3, 8.0
"""How soon a slow one is cut off here, and how late on a busy computer; as set it is 10 s."""
LEASE = f"/v1/readers/{READER.replace(' ', '%20')}/lease"


@pytest.fixture(scope="module")
def patched() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refusals, "LOG_LINES", 10_000)
        yield


@pytest.fixture(scope="module")
def where(patched: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    stand = settings(
        port=0,
        ws_port=0,
        allowed_origins=(HALL,),
        pairing_origins=(ASKS, OTHER),
        state_dir=tmp_path_factory.mktemp("s"),
    )
    with running_agent(stand, InProcessReaders([READER])) as ready:
        yield ready


@pytest.fixture(scope="module")
def http(where: Ready) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=where.url, timeout=30) as client:
        yield client


@pytest.fixture(autouse=True)
def goes_on(http: httpx.Client) -> Iterator[None]:
    yield
    assert http.get("/healthz").json()["status"] == "ok"
    (reader,) = http.get("/v1/readers").json()
    assert reader["holder"] is None


Request = tuple[str, tuple[str, ...], bytes]
JSON_TYPE = "Content-Type: application/json"


def post(*headers: str, body: bytes = b'{"owner":"x"}', path: str = LEASE) -> Request:
    return f"POST {path} HTTP/1.1", (*headers, f"Content-Length: {len(body)}"), body


CASES: dict[str, tuple[Request, int, str]] = {
    "wrong origin": (post("Origin: https://evil.example", JSON_TYPE), 403, "ORIGIN_FORBIDDEN"),
    "null origin": (post("Origin: null", JSON_TYPE), 403, "ORIGIN_FORBIDDEN"),
    "sub-domain": (post("Origin: https://sub.hall.example", JSON_TYPE), 403, "ORIGIN_FORBIDDEN"),
    "suffix": (post("Origin: https://hall.example.evil.example", JSON_TYPE), 403, "ORIGIN_FORBIDDEN"),
    "http for https": (post("Origin: http://hall.example", JSON_TYPE), 403, "ORIGIN_FORBIDDEN"),
    "other port": (post("Origin: https://hall.example:8443", JSON_TYPE), 403, "ORIGIN_FORBIDDEN"),
    "form": (post(f"Origin: {HALL}", "Content-Type: application/x-www-form-urlencoded"), 415, "INPUT_INVALID"),
    "text/plain": (post(f"Origin: {HALL}", "Content-Type: text/plain"), 415, "INPUT_INVALID"),
    "no type": (post(f"Origin: {HALL}"), 415, "INPUT_INVALID"),
    "names twice": (post(JSON_TYPE, body=b'{"owner":"x","owner":"y"}'), 422, "INPUT_INVALID"),
    "a member too many": (post(JSON_TYPE, body=b'{"owner":"x","admin":true}'), 422, "INPUT_INVALID"),
    "NaN": (post(JSON_TYPE, body=b'{"owner":"x","wait_s":NaN}'), 422, "INPUT_INVALID"),
    "too deep": (post(JSON_TYPE, body=b"[" * 60_000), 422, "INPUT_INVALID"),
    "oversize body": (post(JSON_TYPE, body=b" " * 70_000), 413, "INPUT_INVALID"),
    "no token": (post(f"Origin: {ASKS}", JSON_TYPE), 401, "PAIRING_REQUIRED"),
    "guessed token": (post(f"Origin: {ASKS}", "Authorization: Bearer x", JSON_TYPE), 401, "PAIRING_REQUIRED"),
    "token by another scheme": (
        post(f"Origin: {ASKS}", "Authorization: Basic eDp4", JSON_TYPE),
        401,
        "PAIRING_REQUIRED",
    ),
    "answers for the person": (post(f"Origin: {HALL}", path="/pair", body=b"act=allow"), 403, "ORIGIN_FORBIDDEN"),
    "blind form": (post(path="/pair", body=b"act=allow"), 403, "ORIGIN_FORBIDDEN"),
    "lists the pairings": (("GET /v1/pairings HTTP/1.1", (f"Origin: {HALL}",), b""), 403, "ORIGIN_FORBIDDEN"),
    "revokes a pairing": (("DELETE /v1/pairings/x HTTP/1.1", (f"Origin: {HALL}",), b""), 403, "ORIGIN_FORBIDDEN"),
    "wrong level": (("GET /v1/readers HTTP/1.1", ("X-OneCard-Api-Level: 99",), b""), 400, "API_LEVEL_UNSUPPORTED"),
    "preflight of a stranger": (
        ("OPTIONS /v1/readers HTTP/1.1", ("Origin: https://evil.example", "Access-Control-Request-Method: POST"), b""),
        403,
        "ORIGIN_FORBIDDEN",
    ),
    "preflight for the person's page": (
        ("OPTIONS /pair HTTP/1.1", (f"Origin: {HALL}", "Access-Control-Request-Method: POST"), b""),
        403,
        "ORIGIN_FORBIDDEN",
    ),
}

GET = "GET /v1/readers HTTP/1.1"
CHUNKED = "Transfer-Encoding: chunked"
CASES |= {
    "a host twice": ((GET, ("Host: evil.example",), b""), 421, "HOST_FORBIDDEN"),
    "a host of its own in the target": (
        ("GET http://evil.example/v1/readers HTTP/1.1", (), b""),
        421,
        "HOST_FORBIDDEN",
    ),
    "an origin twice": ((GET, (f"Origin: {HALL}", f"Origin: {HALL}"), b""), 403, "ORIGIN_FORBIDDEN"),
    "where it was sent from, twice": (
        (GET, ("Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"), b""),
        403,
        "ORIGIN_FORBIDDEN",
    ),
    "from a neighbour's port": ((GET, ("Sec-Fetch-Site: same-site",), b""), 403, "ORIGIN_FORBIDDEN"),
    "another way to write /pair": (("GET /%70air HTTP/1.1", (f"Origin: {HALL}",), b""), 403, "ORIGIN_FORBIDDEN"),
    "another method by a header": (
        ("GET /v1/pairings/x HTTP/1.1", (f"Origin: {HALL}", "X-HTTP-Method-Override: DELETE"), b""),
        403,
        "ORIGIN_FORBIDDEN",
    ),
    "the explanation in a frame": (
        (
            "GET /permission HTTP/1.1",
            ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"),
            b"",
        ),
        403,
        "ORIGIN_FORBIDDEN",
    ),
    "two tokens": (
        (GET, (f"Origin: {ASKS}", "Authorization: Bearer x", "Authorization: Bearer y"), b""),
        401,
        "PAIRING_REQUIRED",
    ),
    "oversize in chunks": (
        (f"POST {LEASE} HTTP/1.1", (JSON_TYPE, CHUNKED), b"11000\r\n" + b" " * 0x11000 + b"\r\n0\r\n\r\n"),
        413,
        "INPUT_INVALID",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused(name: str, where: Ready, caplog: pytest.LogCaptureFixture) -> None:
    (line, headers, body), status, code = CASES[name]
    with caplog.at_level(logging.INFO, "terminal_agent"):
        answer, heads, text = raw_request(
            where.http_port, line, f"Host: 127.0.0.1:{where.http_port}", *headers, body=body
        )
    assert (answer, f'"{code}"' in text.decode()) == (status, True), text
    assert heads["x-onecard-api-level"] == "2"
    if status in (401, 403):
        assert code in caplog.text
        assert "access-control-allow-origin" not in heads or status == 401
    assert "Bearer" not in caplog.text


def dribble(where: Ready, first: bytes, drip: bytes) -> tuple[float, bytes]:
    """Seconds until the other end has had enough, and what it said. A whole request is answered first."""
    begun, said = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", where.http_port), timeout=30) as link, suppress(ConnectionError):
        link.sendall(first.replace(b"PORT", str(where.http_port).encode()))
        if first.startswith(b"GET /"):
            said += link.recv(4096)
        link.settimeout(0.05)
        while time.monotonic() - begun < 2 * LONG_S:
            try:
                said += (chunk := link.recv(4096))
                if not chunk:
                    break
            except TimeoutError:
                link.sendall(drip)
    return time.monotonic() - begun, said


HEAD = b"POST /v1/log-ins HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n"
JSON_HEAD = HEAD + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "drip", "said"),
    [
        (b"", b"", b""),
        (b"GET", b"X", b""),
        (HEAD, b"X-A: b\r\n", b""),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", b"GET ", b" 200 "),
        (JSON_HEAD, b" ", b" 408 "),
    ],
    ids=["silence", "a line", "headers", "the second request", "a body"],
)
def test_slow_loris(where: Ready, first: bytes, drip: bytes, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", SOON_S)
    monkeypatch.setattr(bodies, "BODY_S", SOON_S)
    seconds, answer = dribble(where, first, drip)
    assert seconds < LONG_S
    assert said in answer


def test_a_head_without_end(where: Ready) -> None:
    host = f"Host: 127.0.0.1:{where.http_port}"
    assert raw_request(where.http_port, "GET /healthz HTTP/1.1", host, "X: " + "a" * 20_000)[0] == 431
    with socket.create_connection(("127.0.0.1", where.http_port), timeout=30) as link:
        link.sendall(b"GET /" + b"a" * 20_000)
        assert b" 431 " in link.recv(4096)


HEADS = {
    "lengths": ("Content-Length: 13", "Content-Length: 14"),
    "the same length twice": ("Content-Length: 13", "Content-Length: 13"),
    "a list of lengths": ("Content-Length: 13, 13",),
    "a length and chunks": ("Content-Length: 13", CHUNKED),
    "chunks, then something else": ("Transfer-Encoding: chunked, identity",),
    "something else": ("Transfer-Encoding: xchunked",),
    "a folded line": ("X: a", " b"),
    "a space before the colon": ("Origin : https://evil.example",),
    "a NUL": (f"Origin: {HALL}\0",),
}


@pytest.mark.parametrize("lines", HEADS.values(), ids=HEADS)
def test_a_request_that_two_could_read_differently_is_none(where: Ready, lines: tuple[str, ...]) -> None:
    """Nothing after it counts as a second request either."""
    body = b'{"owner":"x"}' + f"{GET}\r\nHost: 127.0.0.1:{where.http_port}\r\n\r\n".encode()
    host = f"Host: 127.0.0.1:{where.http_port}"
    status, _, rest = raw_request(where.http_port, f"POST {LEASE} HTTP/1.1", host, JSON_TYPE, *lines, body=body)
    assert (status, b"HTTP/1.1" in rest) == (400, False)


FRAMES = {
    "unmasked": b"\x81\x02{}",
    "reserved opcode": b"\x83\x80\0\0\0\0",
    "reserved bits": b"\xf1\x80\0\0\0\0",
    "oversize": b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    "ping in pieces": b"\x09\x80\0\0\0\0",
    "no text": b"\x81\x82\0\0\0\0\xff\xfe",
    "fragment of nothing": b"\x80\x80\0\0\0\0",
}


def shaken(link: socket.socket, port: int, origin: str) -> bytes:
    """The answer to a WebSocket's handshake that offers compression."""
    link.sendall(
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\n".encode()
        + b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
    return link.recv(4096)


def test_a_bomb_in_compressed_frames_and_a_flood_of_pings(where: Ready) -> None:
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = (packed.compress(b" " * (32 << 20)) + packed.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with socket.create_connection(("127.0.0.1", where.ws_port), timeout=30) as link:
        assert b"permessage-deflate" in shaken(link, where.ws_port, HALL)
        link.sendall(b"\x89\x80\0\0\0\0" * 2000)
        pongs = b""
        while len(pongs) < 4000:
            pongs += link.recv(4096)
        assert pongs == b"\x8a\0" * 2000
        link.sendall(b"\xc1\xfe" + len(bomb).to_bytes(2, "big") + b"\0\0\0\0" + bomb)
        assert link.recv(4)[2:] == (1009).to_bytes(2, "big")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:{port}.evil.example"])
def test_no_foreign_websocket_on_either_port(where: Ready, origin: str) -> None:
    for port in (where.http_port, where.ws_port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
            assert b" 403 " in shaken(link, port, origin.format(port=port))


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_malformed_frames_end_that_connection_alone(where: Ready, frame: bytes) -> None:
    with socket.create_connection(("127.0.0.1", where.ws_port), timeout=30) as link:
        assert b" 101 " in shaken(link, where.ws_port, HALL)
        link.sendall(frame)
        said = b""
        while chunk := link.recv(4096):
            said += chunk
    assert said[:1] == b"\x88"


def paired(http: httpx.Client, where: Ready, origin: str, act: str = "allow") -> httpx.Response:
    """The page asks, and the person at the terminal answers in the agent's own page."""
    answers: list[httpx.Response] = []

    def ask() -> None:
        body, headers = {"name": "政务服务"}, {"Origin": origin}
        answers.append(httpx.post(f"{where.url}/v1/pairings", json=body, headers=headers, timeout=60))

    page = threading.Thread(target=ask)
    page.start()
    until = time.monotonic() + 30
    while not (shown := re.search(r'name="key" value="([^"]+)"', http.get("/pair").text)):
        assert time.monotonic() < until
        time.sleep(0.01)
    own = {"Origin": where.url}
    http.post("/pair", data={"key": shown[1], "act": act}, headers=own)
    again = http.post("/pair", data={"key": shown[1], "act": "allow"}, headers=own)
    assert again.headers["location"] == "/pair/end/stale"
    page.join()
    return answers[0]


def test_a_token_is_of_one_page_until_it_is_taken_back(http: httpx.Client, where: Ready) -> None:
    def status_of(origin: str, token: str) -> int:
        headers = {"Origin": origin, "Authorization": f"Bearer {token}"}
        return http.get("/v1/readers", headers=headers).status_code

    refused = paired(http, where, ASKS, "refuse")
    assert (refused.status_code, refused.json()["code"]) == (403, "PAIRING_REFUSED")
    answer = paired(http, where, ASKS)
    token = answer.json()["token"]
    assert (answer.status_code, status_of(ASKS, token)) == (201, 200)
    assert status_of(OTHER, token) == 401, "stolen"
    assert status_of("https://evil.example", token) == 403
    assert http.post("/v1/pairings", json={"name": "x"}, headers={"Origin": HALL}).json()["token"] is None
    (pairing,) = http.get("/v1/pairings").json()
    assert (pairing["origin"], "token" in str(pairing)) == (ASKS, False)
    assert http.delete(f"/v1/pairings/{pairing['id']}").json() == pairing
    assert status_of(ASKS, token) == 401, "replayed"
    assert http.delete(f"/v1/pairings/{pairing['id']}").status_code == 404


def test_pairings_outlive_the_agent_and_their_file_holds_no_token(tmp_path: Path) -> None:
    file = tmp_path / "pairings.json"
    token = Pairings(EventHub(), file)._add(ASKS, "政务服务")
    assert token not in file.read_text("utf-8")
    assert file.stat().st_mode & 0o077 == 0
    assert Pairings(EventHub(), file).has(ASKS, token)
    assert not Pairings(EventHub(), file).has(OTHER, token)
    file.write_text("[{]")
    assert not Pairings(EventHub(), file).has(ASKS, token)


def test_one_page_cannot_hold_up_the_others(http: httpx.Client, where: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "RATE_PER_S", 0.0)
    monkeypatch.setattr(refusals, "BURST", 3.0)
    answers = [http.get("/healthz", headers={"Origin": HALL}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert (answers[-1].headers["retry-after"], answers[-1].json()["code"]) == ("1", "RATE_LIMITED")
    for headers in ({}, {"Origin": where.url}):
        assert http.get("/healthz", headers=headers).status_code == 200
    monkeypatch.setattr(refusals, "RATE_PER_S", 1e6)


def test_a_page_that_keeps_all_its_streams_open_shuts_itself_out(
    http: httpx.Client, where: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "RATE_PER_S", 1e6)
    request = f"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{where.http_port}\r\nOrigin: {HALL}\r\n\r\n".encode()

    def status_of(origin: str) -> int:
        return http.get("/healthz", headers={"Origin": origin}).status_code

    with ExitStack() as streams:
        for _ in range(refusals.MAX_OPEN):
            link = streams.enter_context(socket.create_connection(("127.0.0.1", where.http_port), timeout=30))
            link.sendall(request)
            assert b" 200 " in link.recv(100)
        assert (status_of(HALL), status_of(where.url)) == (429, 200)
    until = time.monotonic() + 30
    while status_of(HALL) != 200:
        assert time.monotonic() < until


def test_refusals_do_not_fill_the_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "LOG_LINES", 5)
    log = refusals.RefusalLog()
    with caplog.at_level(logging.INFO, "terminal_agent"):
        for _ in range(50):
            log.tell(refusals.FailureCode.ORIGIN_FORBIDDEN, "https://evil.example/\n" + "x" * 500)
    assert len(caplog.records) == 5
    assert max(map(len, caplog.messages)) < 200
    assert not any("\n" in message for message in caplog.messages)


@hypothesis_settings(max_examples=60)
@given(body=st.binary(max_size=60) | st.text(alphabet='{}[]":,ab1NI \\', max_size=60).map(str.encode))
def test_a_body_is_refused_as_such_or_is_json_that_all_read_alike(body: bytes) -> None:
    headers = Headers({"content-type": "application/json"})

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def checked() -> bytes:
        again = await bodies.checked_body(headers, receive)
        given: bytes = (await again())["body"]
        return given

    try:
        given_again = asyncio.run(checked())
    except bodies.BodyRefusedError:
        return
    assert given_again == body


def test_no_get_with_effect() -> None:
    """Whatever acts has another method, which no address, link or picture can call."""
    acting = ("lease", "basic-information", "log-ins", "read", "wait", "fetch", "{pairing_id}")
    gets = {route.path for part in ROUTERS for route in part.routes if "GET" in getattr(route, "methods", ())}  # type: ignore[attr-defined]
    assert [path for path in gets if path.endswith(acting)] == []
