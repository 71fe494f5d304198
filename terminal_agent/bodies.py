"""What a request may carry: little, soon, and as JSON in which no name stands twice."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from cardlib.failures import FailureCode
from cardlib.strict_json import AmbiguousJsonError, no_constant, once

MAX_BODY_BYTES: Final = 64 * 1024
BODY_S: Final = 10.0
JSON_TYPE: Final = "application/json"


class BodyRefusedError(Exception):
    """`status` and `failure` of the answer; `errors` as in answers of 422."""

    def __init__(self, status: int, failure: FailureCode = FailureCode.INPUT_INVALID, message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.failure = failure
        self.errors = [{"loc": ["body"], "msg": message}] if message else None


async def checked_body(headers: Headers, receive: Receive) -> Receive:
    """Reads the whole body, and gives it again. Raises BodyRefusedError, ClientDisconnect."""
    body = await _whole(headers, receive)
    if body:
        _check_json(headers, body)
    return _again(body, receive)


def limited(headers: Headers, receive: Receive) -> Receive:
    """As it comes, with the same limits and without looking inside: for digits that must leave no copy here."""
    _check_length(headers)
    loop = asyncio.get_running_loop()
    until, received, is_whole = loop.time() + BODY_S, 0, False

    async def bounded() -> Message:
        nonlocal received, is_whole
        if is_whole:
            return await receive()
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise BodyRefusedError(408, FailureCode.TIMEOUT) from None
        received += len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        if received > MAX_BODY_BYTES:
            raise BodyRefusedError(413)
        return message

    return bounded


async def _whole(headers: Headers, receive: Receive) -> bytes:
    bounded, body, more = limited(headers, receive), bytearray(), True
    while more:
        message = await bounded()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


def _check_length(headers: Headers) -> None:
    declared = headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit() and len(declared) < 10) or int(declared) > MAX_BODY_BYTES:
        raise BodyRefusedError(413)


def _check_json(headers: Headers, body: bytes) -> None:
    """A form of a page of another site cannot have this type. What is no JSON at all is left to the endpoint."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != JSON_TYPE:
        raise BodyRefusedError(415)
    try:
        json.loads(body, object_pairs_hook=once, parse_constant=no_constant)
    except (AmbiguousJsonError, RecursionError) as error:
        raise BodyRefusedError(422, message=str(error) or "too deep") from None
    except ValueError:
        return


def _again(body: bytes, receive: Receive) -> Receive:
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
