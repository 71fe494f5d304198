"""Messages about the outbox."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict

from cardlib.wire import Message


class OutboxMessage(Message):
    """A message that leaves the process; what it says is not shown."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "message_id": "0d9f4f0e6b7f4a35a3b2b8a1b4a6c001",
                    "topic": "bank.lose",
                    "key": "bank:A00000011",
                    "region": "110000",
                    "state": "dead",
                    "attempts": 3,
                    "next_try_at": "2026-01-05T01:00:20Z",
                    "reason": "refused:closed",
                    "owner": "clerk-07",
                    "created_at": "2026-01-05T01:00:00Z",
                    "updated_at": "2026-01-05T01:00:20Z",
                }
            ]
        }
    )

    message_id: str
    topic: str
    key: str
    region: str | None
    state: Literal["pending", "delivered", "dead"]
    attempts: int
    next_try_at: datetime
    reason: str | None
    owner: str
    created_at: datetime
    updated_at: datetime


class Retry(Message):
    """Send a dead message again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})
