"""What simulated partners of the centre share: faults on demand, silence, books in a file, one caller with a token."""

from __future__ import annotations

import asyncio
import hmac
import sqlite3
from collections import Counter
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class SimPartner:
    """`faults` counts down those of `names` that are to come; `hold_s` is how long a request without answer is kept
    before it ends in 504.

    For one thread: that of the event loop which serves the partner's `app`.
    """

    def __init__(self, names: tuple[str, ...], hold_s: float) -> None:
        self.faults: Counter[str] = Counter()
        self._names = names
        self._hold_s = hold_s

    def _meets(self, fault: str) -> bool:
        if self.faults[fault] <= 0:
            return False
        self.faults[fault] -= 1
        return True

    def _next_fault(self) -> str | None:
        return next((name for name in self._names if self._meets(name)), None)

    async def _silence(self) -> Response:
        await asyncio.sleep(self._hold_s)
        return JSONResponse({"error": "no answer"}, 504)

    async def _set_faults(self, request: Request) -> Response:
        wanted = await request.json()
        if unknown := set(wanted) - set(self._names):
            return JSONResponse({"error": f"no fault {min(unknown)}; there are {', '.join(self._names)}"}, 400)
        self.faults = Counter({name: int(wanted.get(name, 0)) for name in self._names})
        return JSONResponse(dict(self.faults))


class SimBooks(SimPartner):
    """A partner with books: in an SQLite file, which outlives a restart, or without one as long as the object. With a
    `token` it answers nobody else."""

    def __init__(
        self, names: tuple[str, ...], hold_s: float, path: Path | None, tables: str, token: str | None
    ) -> None:
        super().__init__(names, hold_s)
        self._db = sqlite3.connect(":memory:" if path is None else path, isolation_level=None)
        self._db.executescript(tables)
        self._token = token

    def close(self) -> None:
        self._db.close()

    def _refusal(self, request: Request) -> Response | None:
        sent = request.headers.get("Authorization", "")
        if self._token is None or hmac.compare_digest(sent.encode(), f"Bearer {self._token}".encode()):
            return None
        return JSONResponse({"error": "unknown caller"}, 401)
