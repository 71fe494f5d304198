"""Messages about work queues, statistics and alerts."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from cardlib.wire import Message
from issuance.applications.schemas import EXAMPLE_ID
from issuance.database import WITHOUT_NUL
from issuance.persons.schemas import PersonView
from issuance.privacy.free_text import Masked


class Queue(StrEnum):
    """What waits for somebody. An application is in one of these at most.

    `stuck`: a step failed or was never ended. `to_identify`: the population register has not answered. `to_review`:
    another clerk has to look at it. `to_approve`: an act of one clerk waits for another. `to_issue`: checked, no card
    made yet, or sent back by the one who reviewed it. `to_hand_over`: a finished card lies at
    an outlet. `to_rewrite`: a chip has to be given changed data. `waiting_bank`, `waiting_factory`: batches whose
    return file has not come. `waiting_account`: the bank was asked for an account. `found`: cards that were handed in.
    `newborns`: joint applications without name and number.
    """

    STUCK = "stuck"
    TO_IDENTIFY = "to_identify"
    TO_REVIEW = "to_review"
    TO_APPROVE = "to_approve"
    TO_ISSUE = "to_issue"
    TO_HAND_OVER = "to_hand_over"
    TO_REWRITE = "to_rewrite"
    WAITING_BANK = "waiting_bank"
    WAITING_ACCOUNT = "waiting_account"
    WAITING_FACTORY = "waiting_factory"
    FOUND = "found"
    NEWBORNS = "newborns"


class NextStep(Message):
    """The one thing to do now. `act` is the clerk's act it needs; `method` and `path` ask the service for it, empty
    where a person has to do something first.
    """

    name: str
    text_zh: str
    text_en: str
    act: str
    method: Literal["", "POST"] = ""
    path: str = ""


class WorkItem(Message):
    """One row of a queue. `subject` is a kind and an id; `since` is when it began to wait, `due` when it is too late.

    `place` is the path of an office, or the place or outlet where a card lies.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "queue": "stuck",
                    "subject": f"application:{EXAMPLE_ID}",
                    "region": "110000",
                    "place": "/1/4/",
                    "holder": {"name": "测*甲", "social_security_number": "**************0012"},
                    "application_id": EXAMPLE_ID,
                    "card_number": None,
                    "text_zh": "打印机卡住了",
                    "text_en": "A card is jammed in the printer",
                    "since": "2026-01-06T01:00:00Z",
                    "due": "2026-01-06T01:00:00Z",
                    "is_overdue": True,
                    "owner": "counter-0001",
                    "quantity": 1,
                    "next": {
                        "name": "reinsert",
                        "text_zh": "由我接着办：把同一张卡放回去",
                        "text_en": "Take it over: put the same card back",
                        "act": "application.resume",
                        "method": "POST",
                        "path": f"/v1/applications/{EXAMPLE_ID}/next-action",
                    },
                }
            ]
        }
    )

    queue: Queue
    subject: str
    region: str
    place: str
    holder: PersonView | None
    application_id: str | None
    card_number: str | None
    text_zh: str
    text_en: str
    since: datetime
    due: datetime | None
    is_overdue: bool
    owner: str
    quantity: int
    next: NextStep


class QueueCount(Message):
    """`count` is exact up to 1000; `is_more` then tells that there are others."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "queue": "stuck",
                    "text_zh": "卡住的",
                    "text_en": "Stuck",
                    "count": 3,
                    "is_more": False,
                    "oldest": "2026-01-06T01:00:00Z",
                }
            ]
        }
    )

    queue: Queue
    text_zh: str
    text_en: str
    count: int
    is_more: bool
    oldest: datetime | None


Breakdown = Literal["day", "region", "office"]


class Figures(Message):
    """Of one day, region or office (`key`; empty for applications no office took in), or of all.

    `seconds_p50` and `seconds_p90`: from application to card of half and of nine tenths of those issued; null for none.
    `stuck` is as of now, null by day. `spoiled` counts cards; by office those of the stock places of that office.
    """

    key: str
    name_zh: str
    name_en: str
    applied: int
    issued: int
    refused: int
    seconds_p50: float | None
    seconds_p90: float | None
    stuck: int | None
    spoiled: int


class StockFigure(Message):
    """Cards of one kind that lie at one place."""

    place_id: str
    name: str
    region: str
    kind: str
    count: int


_FIGURES: JsonDict = {
    "key": "2026-01-05",
    "name_zh": "2026-01-05",
    "name_en": "2026-01-05",
    "applied": 41,
    "issued": 38,
    "refused": 1,
    "seconds_p50": 412.0,
    "seconds_p90": 903.5,
    "stuck": None,
    "spoiled": 2,
}


class Statistics(Message):
    """From the first to the last day, both included, China time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "first": "2026-01-05",
                    "last": "2026-01-05",
                    "by": "day",
                    "rows": [_FIGURES],
                    "total": _FIGURES | {"key": "", "name_zh": "合计", "name_en": "All", "stuck": 3},
                }
            ]
        }
    )

    first: date
    last: date
    by: Breakdown
    rows: list[Figures]
    total: Figures


class StockReport(Message):
    """`free_numbers` is exact up to 10 000."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "free_numbers": 8123,
                    "is_more_numbers": False,
                    "rows": [
                        {
                            "place_id": "hall-3",
                            "name": "示例大厅",
                            "region": "110101",
                            "kind": "blank",
                            "count": 40,
                        }
                    ],
                }
            ]
        }
    )

    free_numbers: int
    is_more_numbers: bool
    rows: list[StockFigure]


AlertState = Literal["raised", "acknowledged", "over"]
Severity = Literal["info", "warn", "bad"]


class AlertEvent(Message):
    act: AlertState
    at: datetime
    by: str
    value: float
    note: str


class AlertView(Message):
    """A rule that is or was broken at one place."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 7,
                    "rule": "blanks_low",
                    "subject": "place:hall-3",
                    "name": "示例大厅",
                    "region": "110101",
                    "severity": "warn",
                    "state": "raised",
                    "text_zh": "白卡快用完了：40 张",
                    "text_en": "Blanks are running out: 40",
                    "remedy_zh": "请卡库补货。",
                    "remedy_en": "Ask the depot for more.",
                    "value": 40,
                    "worst": 40,
                    "bound": 50,
                    "raised_at": "2026-01-05T01:00:00Z",
                    "seen_at": "2026-01-05T01:05:00Z",
                    "ended_at": None,
                    "acknowledged_by": None,
                    "events": [],
                }
            ]
        }
    )

    id: int
    rule: str
    subject: str
    name: str
    region: str | None
    severity: Severity
    state: AlertState
    text_zh: str
    text_en: str
    remedy_zh: str
    remedy_en: str
    value: float
    worst: float
    bound: float
    raised_at: datetime
    seen_at: datetime
    ended_at: datetime | None
    acknowledged_by: str | None
    events: list[AlertEvent] = Field(description="Oldest first; empty in lists")


class Acknowledgement(Message):
    """`note`: what is being done about it, no personal data."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "depot sends 500 tomorrow at 8"}]})

    note: Annotated[str, Field(min_length=2, max_length=256, pattern=WITHOUT_NUL), Masked]
