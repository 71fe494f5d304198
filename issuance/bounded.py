"""Asking another system without letting it decide how long, or how much, it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx


async def bounded_post(
    client: httpx.AsyncClient,
    url: str,
    body: Mapping[str, Any],
    *,
    most_bytes: int,
    within_s: float,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The body of an answer with status 200, in all within the time. Raises ValueError, and httpx.HTTPError."""
    read = b""
    try:
        async with (
            asyncio.timeout(within_s),
            client.stream("POST", url, json=dict(body), headers=headers) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise ValueError(f"status {answer.status_code}")
            async for part in answer.aiter_bytes(most_bytes):
                read += part
                if len(read) > most_bytes:
                    raise ValueError("the reply is too long")
    except TimeoutError:
        raise ValueError("the reply takes too long") from None
    return read
