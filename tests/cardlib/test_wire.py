"""Messages of card sessions: what goes into a database column or a path has its length."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cardlib.wire import BatchCommand, BatchResponses, CommandBatch, SessionOutcome, SessionStart

ID = "0123456789abcdef" * 2


def test_longest_values_pass() -> None:
    start = SessionStart(kind="personalization", atr="3B" * 33, application_id=ID, region="110000")
    assert SessionStart.model_validate_json(start.model_dump_json()) == start
    CommandBatch(session_id=ID, sequence=1, commands=(BatchCommand(apdu="0084000008"),))
    BatchResponses(session_id=ID, sequence=1, responses=("00" * 65536 + "9000",))
    SessionOutcome(session_id=ID, status="done")


@pytest.mark.parametrize(
    "change",
    [
        {"atr": "3B" * 34},
        {"atr": "3b00"},
        {"region": "11000"},
        {"region": "1100000"},
        {"region": "11; no"},
        {"region": "110000\n"},
        {"region": "１１００００"},
        {"application_id": ID + "0"},
        {"application_id": ID[:-1]},
        {"application_id": ID.upper()},
        {"application_id": "x" * 500_000},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_starts_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SessionStart.model_validate({"kind": "initialization", "atr": "3B00", "region": "110000"} | change)


@pytest.mark.parametrize("message", [CommandBatch, BatchResponses, SessionOutcome])
@pytest.mark.parametrize("session_id", ["", ID + "0", "../" + ID[3:], "s" * 500_000], ids=len)
def test_other_session_ids_are_refused(
    message: type[CommandBatch | BatchResponses | SessionOutcome], session_id: str
) -> None:
    content = {"sequence": 1, "commands": [], "responses": [], "status": "done"}
    fitting = {name: value for name, value in content.items() if name in message.model_fields}
    message.model_validate(fitting | {"session_id": ID})
    with pytest.raises(ValidationError):
        message.model_validate(fitting | {"session_id": session_id})
