"""The HTTP side of a card session: what is sent, what may be repeated, and what a refusal says."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from cardlib.client_auth import ClientKey, verify_assertion
from cardlib.wire import BatchCommand, BatchResponses, CommandBatch, SessionReply, SessionStart
from terminal_agent.app import centre_of
from terminal_agent.centre import MAX_REPLY_BYTES, CentreRefusedError, CentreUnreachableError, HttpIssuanceClient
from tests.terminal_agent.stand import APPLICATION, ATR, SESSION, settings

START = SessionStart(kind="personalization", atr=ATR.hex().upper(), application_id=APPLICATION)
REPLY = SessionReply(batch=CommandBatch(session_id=SESSION, sequence=1, commands=(BatchCommand(apdu="0084000008"),)))


def centre(handler: Callable[[httpx.Request], httpx.Response]) -> HttpIssuanceClient:
    return HttpIssuanceClient("http://centre.example/base", transport=httpx.MockTransport(handler))


async def test_requests_carry_the_wire_types() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text=REPLY.model_dump_json())

    client = centre(handler)
    assert await client.start(START) == REPLY
    answer = BatchResponses(session_id=SESSION, sequence=1, responses=("9000",))
    assert await client.answer(answer) == REPLY
    await client.aclose()
    assert [request.url.raw_path.decode() for request in seen] == [
        "/base/v1/card-sessions",
        f"/base/v1/card-sessions/{SESSION}/responses",
    ]
    assert SessionStart.model_validate_json(seen[0].content) == START
    assert BatchResponses.model_validate_json(seen[1].content) == answer


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_statuses_worth_repeating(status: int) -> None:
    with pytest.raises(CentreUnreachableError):
        await centre(lambda request: httpx.Response(status)).start(START)


async def test_broken_connection_is_worth_repeating() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(CentreUnreachableError):
        await centre(handler).start(START)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (json.dumps({"code": "BLANK_UNKNOWN", "detail": "d"}), "BLANK_UNKNOWN"),
        (json.dumps({"code": "NO_SUCH_CODE"}), "INTERNAL"),
        (json.dumps({"code": "BLANK_UNKNOWN", "detail": "\ud800"}), "INTERNAL"),
        ("[" * 100_000, "INTERNAL"),
        ("[]", "INTERNAL"),
        ("<html>", "INTERNAL"),
        ("", "INTERNAL"),
    ],
)
async def test_refusal_keeps_the_centres_code(body: str, code: str) -> None:
    with pytest.raises(CentreRefusedError) as caught:
        await centre(lambda request: httpx.Response(409, text=body)).start(START)
    assert caught.value.failure == code


@pytest.mark.parametrize(
    "body",
    ["", "{}", "[]", "null", '{"batch":null,"outcome":null}', '{"batch":{"session_id":"s"}}', '{"extra":1}',
     REPLY.model_dump_json()[:-1] + ',"x":1}',
     REPLY.model_dump_json().replace("0084000008", "00840000Z8"),
     REPLY.model_dump_json().replace('"sequence":1', '"sequence":0'),
     REPLY.model_dump_json().replace('"outcome":null', f'"outcome":{{"session_id":"{SESSION}","status":"done"}}')],
)  # fmt: skip
async def test_malformed_replies_are_refused(body: str) -> None:
    with pytest.raises(CentreRefusedError, match="not a session reply"):
        await centre(lambda request: httpx.Response(200, text=body)).start(START)


class Flood(httpx.AsyncByteStream):
    """A body without end; `sent` counts what was taken of it."""

    sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.sent < 4 * MAX_REPLY_BYTES:
            self.sent += 65536
            yield bytes(65536)


@pytest.mark.parametrize("status", [200, 409])
async def test_over_long_replies_are_not_read_to_their_end(status: int) -> None:
    flood = Flood()
    with pytest.raises(CentreRefusedError, match="over-long"):
        await centre(lambda request: httpx.Response(status, stream=flood)).start(START)
    assert flood.sent <= MAX_REPLY_BYTES + 65536


async def test_compressed_replies_are_neither_asked_for_nor_unpacked() -> None:
    """One received piece of 64 KiB can unpack to 64 MiB, so a limit after unpacking comes too late."""

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-encoding"] == "identity"
        body = httpx.ByteStream(gzip.compress(REPLY.model_dump_json().encode()))
        return httpx.Response(200, stream=body, headers={"content-encoding": "gzip"})

    with pytest.raises(CentreRefusedError, match="compressed"):
        await centre(handler).start(START)


async def test_configured_key_signs_every_request_anew(tmp_path: Path) -> None:
    key = ClientKey.generate("terminal-1")
    key.save(tmp_path / "key.json")
    client = centre_of(settings(issuance_url="http://centre.example", client_key=tmp_path / "key.json"))
    assert isinstance(client, HttpIssuanceClient)
    assert client.client_id == "terminal-1"
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text=REPLY.model_dump_json())

    client._http._transport = httpx.MockTransport(handler)
    await client.start(START)
    await client.start(START)
    nonces = set()
    for request in seen:
        token = request.headers["authorization"].removeprefix("Bearer ")
        claims = verify_assertion(token, key.public_jwk(), "POST", "/v1/card-sessions", request.content)
        assert claims.client_id == "terminal-1"
        nonces.add(claims.nonce)
    assert len(nonces) == 2
    await client.aclose()


def test_no_centre_without_url() -> None:
    assert centre_of(settings()) is None
