"""Messages about cases that do not go on by themselves."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from cardlib.wire import Message
from issuance.applications.schemas import EXAMPLE_ID, ApplicationState, Step
from issuance.database import WITHOUT_NUL
from issuance.privacy.free_text import Masked


class NextAction(StrEnum):
    """What a person can do about a stuck case.

    `reinsert`, `reprint`: take the case over and put the card in again at a terminal. `resume`: the centre finishes it
    now. `cancel_mark`: let blank and number go that nothing was written to. `settle_by_hand`: the fee was seen to
    in the fee system itself. `write_off`, `write_off_final`, `reject` are those of the applications.
    """

    ASK_REGISTER = "ask_register"
    RETRY_PAYMENT = "retry_payment"
    SETTLE_BY_HAND = "settle_by_hand"
    REINSERT = "reinsert"
    CANCEL_MARK = "cancel_mark"
    REPRINT = "reprint"
    CONFIRM_PRINT = "confirm_print"
    SKIP_PRINT = "skip_print"
    RESUME = "resume"
    WRITE_OFF = "write_off"
    WRITE_OFF_FINAL = "write_off_final"
    REJECT = "reject"


class ActionView(Message):
    action: NextAction
    text_zh: str
    text_en: str


class StuckCase(Message):
    """One application that waits for a person. `reason` is a FailureCode; TIMEOUT: nobody was heard of again.

    The first of `actions` is what helps mostly.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "application_id": EXAMPLE_ID,
                    "region": "110000",
                    "state": "verified",
                    "step": "print",
                    "reason": "PRINTER_JAM",
                    "text_zh": "打印机卡住了",
                    "text_en": "A card is jammed in the printer",
                    "owner": "counter-0001",
                    "deadline": "2026-01-06T01:00:00Z",
                    "is_overdue": False,
                    "actions": [
                        {
                            "action": "reinsert",
                            "text_zh": "由我接着办：把同一张卡放回去",
                            "text_en": "Take it over: put the same card back",
                        }
                    ],
                }
            ]
        }
    )

    application_id: str
    region: str
    state: ApplicationState
    step: Step
    reason: str
    text_zh: str
    text_en: str
    owner: str
    deadline: datetime
    is_overdue: bool
    actions: list[ActionView]


class NextActionOrder(Message):
    """Without `action` the first one that the case offers is done. `reason` goes into the audit trail."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"action": "resume", "reason": "seen by the manager"}]})

    action: NextAction | None = None
    reason: Annotated[str, Field(max_length=256, pattern=WITHOUT_NUL), Masked] = ""
