"""Messages of the local API about settlements."""

from __future__ import annotations

from typing import Literal, Self

from cardlib.identity import mask_card_number
from cardlib.settlement_journal import Entry
from terminal_agent.schemas import Body, _example

_SETTLEMENT = {
    "id": "5f0c2b7e9a1d4c3f",
    "state": "done",
    "card_number": "A0000****",
    "account_fen": 0,
    "self_paid_fen": 10,
    "pooling_fen": 20,
    "terminal": "990100000001",
    "number": "8000002A",
    "time": "20250316101500",
    "tac": "5E6F7081",
    "begun_at": "2026-01-05T01:00:00+00:00",
    "ended_at": "2026-01-05T01:00:01+00:00",
    "is_reported": False,
    "refusal": "CONFLICT",
}


class SettlementView(Body):
    """One settlement. `state` open: interrupted, not clear yet; done: the TAC proves it; logged: done by the card's log
    alone; void: it did not happen; unresolved: the card cannot tell any more.

    `number` is the terminal's, hex. `is_reported` is null where the centre did not number it; `refusal` the failure
    code with which the centre would not take it.
    """

    model_config = _example(**_SETTLEMENT)  # type: ignore[arg-type]

    id: str
    state: Literal["open", "done", "logged", "void", "unresolved"]
    card_number: str
    account_fen: int
    self_paid_fen: int
    pooling_fen: int
    terminal: str
    number: str
    time: str
    tac: str | None
    begun_at: str
    ended_at: str | None
    is_reported: bool | None
    refusal: str | None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        return cls.model_validate(
            {name + "_fen": entry.pending.fields[name] for name in ("account", "self_paid", "pooling")}
            | {name: entry.pending.fields[name] for name in ("terminal", "number", "time")}
            | {
                "id": entry.id,
                "state": entry.outcome.value,
                "card_number": mask_card_number(entry.pending.card_number),
                "tac": entry.tac.hex().upper() or None,
                "begun_at": entry.begun_at,
                "ended_at": entry.ended_at or None,
                "is_reported": entry.is_reported if entry.is_centres else None,
                "refusal": entry.refusal or None,
            }
        )


class SettlementsView(Body):
    """Newest first. `damaged_lines`: lines of the journal that could not be read and were put aside."""

    model_config = _example(settlements=[_SETTLEMENT], damaged_lines=0)  # type: ignore[list-item]

    settlements: list[SettlementView]
    damaged_lines: int
