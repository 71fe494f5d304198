"""Messages of a remote card session: the centre sends whole command batches, the agent returns the responses.

Both services import these types; neither imports the other. Commands say what is expected of them, so that the
agent can stop at the first surprise without understanding the script.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal
from unicodedata import category

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

HexBytes = Annotated[str, StringConstraints(pattern=r"^(?:[0-9A-F]{2})*$", max_length=2 * 65544)]
AtrHex = Annotated[str, StringConstraints(pattern=r"^(?:[0-9A-F]{2})*$", max_length=2 * 33)]
"""An ATR has at most 33 bytes, TS included (ISO/IEC 7816-3, 8.2.1)."""
HexId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""Id of a card session or an application."""
RegionCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]
KioskVisitText = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,1024}$")]
"""A kiosk's visit as the centre sealed it; opaque to everybody else."""
VISIT_HEADER = "X-OneCard-Visit"
"""Where a body has no place for it. Not signed: what stands in it is sealed, for this terminal."""
SwPattern = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fx]{4}$")]

SessionKind = Literal["initialization", "personalization", "rewrite", "pin_reset", "pin_unblock"]

MAX_BATCH_COMMANDS = 512
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def is_hidden(character: str) -> bool:
    """Control characters, those that turn the direction of text, and line ends: none of them belongs on a screen."""
    return category(character) in _HIDDEN


class Message(BaseModel):
    """Immutable, and strict about unknown fields: a typo must not pass as an option."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Told(Message):
    """What a terminal tells of itself, or is answered to that: members that only a newer version knows are left out,
    so that terminals and centre need not be renewed together. Nothing that is carried out, signed or booked is one."""

    model_config = ConfigDict(extra="ignore", frozen=True)


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

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "session_id": "7c1d8d0a4f5e4c0d9f1b2a3c4d5e6f70",
                    "sequence": 1,
                    "responses": ["010300010000030000019000", "4F3487D3D7011FC49000"],
                }
            ]
        }
    )

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


class CardFace(Message):
    """What is printed on a card. Dates YYYYMMDD; the photo is a JPEG."""

    name: str = Field(max_length=64, repr=False)
    social_security_number: str = Field(max_length=32, repr=False)
    card_number: str = Field(max_length=16, repr=False)
    issuer: str = Field(max_length=64)
    issue_date: str = Field(pattern=r"^[0-9]{8}$")
    expiry_date: str = Field(pattern=r"^[0-9]{8}$")
    photo_base64: str | None = Field(default=None, max_length=1 << 20, repr=False)


class PrintOrder(Message):
    """Print the card that was just written. The printer prints one card for one `job_id`, however often it is asked."""

    session_id: HexId
    sequence: int = Field(ge=1)
    job_id: HexId
    face: CardFace
    step: int = 0
    steps: int = 0
    text_zh: str = ""
    text_en: str = ""


class PrintReport(Message):
    """How a print order ended. `already_printed` is success too; `failure` is the `FailureCode` of one that failed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "session_id": "7c1d8d0a4f5e4c0d9f1b2a3c4d5e6f70",
                    "sequence": 24,
                    "job_id": "1f0e2d3c4b5a69788796a5b4c3d2e1f0",
                    "status": "printed",
                    "failure": None,
                }
            ]
        }
    )

    session_id: HexId
    sequence: int = Field(ge=1)
    job_id: HexId
    status: Literal["printed", "already_printed", "failed"]
    failure: str | None = Field(default=None, pattern=r"^[A-Z_]{1,64}$")


class SessionReply(Message):
    """Exactly one of the three is present."""

    batch: CommandBatch | None = None
    print_order: PrintOrder | None = None
    outcome: SessionOutcome | None = None

    @property
    def is_whole(self) -> bool:
        return [self.batch, self.print_order, self.outcome].count(None) == 2


class SessionStart(Message):
    """Ask the centre for a card session.

    `initialization` turns a chip or torn structure into a pre-personalised blank (`region` needed);
    `personalization` writes and verifies the card of `application_id`; where the terminal `can_print`, the centre has
    the card printed as well. A card in use is known by its chip: `rewrite` writes what its holder has changed,
    `pin_reset` sets `pin`, `pin_unblock` gives the PIN its tries back.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "personalization",
                    "atr": "3B6D000000FE00000086FE110000000007",
                    "application_id": "d28fbfa6ebc643fc954783f51d9c9515",
                    "can_print": True,
                }
            ]
        }
    )

    kind: SessionKind
    atr: AtrHex
    generation: Literal["2.0", "3.0"] = "3.0"
    application_id: HexId | None = None
    region: RegionCode | None = None
    can_print: bool = False
    pin: Annotated[str, StringConstraints(pattern=r"^[0-9]{4,12}$")] | None = Field(
        default=None, repr=False, description="The holder's new PIN, typed at the terminal; kept nowhere"
    )
    visit: KioskVisitText | None = Field(
        default=None, repr=False, description="At a kiosk, for work on a card in use: whom it knows, by what evidence"
    )


def sw_matches(sw: int, patterns: tuple[str, ...]) -> bool:
    """Whether status word `sw` fits one of the patterns."""
    text = f"{sw:04X}"
    return any(all(p in ("x", c) for p, c in zip(pattern, text, strict=True)) for pattern in patterns)
