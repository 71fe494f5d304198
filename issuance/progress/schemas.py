"""Messages about the progress of an application, for whoever holds its receipt."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from cardlib.wire import Message
from issuance.database import WITHOUT_NUL

CHECK_LETTERS = 6


class ProgressQuestion(Message):
    """`check`: the last six characters of the number the card is for. Groups of the receipt number may be apart."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"receipt_number": "2600 0000 0000 0175", "check": "010012"}]}
    )

    receipt_number: str = Field(min_length=16, max_length=32, pattern=WITHOUT_NUL)
    check: Annotated[str, StringConstraints(pattern=r"^[0-9]{5}[0-9Xx]$")]


class Stage(StrEnum):
    """What a citizen waits for, in this order."""

    RECEIVED = "received"
    CHECKED = "checked"
    MADE = "made"
    READY = "ready"
    HANDED_OVER = "handed_over"


class StageView(Message):
    """`day` is in China, null for what is not done or was not dated."""

    stage: Stage
    status: Literal["done", "current", "open", "failed"]
    text_zh: str
    text_en: str
    day: date | None


class Progress(Message):
    """How far an application is. It names nobody and no card.

    `pick_up`: where the finished card lies, once it does.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "receipt_number": "2600000000000175",
                    "outcome": "open",
                    "text_zh": "正在制卡",
                    "text_en": "The card is being made",
                    "next_zh": "请等候，做好后可以领取。",
                    "next_en": "Wait; you can fetch the card when it is made.",
                    "delivery": "counter",
                    "pick_up": None,
                    "stages": [
                        {
                            "stage": "received",
                            "status": "done",
                            "text_zh": "已受理",
                            "text_en": "Received",
                            "day": "2026-01-05",
                        }
                    ],
                }
            ]
        }
    )

    receipt_number: str
    outcome: Literal["open", "issued", "refused"]
    text_zh: str
    text_en: str
    next_zh: str
    next_en: str
    delivery: str
    pick_up: str | None
    stages: list[StageView]
