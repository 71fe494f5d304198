"""Messages between terminal and centre on the security-module route: Step strings out, pKey back (terminal.md §11)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from cardlib.wire import Message

StepText = Annotated[str, StringConstraints(pattern=r"^[!-~ ]*$", max_length=512)]
Code = Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{8}$")]
"""MAC or TAC, four bytes."""
ENDS = Literal["done", "logged", "void", "unresolved"]

_CARD: dict[str, JsonValue] = {
    "identification_code": "990100D15600000500000001FFFFFFFF",
    "card_number": "A00000011",
    "reset_information": "00FE00000086FE990100000001",
}
_FACTORS = "6F1A2B3C4D5E6F70|0011223344556677|"


def _example(**fields: JsonValue) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [fields]})


class CardIdentity(Message):
    """The card a step is about, as it was read: identification code, number, reset information in capital hex."""

    model_config = _example(**_CARD)

    identification_code: Annotated[str, StringConstraints(pattern=r"^[0-9]{6}[0-9A-F]{26}$")]
    card_number: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,32}$")]
    reset_information: Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{26}$")]

    @property
    def region(self) -> str:
        return self.identification_code[:6]


class BasicStep(Message):
    """The text of iReadCardBas_HSM_Step1, which names its card itself."""

    model_config = _example(
        step=f"990100|{_CARD['reset_information']}|03|{_CARD['identification_code']}|{_FACTORS}{_FACTORS}"
    )

    step: StepText


class CardStep(Message):
    """The text of a step and the card it comes from. It may hold a new PIN: it shows in no `repr`."""

    model_config = _example(card=_CARD, step=f"03|RK_SSSE|{_FACTORS}")

    card: CardIdentity
    step: StepText = Field(repr=False)


class StepAnswer(Message):
    model_config = _example(pkey="A1B2C3D4E5F607180011223344556677")

    pkey: str = Field(repr=False)


class DebitAnswer(Message):
    """`number` is the terminal's transaction number inside `pkey`, under which the outcome is handed in."""

    model_config = _example(number=2147483690, pkey="8000002A|20250316101500|1A2B3C4D|")

    number: int
    pkey: str


class DebitOutcome(Message):
    """What became of a settlement: done with the card's MAC2 and TAC; logged, by the card's log alone; void, it did
    not happen; unresolved, the card cannot tell any more."""

    model_config = _example(outcome="done", mac2="1A2B3C4D", tac="5E6F7081")

    outcome: ENDS
    mac2: Code | None = None
    tac: Code | None = None

    @model_validator(mode="after")
    def _has_its_proof(self) -> Self:
        if (self.outcome == "done") != (self.mac2 is not None and self.tac is not None):
            raise PydanticCustomError("debit_proof", "done, and nothing else, has MAC2 and TAC")
        return self


class DebitView(Message):
    """A settlement order. Amounts in fen; `time` is the settlement's own, fourteen digits."""

    model_config = _example(
        number=2147483690,
        client_id="counter-0001",
        card=_CARD,
        self_paid=10,
        pooling=20,
        terminal="990100000001",
        time="20250316101500",
        state="done",
        tac="5E6F7081",
        asked_at="2026-01-05T01:00:00Z",
        ended_at="2026-01-05T01:00:01Z",
    )

    number: int
    client_id: str
    card: CardIdentity
    self_paid: int
    pooling: int
    terminal: str
    time: str
    state: Literal["open", "done", "logged", "void", "unresolved"]
    tac: str | None
    asked_at: datetime
    ended_at: datetime | None
