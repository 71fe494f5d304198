"""A simulated fee system: fees registered and given back, every key done once, faults on demand.

Knows nothing of the centre but the interface between the two (docs/issuance.md, "Fees"). Its books rest in an SQLite
file, so that they outlive a restart; without a file they live as long as the object.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulators.partner import SimBooks

FAULTS = ("timeout_before", "timeout_after", "refuse")
"""What the next so many acts meet: no answer and nothing done; no answer though it was done; a refusal."""
ACTS = ("register", "cancel")
_TABLES = """
CREATE TABLE IF NOT EXISTS fees (application_id TEXT PRIMARY KEY, amount_fen INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS acts (key TEXT PRIMARY KEY);
"""


class SimFees(SimBooks):
    def __init__(self, path: Path | None = None, *, token: str | None = None, hold_s: float = 0.0) -> None:
        super().__init__(FAULTS, hold_s, path, _TABLES, token)
        self.app = Starlette(
            routes=[
                Route("/v1/payments/{act}", self._take, methods=["POST"]),
                Route("/sim/fees", self._show),
            ]
        )

    @property
    def booked(self) -> dict[str, int]:
        """The fees now registered, in fen, by application."""
        return dict(self._db.execute("SELECT application_id, amount_fen FROM fees ORDER BY rowid"))

    def perform(self, act: str, key: str, application_id: str, amount_fen: int) -> dict[str, str]:
        """`already` for a key that was done; a fee that was never registered cannot be given back."""
        if self._db.execute("SELECT 1 FROM acts WHERE key = ?", (key,)).fetchone():
            return {"result": "already"}
        booked = self.booked.get(application_id)
        if act == "register" and booked is not None:
            return {"result": "refused", "reason": "REGISTERED_UNDER_ANOTHER_KEY"}
        if act == "cancel" and booked != amount_fen:
            return {"result": "refused", "reason": "NOT_REGISTERED"}
        if act == "register":
            self._db.execute("INSERT INTO fees VALUES (?, ?)", (application_id, amount_fen))
        else:
            self._db.execute("DELETE FROM fees WHERE application_id = ?", (application_id,))
        self._db.execute("INSERT INTO acts VALUES (?)", (key,))
        return {"result": "done"}

    # -- HTTP -----------------------------------------------------------------------------------------------------

    async def _take(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        act, order = request.path_params["act"], _order(await request.body())
        if act not in ACTS or order is None:
            return JSONResponse({"error": "malformed"}, 400)
        if self._meets("timeout_before"):
            return await self._silence()
        if self._meets("refuse"):
            return JSONResponse({"result": "refused", "reason": "SIMULATED"})
        reply = self.perform(act, *order)
        return await self._silence() if self._meets("timeout_after") else JSONResponse(reply)

    async def _show(self, request: Request) -> Response:
        return self._refusal(request) or JSONResponse(self.booked)


def _order(body: bytes) -> tuple[str, str, int] | None:
    """Key, application and amount; None for a body that is no order."""
    try:
        order: Any = json.loads(body)
        key, application_id, amount_fen = order["key"], order["application_id"], order["amount_fen"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    is_order = isinstance(key, str) and isinstance(application_id, str) and type(amount_fen) is int
    return (key, application_id, amount_fen) if is_order and 0 < amount_fen < 2**53 else None
