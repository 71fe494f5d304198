"""Messages about clerks, their sessions, and acts that wait for a second clerk."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SecretStr, StringConstraints
from pydantic.config import JsonDict

from cardlib.wire import Message
from issuance.clerks.acts import Act, ClerkRole
from issuance.clerks.sessions import Need
from issuance.database import WITHOUT_NUL
from issuance.privacy.free_text import Masked

Login = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{1,31}$")]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=WITHOUT_NUL), Masked]
Typed = Annotated[SecretStr, Field(max_length=256)]
"""What a clerk typed and nobody else may see."""
ApprovalState = Literal["waiting", "approved", "refused", "withdrawn"]

_ID = "0d9f4f0e6b7f4a35a3b2b8a1b4a6c001"
_CLERK: JsonDict = {"login": "wang.li", "name": "王丽", "office_id": 4, "roles": ["collector"]}
_VIEW: JsonDict = {
    "id": _ID,
    "login": "wang.li",
    "name": "王丽",
    "office_id": 4,
    "office": "/1/4/",
    "region": "110105",
    "roles": ["collector"],
    "status": "active",
    "must_change": True,
    "has_codes": False,
    "has_scan": False,
    "locked_until": None,
    "version": 1,
    "created_at": "2026-01-05T01:00:00Z",
}


class ClerkRequest(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [_CLERK]})

    login: Login
    name: str = Field(min_length=1, max_length=64, pattern=WITHOUT_NUL)
    office_id: int = Field(ge=1, le=2**31 - 1)
    roles: tuple[ClerkRole, ...] = Field(min_length=1, max_length=len(ClerkRole))


class ClerkChange(Message):
    """What is to differ; `version` is that of the clerk as it was read."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"version": 1, "roles": ["collector", "issuer"], "reason": "调岗"}]}
    )

    version: int = Field(ge=1)
    roles: tuple[ClerkRole, ...] | None = Field(default=None, min_length=1, max_length=len(ClerkRole))
    office_id: int | None = Field(default=None, ge=1, le=2**31 - 1)
    status: Literal["active", "suspended"] | None = None
    reason: Reason


class ClerkView(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [_VIEW]})

    id: str
    login: str
    name: str
    office_id: int
    office: str
    region: str
    roles: tuple[ClerkRole, ...]
    status: Literal["active", "suspended"]
    must_change: bool
    has_codes: bool
    has_scan: bool = Field(description="An electronic card is bound to the account: the clerk logs in by scan")
    locked_until: datetime | None
    version: int
    created_at: datetime


class NewAccess(Message):
    """`temporary_password` is told once and good for three days; the first log-in changes it and sets up codes.

    Asked again with the same key it is empty: who did not get it resets the access.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "clerk": _VIEW,
                    "temporary_password": "k7m2p-x9wqa-b4nht",
                    "password_until": "2026-01-08T01:00:00Z",
                }
            ]
        }
    )

    clerk: ClerkView
    temporary_password: str = Field(repr=False)
    password_until: datetime

    def without_password(self) -> NewAccess:
        return self.model_copy(update={"temporary_password": ""})


class SessionView(Message):
    """`address` is a network, `agent` the beginning of what the browser calls itself; `acr` and `amr` (RFC 8176): how
    strongly the clerk was known.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _ID,
                    "method": "scan",
                    "acr": "urn:onecard:acr:scan",
                    "amr": ["hwk", "pin"],
                    "address": "10.1.2.0/24",
                    "agent": "Mozilla/5.0 (X11; Linux x86_64)",
                    "created_at": "2026-01-05T01:00:00Z",
                    "last_seen": "2026-01-05T01:12:00Z",
                    "expires_at": "2026-01-05T11:00:00Z",
                    "ended_at": None,
                    "end_reason": "",
                }
            ]
        }
    )

    id: str
    method: str
    acr: str
    amr: tuple[str, ...]
    address: str
    agent: str
    created_at: datetime
    last_seen: datetime
    expires_at: datetime
    ended_at: datetime | None
    end_reason: str


class Ended(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"ended": 2}]})

    ended: int


class LogIn(Message):
    """`code` may be empty until one-time codes are set up."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"login": "wang.li", "password": "k7m2p-x9wqa-b4nht", "code": ""}]}
    )

    login: str = Field(max_length=64)
    password: Typed
    code: Typed = SecretStr("")


class SignedInView(Message):
    """`needs`: what has to be done before anything else. `csrf` goes into `X-CSRF-Token`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "login": "wang.li",
                    "needs": [],
                    "roles": ["collector"],
                    "acts": ["application.collect"],
                    "region": "110105",
                    "office": "/1/4/",
                    "csrf": "0vQ…",
                }
            ]
        }
    )

    login: str
    needs: tuple[Need, ...]
    roles: tuple[ClerkRole, ...]
    acts: tuple[Act, ...]
    region: str
    office: str
    csrf: str = Field(repr=False)


class PasswordChange(Message):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"old": "k7m2p-x9wqa-b4nht", "password": "a long sentence of mine"}]}
    )

    old: Typed
    password: Typed


class CodesView(Message):
    """For an authenticator app (TOTP, RFC 6238). `ticket` comes back with the first code within ten minutes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"secret": "JBSW…", "uri": "otpauth://totp/OneCard:wang.li?…", "ticket": "AQ…"}]
        }
    )

    secret: str = Field(repr=False)
    uri: str = Field(repr=False)
    ticket: str = Field(repr=False)


class FirstCode(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"ticket": "AQ…", "code": "123456"}]})

    ticket: str = Field(max_length=512, repr=False)
    code: Typed


_APPROVAL: JsonDict = {
    "id": _ID,
    "act": "card.cancel",
    "subject": "card:A00000011",
    "region": "110000",
    "reason": "持卡人书面申请",
    "state": "waiting",
    "is_over": False,
    "asked_by": "wang.li",
    "asked_at": "2026-01-05T01:00:00Z",
    "expires_at": "2026-01-08T01:00:00Z",
    "decided_by": None,
    "decided_at": None,
    "decision": "",
}


class ApprovalView(Message):
    """`is_over`: nobody decided in time."""

    model_config = ConfigDict(json_schema_extra={"examples": [_APPROVAL]})

    id: str
    act: Act
    subject: str
    region: str
    reason: str
    state: ApprovalState
    is_over: bool
    asked_by: str
    asked_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    decision: str


class ApprovalDetail(ApprovalView):
    """`body` is what would be done."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_APPROVAL | {"body": {"card_number": "A00000011", "reason": "x"}}]}
    )

    body: dict[str, Any]


class AskedAct(Message):
    """`body` as the act's own endpoint takes it, with the number of the card as `card_number` where the path has it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"act": "card.cancel", "body": {"card_number": "A00000011", "reason": "x"}, "reason": "持卡人书面申请"}
            ]
        }
    )

    act: Act
    body: dict[str, Any]
    reason: Reason


class ClerkBinding(Message):
    """A card that was scanned for the clerk `login` at the screen of the clerk who asks; `ticket` says which."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"login": "wang.li", "ticket": "AQ…"}]})

    login: Login
    ticket: str = Field(max_length=4096, repr=False)


class OfficePassword(Message):
    """Whether clerks of an office and those below log in by password; without, by scan only."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"office_id": 4, "takes_password": False}]})

    office_id: int = Field(ge=1, le=2**31 - 1)
    takes_password: bool


class Decision(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "材料齐全"}]})

    reason: Reason
