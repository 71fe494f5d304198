"""Messages about terminals and how their books compare with the centre's."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from cardlib.wire import Message

_JOURNAL = "5b1e7a4c9d0f4c3f8a2b6d7e8f901234"
_REFUSED: JsonDict = {
    "journal_id": _JOURNAL,
    "sequence": 17,
    "kind": "purchase",
    "received_at": "2026-01-05T01:00:02Z",
    "failure": "CONFLICT",
    "detail": "this settlement is in the books already",
}


class TerminalView(Message):
    """A terminal that has sent records. `outstanding` are those it has, or had, that are not here; `refused` those
    that are here and cannot be used; `clock_error_s`: by how much its clock is ahead."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "terminal": "counter-0001",
                    "name": "示例网点1号柜台",
                    "region": "130000",
                    "journals": 1,
                    "records": 1203,
                    "outstanding": 0,
                    "refused": 0,
                    "clock_error_s": 0.4,
                    "heard_at": "2026-01-05T01:00:02Z",
                }
            ]
        }
    )

    terminal: str
    name: str
    region: str | None
    journals: int
    records: int
    outstanding: int
    refused: int
    clock_error_s: float
    heard_at: datetime


class JournalAccount(Message):
    """One journal. `missing`: of the records up to `head`, how many are not in the centre's books, and of those beyond
    how many the journal that took its place could not take along; `is_whole`: the day's records are chained to each
    other as the terminal chained them."""

    journal_id: str
    follows: str | None
    reason: str | None
    first: int | None = Field(description="First record of the day")
    last: int | None
    count: int
    head: int
    told: int
    missing: int
    outstanding: int
    is_whole: bool


class RefusedRecord(Message):
    journal_id: str
    sequence: int
    kind: str
    received_at: datetime
    failure: str
    detail: str


class TakingSum(Message):
    """Purchases of one outcome that the day's records told of; amounts in fen."""

    outcome: Literal["done", "logged", "void", "unresolved"]
    count: int
    account_fen: int
    self_paid_fen: int
    pooling_fen: int


class Reconciliation(Message):
    """A terminal's day, China time. `difference` is the sum of what is missing, outstanding and refused, plus one for
    each journal that is not whole: zero when both sides' books agree. `refused` shows a thousand. `repeated` counts
    records that came again in a journal begun anew and were not taken twice."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "terminal": "counter-0001",
                    "day": "2026-01-05",
                    "journals": [
                        {
                            "journal_id": _JOURNAL,
                            "follows": None,
                            "reason": None,
                            "first": 1,
                            "last": 20,
                            "count": 20,
                            "head": 20,
                            "told": 20,
                            "missing": 0,
                            "outstanding": 0,
                            "is_whole": True,
                        }
                    ],
                    "kinds": {"card_use": 18, "purchase": 2},
                    "repeated": 0,
                    "refused": [_REFUSED],
                    "takings": [
                        {"outcome": "done", "count": 1, "account_fen": 0, "self_paid_fen": 1000, "pooling_fen": 250}
                    ],
                    "difference": 1,
                }
            ]
        }
    )

    terminal: str
    day: date
    journals: list[JournalAccount]
    kinds: dict[str, int]
    repeated: int
    refused: list[RefusedRecord]
    takings: list[TakingSum]
    difference: int
