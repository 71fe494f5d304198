"""Messages of a remote card session: the centre sends whole command batches, the agent returns the responses.

Both services import these types; neither imports the other. Commands say what is expected of them, so that the
agent can stop at the first surprise without understanding the script.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

HexBytes = Annotated[str, StringConstraints(pattern=r"^(?:[0-9A-F]{2})*$", max_length=2 * 65544)]
AtrHex = Annotated[str, StringConstraints(pattern=r"^(?:[0-9A-F]{2})*$", max_length=2 * 33)]
"""An ATR has at most 33 bytes, TS included (ISO/IEC 7816-3, 8.2.1)."""
HexId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""Id of a card session or an application."""
RegionCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]
SwPattern = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fx]{4}$")]

MAX_BATCH_COMMANDS = 512


class Message(BaseModel):
    """Immutable, and strict about unknown fields: a typo must not pass as an option."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BatchCommand(Message):
    """One APDU. `expect` lists status words (x = any digit); anything else ends the batch after this command.

    `is_secret` keeps the command body out of every log.
    """

    apdu: HexBytes
    expect: tuple[SwPattern, ...] = ("9000", "61xx")
    is_secret: bool = False


class CommandBatch(Message):
    """Commands the card must execute in order within one transaction.

    `sequence` counts from 1. Sending the answer to the latest answered sequence again returns the same reply; an older
    one is refused.
    `step`, `steps` and the two texts feed progress displays.
    """

    session_id: HexId
    sequence: int = Field(ge=1)
    commands: tuple[BatchCommand, ...] = Field(max_length=MAX_BATCH_COMMANDS)
    step: int = 0
    steps: int = 0
    text_zh: str = ""
    text_en: str = ""


class BatchResponses(Message):
    """Responses (data || SW) in order; fewer than the commands when the batch ended early."""

    session_id: HexId
    sequence: int = Field(ge=1)
    responses: tuple[HexBytes, ...] = Field(max_length=MAX_BATCH_COMMANDS)


class SessionOutcome(Message):
    """How a card session ended. `failure` names a `FailureCode`; `result` holds masked facts for the screen."""

    session_id: HexId
    status: Literal["done", "failed"]
    failure: str | None = None
    detail: str = ""
    result: dict[str, str] = Field(default_factory=dict)


class SessionReply(Message):
    """Exactly one of the two is present."""

    batch: CommandBatch | None = None
    outcome: SessionOutcome | None = None


class SessionStart(Message):
    """Ask the centre for a card session.

    `initialization` turns a chip or torn structure into a pre-personalised blank (`region` needed);
    `personalization` writes and verifies the card of `application_id`.
    """

    kind: Literal["initialization", "personalization"]
    atr: AtrHex
    generation: Literal["2.0", "3.0"] = "3.0"
    application_id: HexId | None = None
    region: RegionCode | None = None


def sw_matches(sw: int, patterns: tuple[str, ...]) -> bool:
    """Whether status word `sw` fits one of the patterns."""
    text = f"{sw:04X}"
    return any(all(p in ("x", c) for p, c in zip(pattern, text, strict=True)) for pattern in patterns)
