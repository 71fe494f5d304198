"""Terminals and centres of different versions: what is only told may have members that the other does not know; what
is carried out, signed or booked may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from cardlib.hsm_wire import CardStep, DebitAnswer, DebitOutcome, StepAnswer
from cardlib.terminal_records import PAYLOADS, CardUse, DeviceAlarm, IssueResult, RecordBatch, RecordBody, RecordsTaken
from cardlib.terminal_state import DiagnosisUpload, Heartbeat, Orders, Received, Registered, RegistrationRequest
from cardlib.wire import BatchCommand, BatchResponses, CommandBatch, PrintOrder, PrintReport, SessionReply, SessionStart

SENT: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors/recordings/terminal_messages.json").read_text())
"""By version of the program that sent it: message by name. Never changed, only added to."""
TOLD: dict[str, type[BaseModel]] = {
    model.__name__: model
    for model in (Heartbeat, Orders, DiagnosisUpload, Received, Registered, RecordBatch, RecordBody, RecordsTaken)
}
DONE = (
    BatchCommand, BatchResponses, CardStep, CommandBatch, DebitAnswer, DebitOutcome, PrintOrder, PrintReport,
    RegistrationRequest, SessionReply, SessionStart, StepAnswer,
)  # fmt: skip


def newer(message: Any) -> Any:
    """With a member more in every object."""
    if isinstance(message, dict):
        return {name: newer(value) for name, value in message.items()} | {"of_a_later_version": {"a": [1]}}
    return [newer(one) for one in message] if isinstance(message, list) else message


@pytest.mark.parametrize("version", SENT)
def test_what_was_sent_once_is_understood(version: str) -> None:
    assert set(SENT[version]) == set(TOLD)
    for name, message in SENT[version].items():
        read = TOLD[name].model_validate_json(json.dumps(message))
        grown = TOLD[name].model_validate_json(json.dumps(newer(message)))
        if isinstance(read, RecordBody) and isinstance(grown, RecordBody):
            assert (grown.opened(), grown.key) == (read.opened(), read.key)
        else:
            assert grown == read, name


def test_what_is_carried_out_has_nothing_unknown() -> None:
    for model in DONE:
        with pytest.raises(ValidationError, match="of_a_later_version"):
            model.model_validate({"of_a_later_version": 1})


def test_only_records_without_money_may_grow() -> None:
    may_grow = {kind for kind, model in PAYLOADS.items() if model.model_config.get("extra") == "ignore"}
    assert may_grow == {CardUse.kind, DeviceAlarm.kind, IssueResult.kind}
