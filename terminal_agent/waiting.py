"""Waiting for an event at most so long; long answers, ended when the caller has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

T = TypeVar("T")


async def until_set(event: asyncio.Event, seconds: float | None) -> None:
    """Returns when the event is set, or the time is over; None waits for the event alone.

    Not `asyncio.wait_for`, which in Python 3.11 can lose a cancellation (`ReaderWorker.call`).
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Cancels it and raises ClientDisconnect when the connection ends before."""
    asked, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait([asked, gone], return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise ClientDisconnect
        return asked.result()
    finally:
        gone.cancel()
        asked.cancel()


async def watched(request: Request, work: Coroutine[Any, Any, T], gone: Callable[[], None]) -> T:
    """The result of `work`, which goes on whatever happens; `gone` is called when the connection ends before."""
    watch = asyncio.ensure_future(_gone(request))
    watch.add_done_callback(lambda ended: None if ended.cancelled() else gone())
    try:
        return await work
    finally:
        watch.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
