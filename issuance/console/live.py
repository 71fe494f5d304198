"""Server-sent events of a page: they end with the session, within one round, whoever ended or locked it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import Request
from starlette.responses import StreamingResponse

from issuance.clerks.access import is_still_open

_OVER = "event: over\ndata: {}\n\n"
_HEADERS = {"X-Accel-Buffering": "no"}


def live(request: Request, rounds: AsyncIterator[str]) -> StreamingResponse:
    """`rounds` gives one text a round, empty where there is nothing to tell, and waits before the next."""
    return StreamingResponse(_while_open(request, rounds), media_type="text/event-stream", headers=_HEADERS)


async def _while_open(request: Request, rounds: AsyncIterator[str]) -> AsyncIterator[str]:
    async for told in rounds:
        if not await is_still_open(request):
            yield _OVER
            return
        if told:
            yield told
