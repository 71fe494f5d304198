"""Messages about offices."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from cardlib.wire import Message, RegionCode
from issuance.database import WITHOUT_NUL

OfficeKind = Literal["region", "office", "outlet", "depot"]

_OFFICE: JsonDict = {
    "parent_id": 1,
    "kind": "office",
    "region": "110105",
    "name_zh": "示例区社保中心",
    "name_en": "Example district centre",
}


class OfficeRequest(Message):
    """`parent_id` null: a top of the tree, made by those who belong to no office themselves."""

    model_config = ConfigDict(json_schema_extra={"examples": [_OFFICE]})

    parent_id: int | None = Field(default=None, ge=1, le=2**31 - 1)
    kind: OfficeKind
    region: RegionCode
    name_zh: str = Field(min_length=1, max_length=64, pattern=WITHOUT_NUL)
    name_en: str = Field(default="", max_length=128, pattern=WITHOUT_NUL)


class OfficeView(Message):
    """`path` holds the ids from the top down."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                _OFFICE
                | {"id": 4, "path": "/1/4/", "status": "open", "created_at": "2026-01-05T01:00:00Z"}
                | {"takes_password": True}
            ]
        }
    )

    id: int
    parent_id: int | None
    path: str
    kind: OfficeKind
    region: str
    name_zh: str
    name_en: str
    status: Literal["open", "closed"]
    takes_password: bool = Field(description="False: clerks here and below log in by scan only")
    created_at: datetime
