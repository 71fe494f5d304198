"""A simulated bank: accounts behind cards, operations each done once, a desk for the holder, faults on demand.

Knows nothing of the centre but the interface between the two (docs/issuance.md, "The bank"). State rests in an SQLite
file, so that it outlives a restart; without a file it lives as long as the object.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulators.partner import SimBooks

FAULTS = ("timeout_before", "timeout_after", "duplicate", "wrong_account", "closed")
"""What the next so many operations meet: no answer and nothing done; no answer though it was done; the answer of the
operation before; the account of another card; closed hours."""
KINDS = ("open", "lose", "release", "close")
REOPENS_IN_S = 60
MAX_LIMIT = 1000
_USABLE = ("inactive", "active", "frozen")
_EVENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "activate": (("inactive",), "active"),
    "lose": (_USABLE, "lost"),
    "release": (("lost",), "before"),
    "freeze": (("active",), "frozen"),
    "unfreeze": (("frozen",), "active"),
    "close": (("inactive", "active", "frozen", "lost"), "closed"),
}
_TABLES = """
CREATE TABLE IF NOT EXISTS accounts (
    card_number TEXT PRIMARY KEY, account_number TEXT UNIQUE NOT NULL, state TEXT NOT NULL, state_before TEXT);
CREATE TABLE IF NOT EXISTS operations (operation_key TEXT PRIMARY KEY, reply TEXT NOT NULL);
"""


class BankEventError(ValueError):
    """The account is in no state for that."""

    failure: ClassVar[str] = "INPUT_INVALID"


class SimBank(SimBooks):
    def __init__(self, path: Path | None = None, *, token: str | None = None, hold_s: float = 0.0) -> None:
        super().__init__(FAULTS, hold_s, path, _TABLES, token)
        self._last: dict[str, Any] | None = None
        self.operations = 0
        """Operations that changed something; one key never counts twice."""
        self.app = Starlette(
            routes=[
                Route("/v1/operations", self._operate, methods=["POST"]),
                Route("/v1/operations/{key}", self._known),
                Route("/v1/accounts", self._statement),
                Route("/v1/accounts/{card_number}", self._account),
                Route("/sim/accounts/{card_number}/{event}", self._desk, methods=["POST"]),
                Route("/sim/faults", self._set_faults, methods=["PUT"]),
            ]
        )

    def account(self, card_number: str) -> dict[str, str] | None:
        row = self._db.execute(
            "SELECT card_number, account_number, state FROM accounts WHERE card_number = ?", (card_number,)
        ).fetchone()
        return None if row is None else dict(zip(("card_number", "account_number", "state"), row, strict=True))

    def states(self) -> dict[str, str]:
        """State by card number."""
        return dict(self._db.execute("SELECT card_number, state FROM accounts"))

    def desk(self, card_number: str, event: str) -> str:
        """What a holder, or the bank itself, does at the bank's own desk; returns the state. Raises BankEventError."""
        if event not in _EVENTS:
            raise BankEventError(f"no event {event}; there are {', '.join(_EVENTS)}")
        account = self.account(card_number)
        sources, target = _EVENTS[event]
        if account is None or account["state"] not in sources:
            raise BankEventError(f"{event} does not fit an account that is {account and account['state']}")
        return self._move(card_number, account["state"], target)

    def perform(self, key: str, kind: str, card_number: str, holder: dict[str, str] | None) -> dict[str, Any]:
        """One operation; its key again gives its first reply again."""
        known = self._reply(key)
        if known is not None:
            return known
        result, reason = self._do(kind, card_number, holder)
        reply = {
            "operation_key": key,
            "kind": kind,
            "card_number": card_number,
            "result": result,
            "reason": reason,
            "account": self.account(card_number),
        }
        self._db.execute("INSERT INTO operations VALUES (?, ?)", (key, json.dumps(reply)))
        self.operations += result == "done"
        return reply

    # -- the books ------------------------------------------------------------------------------------------------

    def _do(self, kind: str, card_number: str, holder: dict[str, str] | None) -> tuple[str, str]:
        account = self.account(card_number)
        if kind == "open":
            return self._open(card_number, account, holder)
        if account is None:
            return ("already", "") if kind == "close" else ("refused", "unknown")
        sources, target = _EVENTS[kind]
        state = account["state"]
        if state == target or (kind == "release" and state in _USABLE):
            return "already", ""
        if state not in sources:
            return "refused", state
        self._move(card_number, state, target)
        return "done", ""

    def _open(self, card_number: str, account: dict[str, str] | None, holder: dict[str, str] | None) -> tuple[str, str]:
        if not holder or not holder.get("name") or not holder.get("number"):
            return "refused", "holder"
        if account is not None:
            return ("refused", "closed") if account["state"] == "closed" else ("already", "")
        count = self._db.execute("SELECT count(*) FROM accounts").fetchone()[0]
        self._db.execute("INSERT INTO accounts VALUES (?, ?, 'inactive', NULL)", (card_number, f"6299{count + 1:014d}"))
        return "done", ""

    def _move(self, card_number: str, old: str, target: str) -> str:
        before = self._db.execute("SELECT state_before FROM accounts WHERE card_number = ?", (card_number,)).fetchone()[
            0
        ]
        state: str = before or "inactive" if target == "before" else target
        self._db.execute(
            "UPDATE accounts SET state = ?, state_before = ? WHERE card_number = ?",
            (state, old if state == "lost" else None, card_number),
        )
        return state

    def _reply(self, key: str) -> dict[str, Any] | None:
        row = self._db.execute("SELECT reply FROM operations WHERE operation_key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    # -- HTTP -----------------------------------------------------------------------------------------------------

    async def _operate(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        order = await request.json()
        if order.get("kind") not in KINDS or not order.get("operation_key") or not order.get("card_number"):
            return JSONResponse({"error": "malformed"}, 400)
        if self._meets("closed"):
            return JSONResponse({"error": "closed"}, 503, headers={"Retry-After": str(REOPENS_IN_S)})
        if self._meets("timeout_before"):
            return await self._silence()
        reply = self.perform(order["operation_key"], order["kind"], order["card_number"], order.get("holder"))
        before, self._last = self._last, reply
        if self._meets("timeout_after"):
            return await self._silence()
        if self._meets("duplicate") and before is not None:
            return JSONResponse(before)
        if self._meets("wrong_account"):
            stranger = {"card_number": "Z99999990", "account_number": "629900000000999999", "state": "active"}
            return JSONResponse(reply | {"account": stranger})
        return JSONResponse(reply)

    async def _known(self, request: Request) -> Response:
        reply = self._reply(request.path_params["key"])
        return self._refusal(request) or _found(reply)

    async def _account(self, request: Request) -> Response:
        return self._refusal(request) or _found(self.account(request.path_params["card_number"]))

    async def _statement(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        after, limit = request.query_params.get("after", ""), request.query_params.get("limit", "")
        rows = self._db.execute(
            "SELECT card_number, account_number, state FROM accounts WHERE card_number > ? ORDER BY 1 LIMIT ?",
            (after, min(int(limit), MAX_LIMIT) if limit.isdecimal() else MAX_LIMIT),
        )
        names: tuple[Literal["card_number", "account_number", "state"], ...] = (
            "card_number",
            "account_number",
            "state",
        )
        return JSONResponse({"accounts": [dict(zip(names, row, strict=True)) for row in rows]})

    async def _desk(self, request: Request) -> Response:
        try:
            state = self.desk(request.path_params["card_number"], request.path_params["event"])
        except BankEventError as error:
            return JSONResponse({"error": str(error)}, 409)
        return JSONResponse({"state": state})


def _found(body: Any) -> Response:
    return JSONResponse({"error": "unknown"}, 404) if body is None else JSONResponse(body)
