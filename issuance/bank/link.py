"""The bank as this service sees it: JSON over HTTP, every order under our own key, every doubt settled by a query.

| request | answer |
|---|---|
| `POST /v1/operations` `{"operation_key", "kind", "card_number", "region", "holder"}` | how it ended |
| `GET /v1/operations/{operation_key}` | the same, 404 when the bank never had it |
| `GET /v1/accounts/{card_number}` | the account, 404 when there is none |
| `GET /v1/accounts?after=&limit=` | the statement: accounts in order of card numbers |

`kind` is open, lose, release or close; `holder` (name and number) goes with open only. 503 with `Retry-After` means
that the bank is closed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from issuance.clock import Clock

OperationKind = Literal["open", "lose", "release", "close"]
TheirState = Literal["inactive", "active", "lost", "frozen", "closed"]
TIMEOUT_S = 10.0
PAGE = 500
_CLOSED = 503
_LONGEST_WAIT_S = 24 * 3600
Answer = TypeVar("Answer", bound=BaseModel)


class BankAccount(BaseModel):
    """An account at the bank. Fields that the bank adds are let pass."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    card_number: str = Field(pattern=r"^[0-9A-Z]{9}$")
    account_number: str = Field(pattern=r"^[0-9]{8,32}$", repr=False)
    state: TheirState


class BankReply(BaseModel):
    """How an operation ended. `done` and `already` are both success; `reason` is the bank's code of a refusal."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    operation_key: str
    kind: OperationKind
    card_number: str
    result: Literal["done", "already", "refused"]
    reason: str = Field(default="", max_length=32)
    account: BankAccount | None = None


class _Statement(BaseModel):
    accounts: list[BankAccount]


class BankSilentError(Exception):
    """No answer, or none that can be read: what the bank did is not known until it is asked."""

    failure: ClassVar[str] = "SERVICE_UNREACHABLE"


class BankClosedError(Exception):
    """The bank takes nothing now."""

    failure: ClassVar[str] = "SERVICE_UNREACHABLE"

    def __init__(self, opens_at: datetime | None) -> None:
        super().__init__("the bank is closed")
        self.opens_at = opens_at


class BankLink(Protocol):
    """Raises BankSilentError and BankClosedError."""

    async def perform(self, key: str, kind: OperationKind, order: dict[str, Any]) -> BankReply: ...

    async def operation(self, key: str) -> BankReply | None: ...

    async def account(self, card_number: str) -> BankAccount | None: ...

    async def statement(self, after: str) -> list[BankAccount]: ...

    async def aclose(self) -> None: ...


class HttpBank:
    """`transport` replaces the network, for a bank in this process."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        token: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._clock = clock
        self._http = httpx.AsyncClient(
            base_url=url, headers=headers, transport=transport, timeout=timeout_s, trust_env=False
        )

    async def perform(self, key: str, kind: OperationKind, order: dict[str, Any]) -> BankReply:
        body = {"operation_key": key, "kind": kind} | order
        reply = await self._ask("POST", "/v1/operations", BankReply, json=body)
        if reply is None:
            raise BankSilentError("the bank does not know this interface")
        return reply

    async def operation(self, key: str) -> BankReply | None:
        return await self._ask("GET", f"/v1/operations/{key}", BankReply)

    async def account(self, card_number: str) -> BankAccount | None:
        return await self._ask("GET", f"/v1/accounts/{card_number}", BankAccount)

    async def statement(self, after: str) -> list[BankAccount]:
        """The accounts that follow card number `after`; empty at the end."""
        answer = await self._ask("GET", "/v1/accounts", _Statement, params={"after": after, "limit": PAGE})
        return [] if answer is None else answer.accounts

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _ask(self, method: str, path: str, answer_type: type[Answer], **arguments: Any) -> Answer | None:
        """None for 404."""
        try:
            answer = await self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise BankSilentError(type(error).__name__) from None
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code == _CLOSED:
            raise BankClosedError(self._opens_at(answer.headers.get("Retry-After", "")))
        if not answer.is_success:
            raise BankSilentError(f"status {answer.status_code}")
        try:
            return answer_type.model_validate_json(answer.content)
        except ValidationError:  # its text would quote the account
            raise BankSilentError("an answer that cannot be read") from None

    def _opens_at(self, retry_after: str) -> datetime | None:
        if not (retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 8):
            return None
        return self._clock() + timedelta(seconds=min(int(retry_after), _LONGEST_WAIT_S))
