"""Messages about blanks and card numbers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from cardlib.wire import Message
from issuance.clients.schemas import Region
from issuance.database import WITHOUT_NUL
from issuance.privacy.free_text import Masked

ResetInformation = Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{26}$")]
PlaceId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{1,31}$")]
CardNumber = Annotated[str, StringConstraints(pattern=r"^[A-Z][0-9A-Z]{7}[0-9X]$")]


class BlankDelivery(Message):
    """Pre-personalised cards that arrived; every one is named by its reset information (13 bytes)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "delivery": "2026-01-05-01",
                    "region": "110000",
                    "generation": "3.0",
                    "reset_information": ["00814A444686FE9901000000A1"],
                }
            ]
        }
    )

    delivery: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    region: Region
    generation: Literal["2.0", "3.0"] = "3.0"
    kind: Literal["blank", "pre_printed"] = Field(
        default="blank", description="pre_printed: 预制卡, printed and keyed, without a holder"
    )
    place_id: PlaceId | None = Field(default=None, description="Where they lie; without one the region's own depot")
    reset_information: tuple[ResetInformation, ...] = Field(min_length=1, max_length=5000)


class NumberRange(Message):
    """`count` numbers upwards from body `body_from` (8 characters, without the check digit)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"region": "110000", "body_from": "A0000001", "count": 1000}]}
    )

    region: Region
    body_from: str = Field(pattern="^[A-Z][0-9A-Z]{0,6}[0-9]{1,7}$", min_length=8, max_length=8)
    count: int = Field(ge=1, le=20000)


class Registered(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"added": 1000, "known": 0}]})

    added: int = Field(description="New ones")
    known: int = Field(description="Registered before; nothing was changed about them")


class BlankCounts(Message):
    region: str
    generation: str
    in_stock: int = 0
    reserved: int = 0
    used: int = 0
    spoiled: int = 0


class NumberCounts(Message):
    """卡号池 states: 00 free, 01 reserved, 02 used, 03 locked; void numbers are never given out again."""

    region: str
    free: int = 0
    reserved: int = 0
    used: int = 0
    locked: int = 0
    void: int = 0
    is_low: bool = Field(default=False, description="Time to load another range")


class NumberChange(Message):
    """Takes numbers out of use: `lock` free ones for a time, `unlock` them, `void` free or locked ones for good."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"act": "lock", "numbers": ["A00000011"], "reason": "printed on a test card"}]}
    )

    act: Literal["lock", "unlock", "void"]
    numbers: tuple[CardNumber, ...] = Field(min_length=1, max_length=5000)
    reason: Annotated[str, Field(min_length=1, max_length=256, pattern=WITHOUT_NUL), Masked]


class NumberChanged(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"changed": 1, "unchanged": 0}]})

    changed: int
    unchanged: int = Field(description="In that state already")


class NumberView(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "number": "A00000011",
                    "region": "110000",
                    "state": "locked",
                    "code": "03",
                    "application_id": None,
                    "reason": "printed on a test card",
                    "updated_at": "2026-01-05T01:00:00Z",
                }
            ]
        }
    )

    number: str
    region: str
    state: Literal["free", "reserved", "used", "locked", "void"]
    code: str = Field(description="卡号池状态: 00 初始/解锁, 01 暂用, 02 已使用, 03 锁定, 空 作废")
    application_id: str | None
    reason: str | None
    updated_at: datetime


class StockView(Message):
    """Every blank and every number is in exactly one state."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "blanks": [
                        {
                            "region": "110000",
                            "generation": "3.0",
                            "in_stock": 97,
                            "reserved": 1,
                            "used": 1,
                            "spoiled": 1,
                        }
                    ],
                    "card_numbers": [
                        {
                            "region": "110000",
                            "free": 996,
                            "reserved": 1,
                            "used": 1,
                            "locked": 1,
                            "void": 1,
                            "is_low": False,
                        }
                    ],
                }
            ]
        }
    )

    blanks: list[BlankCounts]
    card_numbers: list[NumberCounts]
