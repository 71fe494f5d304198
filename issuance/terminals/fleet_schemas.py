"""Messages about terminals as machines."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from cardlib.terminal_state import Heartbeat, Lock, ProfileName, Supplies
from cardlib.wire import Message, is_hidden
from issuance.clients.schemas import Region
from issuance.database import WITHOUT_NUL

TerminalState = Literal["new", "ok", "trouble", "locked", "off", "silent"]
_STATE: JsonDict = {
    "terminal": "t-4f0c2b7e9a1d",
    "name": "示例网点自助机",
    "region": "130000",
    "profile": "kiosk",
    "device_number": "OC13000004F0C2B7E",
    "state": "ok",
    "heard_at": "2026-01-05T01:00:00Z",
    "version": "0.1.0",
    "clock_error_s": 0.4,
    "failures": [],
    "lock": None,
}


class Invitation(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"region": "130000", "profile": "kiosk", "name": "示例网点自助机", "hours": 24}]
        }
    )

    region: Region | None = None
    profile: ProfileName
    name: str = Field(min_length=1, max_length=128, pattern=WITHOUT_NUL, description="As lists and holders see it")
    hours: int = Field(default=24, ge=1, le=168, description="How long the code is good")


class InvitationView(Message):
    """`code` is told this once; the centre keeps only what recognises it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5b1e7a4c9d0f4c3f8a2b6d7e8f901234",
                    "code": "K7QM-2XWP-9RTA",
                    "expires_at": "2026-01-06T01:00:00Z",
                }
            ]
        }
    )

    id: str
    code: str
    expires_at: datetime


class TerminalStateView(Message):
    """`state` is `silent` where a terminal that was not switched off has not been heard of for ten minutes."""

    model_config = ConfigDict(json_schema_extra={"examples": [_STATE]})

    terminal: str
    name: str
    region: str | None
    profile: ProfileName
    device_number: str
    state: TerminalState
    heard_at: datetime | None
    version: str | None
    supplies: Supplies | None = None
    help_wanted_s: float | None = None
    clock_error_s: float
    failures: tuple[str, ...]
    lock: Lock | None


class StateChange(Message):
    at: datetime
    state: TerminalState
    failures: tuple[str, ...]


class TerminalAccount(Message):
    """A terminal with its last heartbeat and its last changes of state, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "terminal": _STATE,
                    "registered_at": "2026-01-01T01:00:00Z",
                    "locked_at": None,
                    "locked_by": None,
                    "heartbeat": None,
                    "history": [{"at": "2026-01-05T01:00:00Z", "state": "trouble", "failures": ["READER_LOST"]}],
                    "diagnosis_order": None,
                    "diagnosis_at": None,
                    "blanks_on_book": 42,
                }
            ]
        }
    )

    terminal: TerminalStateView
    registered_at: datetime
    locked_at: datetime | None
    locked_by: str | None
    heartbeat: Heartbeat | None
    history: tuple[StateChange, ...]
    diagnosis_order: str | None = Field(description="Open: the terminal has not sent its bundle yet")
    diagnosis_at: datetime | None = Field(description="Of the last bundle that came")
    blanks_on_book: int | None = Field(
        default=None, description="In the stock place that has this terminal's id, beside what its hopper says"
    )


class LockOrder(Lock):
    """What people at the terminal read: why, and whom to call."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("reason", "contact")
    @classmethod
    def _visible(cls, text: str) -> str:
        if any(map(is_hidden, text)):
            raise PydanticCustomError("hidden_characters", "a character that nobody sees")
        return text


class DiagnosisOrder(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"order": "5b1e7a4c9d0f4c3f8a2b6d7e8f901234"}]})

    order: str
