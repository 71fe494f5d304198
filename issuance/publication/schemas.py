"""What is published, as the centre tells operators."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from cardlib.wire import Message
from issuance.publication.parts import Part

_EXAMPLE: Final[dict[str, Any]] = {
    "is_on": True,
    "next_at": "2026-11-22T09:05:00Z",
    "valid_until": "2027-05-20T08:00:00Z",
    "parts": [
        {
            "part": "block-list",
            "begun_at": "2026-11-20T08:00:00Z",
            "published_at": "2026-11-22T09:00:00Z",
            "failure": "",
            "edition": 1795338000,
            "entries": 10240,
            "full_at": "2026-11-22T08:00:00Z",
        }
    ],
}


class PublishOrder(Message):
    """`full`: a whole block list, though a delta would do."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"full": False}]})

    full: bool = False


class PartView(BaseModel):
    """`failure`: code of the last round, empty when all went well. `edition`, `entries`, `full_at`: of the block
    list."""

    part: Part
    begun_at: datetime
    published_at: datetime | None
    failure: str
    edition: int | None = None
    entries: int | None = None
    full_at: datetime | None = None


class PublicationView(BaseModel):
    """`valid_until`: when the first signature ends whose key this centre does not have."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    is_on: bool
    next_at: datetime | None
    valid_until: datetime | None
    parts: list[PartView]
