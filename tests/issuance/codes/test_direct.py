"""The short way to an endpoint: it answers as the framework would, and what it does not take arrives whole."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from fastapi import Response
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send

from issuance import direct
from issuance.clients.schemas import Role
from issuance.codes.schemas import CodeValidation, Scene, ValidatedCode
from issuance.direct import DirectRoute, DirectRoutes
from issuance.problems import ProblemError
from tests.issuance.codes.stand import VALIDATE, show
from tests.issuance.conftest import START, Centre, ok, refused
from tests.issuance.phone import Phone

SHORT = "application/json"
LONG = "application/json; charset=utf-8"
"""Not taken by the short way, and the same to the framework."""


async def _send(centre: Centre, body: dict[str, Any], kind: str, by: str = "verifier", key: str = "") -> httpx.Response:
    headers = {"Content-Type": kind} | ({"Idempotency-Key": key} if key else {})
    return await centre.as_(by).post(VALIDATE, content=json.dumps(body), headers=headers)


async def test_both_ways_answer_alike(centre: Centre, phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Acceptance, the same request again, refusal, wrong role; and each way was really taken."""
    taken: list[str] = []
    answer = direct._answer

    async def noted(route: DirectRoute, *more: Any) -> Response:
        taken.append(route.path)
        return await answer(route, *more)

    monkeypatch.setattr(direct, "_answer", noted)
    told = {}
    for kind in (SHORT, LONG):
        body = {"code": (await show(phone))["code"], "scene": "identity"}
        told[kind] = [
            await _send(centre, body, kind, key="request-1"),
            await _send(centre, body, kind, key="request-1"),
            await _send(centre, body, kind),
            await _send(centre, body, kind, by="operator"),
            await _send(centre, body, kind, key="short"),
            await _send(centre, body | {"more": 1}, kind),
        ]
    assert taken == [VALIDATE] * 4
    assert [answer.status_code for answer in told[SHORT]] == [200, 200, 409, 403, 422, 422]
    assert told[SHORT][1].headers["Idempotency-Replayed"] == "true"
    for ours, theirs in zip(told[SHORT], told[LONG], strict=True):
        assert ours.content == theirs.content
        assert _fixed(ours) == _fixed(theirs)
    acts = centre.store.sql("SELECT act, outcome FROM audit_entries WHERE act LIKE 'POST %' ORDER BY id")
    assert acts[: len(acts) // 2] == acts[len(acts) // 2 :]
    assert (f"POST {VALIDATE}", "CODE_USED") in acts


async def test_what_is_not_proved_is_refused_on_the_short_way(centre: Centre, phone: Phone) -> None:
    """And is counted under its route."""
    body = {"code": (await show(phone))["code"], "scene": "identity"}
    refused(await centre.anyone().post(VALIDATE, json=body), "CLIENT_UNKNOWN", 401)
    ok(await _send(centre, body, SHORT))
    seen = centre.app.state.services.metrics.render().decode()
    assert f'onecard_issuance_requests_total{{method="POST",route="{VALIDATE}",status="401"}} 1.0' in seen


def _fixed(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "x-request-id"}


# -- bodies -----------------------------------------------------------------------------------------------------------

_VALID = st.fixed_dictionaries(
    {"code": st.text(min_size=1, max_size=9), "scene": st.sampled_from(["identity", "else"])},
    optional={"amount_fen": st.integers(-1, 3), "x": st.none()},
)
BODIES = st.binary(max_size=60) | st.builds(lambda value: json.dumps(value).encode(), _VALID)


class _Ways:
    """Which way a body went."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.short: list[CodeValidation] = []
        self.long: list[bytes] = []
        monkeypatch.setattr(direct, "desk_of", _nobody)
        route = DirectRoute("/x", CodeValidation, (Role.VERIFIER,), self._endpoint)
        self._app = DirectRoutes(self._framework, routes=[route])

    async def _endpoint(self, asked: CodeValidation, *_: Any) -> ValidatedCode:
        self.short.append(asked)
        return ValidatedCode(scene=Scene.IDENTITY, ecard_no="", used_at=START)

    async def _framework(self, _scope: Scope, receive: Receive, _send: Send) -> None:
        message = await receive()
        self.long.append(message["body"])
        assert not message["more_body"]
        assert (await receive())["type"] == "http.disconnect", "what comes after the body goes on to come"

    async def send(self, *messages: Message) -> None:
        waiting = iter(messages)
        scope = {"type": "http", "method": "POST", "path": "/x", "headers": [(b"content-type", SHORT.encode())]}

        async def receive() -> Message:
            return next(waiting, {"type": "http.disconnect"})

        async def send(_message: Message) -> None: ...

        await self._app(scope, receive, send)


async def _nobody(*_: Any) -> None:
    return None


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> _Ways:
    return _Ways(monkeypatch)


@pytest.mark.parametrize("body", [b"\xff", b"[" * 100_000, b'{"code":"\\ud800","scene":"identity"}', b"NaN", b""])
async def test_odd_bodies_arrive_whole(ways: _Ways, body: bytes) -> None:
    half = len(body) // 2
    await ways.send(
        {"type": "http.request", "body": body[:half], "more_body": True},
        {"type": "http.request", "body": body[half:], "more_body": False},
    )
    assert (ways.short, ways.long) == ([], [body])


async def test_who_hangs_up_is_the_frameworks(ways: _Ways) -> None:
    with pytest.raises(KeyError, match="body"):
        await ways.send()


def test_only_what_the_endpoint_takes_goes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    @settings(max_examples=60)
    @given(body=BODIES)
    def check(body: bytes) -> None:
        ways = _Ways(monkeypatch)
        asyncio.run(ways.send({"type": "http.request", "body": body, "more_body": False}))
        try:
            wanted = [CodeValidation.model_validate(json.loads(body))]
        except (ValueError, ValidationError, RecursionError):
            assert (ways.short, ways.long) == ([], [body])
        else:
            assert (ways.short, ways.long) == (wanted, [])

    check()


async def test_a_body_that_is_refused_is_answered(ways: _Ways) -> None:
    async def receive() -> Message:
        raise ProblemError("INPUT_INVALID", status=413)

    seen: list[Message] = []

    async def send(message: Message) -> None:
        seen.append(message)

    await ways._app({"type": "http", "method": "POST", "path": "/x", "headers": []}, receive, send)
    assert (seen[0]["status"], ways.short, ways.long) == (413, [], [])
