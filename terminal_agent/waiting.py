"""Long answers: ended when the caller has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

T = TypeVar("T")


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
