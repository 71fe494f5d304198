"""Answers before any route: refusals as problem documents, a short log of them, and how often one page may call."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from cardlib.failures import FailureCode
from terminal_agent.problems import MEDIA_TYPE, problem_document

RATE_PER_S: Final = 50.0
BURST: Final = 200.0
MAX_OPEN: Final = 32
LOG_LINES: Final = 20
LOG_WINDOW_S: Final = 60.0
MAX_SHOWN: Final = 80
LOG = logging.getLogger("terminal_agent.guard")


class RefusalLog:
    """At most `LOG_LINES` lines in a window, then their number: a page must not fill the disk with its refusals.

    Of the request the origin alone is told; path, body and headers may hold what is nobody's business.
    """

    def __init__(self) -> None:
        self._since = 0.0
        self._lines = 0

    def tell(self, code: FailureCode, origin: str | None) -> None:
        now = time.monotonic()
        if now - self._since > LOG_WINDOW_S:
            if self._lines > LOG_LINES:
                LOG.warning("refused %d more", self._lines - LOG_LINES)
            self._since, self._lines = now, 0
        self._lines += 1
        if self._lines <= LOG_LINES:
            LOG.warning("refused: %s, page %s", code.value, ascii((origin or "")[:MAX_SHOWN]))


class Rate:
    """`RATE_PER_S` requests on the average, `BURST` at once and `MAX_OPEN` unanswered, for one page."""

    def __init__(self) -> None:
        self._left = BURST
        self._at = time.monotonic()
        self.open = 0

    def takes(self) -> bool:
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._at) * RATE_PER_S)
        self._at = now
        if self._left < 1 or self.open >= MAX_OPEN:
            return False
        self._left -= 1
        return True


async def problem(
    send: Send,
    code: FailureCode,
    status: int,
    *,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    prefix: str = "http.response",
) -> None:
    """One whole answer."""
    body = json.dumps(problem_document(code, status=status) | dict(extra or {}), ensure_ascii=False).encode()
    lines = {"content-type": MEDIA_TYPE, "content-length": str(len(body))} | dict(headers or {})
    if prefix == "http.response":
        lines["connection"] = "close"
    raw = [(name.encode(), value.encode()) for name, value in lines.items()]
    await send({"type": f"{prefix}.start", "status": status, "headers": raw})
    await send({"type": f"{prefix}.body", "body": body})


async def refuse_websocket(scope: Scope, receive: Receive, send: Send, code: FailureCode, status: int) -> None:
    await receive()
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await problem(send, code, status, prefix="websocket.http.response")
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": code.value})
