"""Messages about the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ConfigDict

from cardlib.wire import Message


class AuditEntry(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 42,
                    "at": "2026-01-05T01:00:00Z",
                    "actor": "counter-0001",
                    "clerk": "clerk-07",
                    "act": "card.enable",
                    "subject": "card:A00000011",
                    "application_id": "0d9f4f0e6b7f4a35a3b2b8a1b4a6c001",
                    "region": "110000",
                    "outcome": "ok",
                    "detail": {},
                }
            ]
        }
    )

    id: int
    at: datetime
    actor: str
    clerk: str
    act: str
    subject: str
    application_id: str | None
    region: str | None
    outcome: str
    detail: dict[str, Any]
