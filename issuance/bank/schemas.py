"""Messages about the bank link."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import ConfigDict, Field

from cardlib.wire import Message
from issuance.cards.machine import AccountState


class BankNotice(Message):
    """What happened to an account at the bank itself. `notice_id` is the bank's own, one for each event."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"notice_id": "20260106-000017", "card_number": "A00000011", "event": "activate"}]
        }
    )

    notice_id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    card_number: str = Field(max_length=10)
    event: Literal["activate", "lose", "release", "freeze", "unfreeze", "close"]


class NoticeResult(Message):
    """`queried`: the event does not fit the books here, so the bank is asked how the account stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"result": "done", "state": "active"}]})

    result: Literal["done", "already", "queried"]
    state: AccountState


class ReconciliationView(Message):
    """One comparison of all accounts with the bank's; `day` null for one that was asked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 3,
                    "day": "2026-01-06",
                    "state": "done",
                    "reason": None,
                    "compared": 1200,
                    "differences": 1,
                    "started_at": "2026-01-05T18:00:00Z",
                    "ended_at": "2026-01-05T18:00:09Z",
                }
            ]
        }
    )

    id: int
    day: date | None
    state: Literal["running", "done", "failed"]
    reason: str | None
    compared: int
    differences: int
    started_at: datetime
    ended_at: datetime | None


class DifferenceView(Message):
    """One card on which the two differed. `resolution`: adopt (the bank's word was taken over), resend:kind (ours was
    said again), in_flight (something is on its way already), unknown_card (the bank has a card that is not ours)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 1,
                    "card_number": "A00000011",
                    "region": "110000",
                    "ours": "lost",
                    "theirs": "active",
                    "resolution": "resend:lose",
                    "at": "2026-01-05T18:00:02Z",
                }
            ]
        }
    )

    id: int
    card_number: str
    region: str
    ours: str
    theirs: str
    resolution: str
    at: datetime


class ReconciliationOrder(Message):
    """Compare now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "after the bank's outage"}]})

    reason: str = Field(default="", max_length=128)
