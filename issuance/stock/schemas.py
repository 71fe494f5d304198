"""Messages about blanks and card numbers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from cardlib.wire import Message
from issuance.clients.schemas import Region

ResetInformation = Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{26}$")]


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
    region: str
    free: int = 0
    reserved: int = 0
    used: int = 0
    void: int = 0


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
                    "card_numbers": [{"region": "110000", "free": 997, "reserved": 1, "used": 1, "void": 1}],
                }
            ]
        }
    )

    blanks: list[BlankCounts]
    card_numbers: list[NumberCounts]
