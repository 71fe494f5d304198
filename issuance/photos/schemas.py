"""Messages about photos."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import ConfigDict, Field

from cardlib.wire import Message
from issuance.clients.schemas import Region


class PhotoOrder(Message):
    """What an upload says besides the picture; `digest` is the picture's SHA-256."""

    region: Region
    accepted_region: Region | None = None
    taken_on: date
    digest: str


class Confirmation(Message):
    """A clerk has looked: one face, from the front, eyes open, the applicant's own."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"is_face_good": True}]})

    is_face_good: bool = Field(description="False refuses the photo: take another one")


class PhotoView(Message):
    """A stored photo. `needs_confirmation`: its face was not checked here, a clerk must look and confirm."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0d9f4f0e6b7f4a35a3b2b8a1b4a6c001",
                    "region": "110000",
                    "taken_on": "2026-01-04",
                    "measures": {
                        "kb": 25.3,
                        "width": 358,
                        "height": 441,
                        "mode": "RGB",
                        "dpi": 350,
                        "jpeg_quality": 88,
                        "background": 249.4,
                        "background_spread": 2.4,
                        "sharpness": 98.1,
                        "faces": 1,
                        "face_width": 193,
                        "hair_top": 12,
                        "eye_mid_x": 176,
                        "eyes_above_bottom": 252,
                    },
                    "is_geometry_checked": True,
                    "needs_confirmation": False,
                    "confirmed_by": None,
                    "created_at": "2026-01-05T01:00:00Z",
                }
            ]
        }
    )

    id: str
    region: str
    taken_on: date
    measures: dict[str, Any] = Field(description="What was measured, pixels unless the name says otherwise")
    is_geometry_checked: bool
    needs_confirmation: bool
    confirmed_by: str | None
    created_at: datetime
