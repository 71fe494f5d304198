"""What a terminal must tell the centre sooner or later: its records, their chain, and the batches they travel in.

Terminal and centre both import this. A record's body is a text of JSON that is hashed, kept and sent as it is, so no
two programs can differ about its form. The hash of each record covers the one before it (SM3), and the newest hash of
every batch is signed with the terminal's key: nothing can be changed, left out or put in between afterwards.

Bodies hold no name and no personal number: what identifies a card is its identification code and its number.
A payload about money has no member that is not known here: it could change what an amount means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from cardlib.transit_takings import TRANSIT_PAYLOADS, TransitPayload
from cardlib.wire import HexId, Message, Told
from hsm.primitives import default_engine

MAX_RECORDS: Final = 200
MAX_BATCH_BYTES: Final = 256 * 1024
MAX_BODY_CHARS: Final = 2048
MAX_SPANS: Final = 64
MAX_SEQUENCE: Final = 2**53
_HEAD: Final = b"onecard journal head\n"
_GENESIS: Final = b"onecard journal\n"

DigestHex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
CardCode = Annotated[str, StringConstraints(pattern=r"^(?:[0-9A-F]{32})?$")]
"""Empty where the card says none that is one; so is the number."""
CardNumber = Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]{0,16}$")]
Sequence = Annotated[int, Field(ge=1, le=MAX_SEQUENCE)]
Span = tuple[Sequence, Sequence]
"""First and last of records one after the other."""
FailureName = Annotated[str, StringConstraints(pattern=r"^[A-Z_]{1,64}$")]
Fen = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]


class RecordInvalidError(Exception):
    """Not a record of a kind that is known here; the text quotes none of it."""

    failure: ClassVar[str] = "INPUT_INVALID"


class CardUse(Told):
    """用卡: what was done with a card at the terminal, without the centre having any part in it."""

    kind: ClassVar[str] = "card_use"

    act: Literal["read", "write", "pin", "sign", "log_in"]
    identification_code: CardCode
    card_number: CardNumber


class PurchaseRecord(Message):
    """A settlement numbered by the terminal's PSAM, once it is known what became of it.

    `number` is the PSAM's transaction number and `terminal` its own; `time` is YYYYMMDDhhmmss of the terminal's clock,
    in China. `outcome` as in `cardlib.settlement_journal.Outcome`.
    """

    kind: ClassVar[str] = "purchase"

    identification_code: CardCode
    card_number: CardNumber
    terminal: Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{12}$")]
    number: Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{8}$")]
    time: Annotated[str, StringConstraints(pattern=r"^[0-9]{14}$")]
    account_fen: Fen
    self_paid_fen: Fen
    pooling_fen: Fen
    outcome: Literal["done", "logged", "void", "unresolved"]
    tac: Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{8}$")] | None = None

    @field_validator("time")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        datetime.strptime(value, "%Y%m%d%H%M%S")
        return value

    @property
    def day(self) -> date:
        return date(int(self.time[:4]), int(self.time[4:6]), int(self.time[6:8]))


class IssueResult(Told):
    """How a card session ended as the terminal saw it, which may be without an answer of the centre."""

    kind: ClassVar[str] = "issue_result"

    job: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,32}$")]
    session_kind: Literal["initialization", "personalization", "rewrite", "pin_reset", "pin_unblock"]
    state: Literal["done", "failed", "cancelled"]
    sessions: int = Field(ge=0, le=1000)
    failure: FailureName | None = None


class DeviceAlarm(Told):
    """A device of the terminal was lost, wants a hand, or is ready again. `port` is the terminal's name for it."""

    kind: ClassVar[str] = "device_alarm"

    device: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,32}$")]
    port: str = Field(max_length=256)
    state: Literal["lost", "attention", "ready"]
    failure: FailureName | None = None


Payload = CardUse | PurchaseRecord | IssueResult | DeviceAlarm | TransitPayload
PAYLOADS: Final[Mapping[str, type[Payload]]] = {
    model.kind: model for model in (CardUse, PurchaseRecord, IssueResult, DeviceAlarm, *TRANSIT_PAYLOADS)
}


class RecordBody(Told):
    """`at` is the terminal's clock, which may be wrong; `up_ms` counts since the start `boot` of the computer and is
    not set by anybody, so that the centre can tell when a record of the running start was made."""

    kind: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,32}$")]
    key: HexId
    at: AwareDatetime
    boot: HexId
    up_ms: int = Field(ge=0, le=MAX_SEQUENCE)
    payload: dict[str, Any]

    @classmethod
    def of(cls, payload: Payload, *, key: str, at: datetime, boot: str, up_ms: int) -> RecordBody:
        return cls(kind=payload.kind, key=key, at=at.astimezone(UTC), boot=boot, up_ms=up_ms, payload=_plain(payload))

    def to_text(self) -> str:
        return json.dumps(_plain(self), ensure_ascii=True, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> RecordBody:
        """Raises RecordInvalidError."""
        try:
            return cls.model_validate_json(text, strict=False)
        except (ValidationError, ValueError, RecursionError):
            raise RecordInvalidError("not a record") from None

    def opened(self) -> Payload:
        """The payload by the schema of its kind. Raises RecordInvalidError."""
        model = PAYLOADS.get(self.kind)
        if model is None:
            raise RecordInvalidError(f"no kind {self.kind}")
        try:
            return model.model_validate(self.payload, strict=True)
        except ValidationError as error:  # its own text would quote the record
            place = error.errors()[0]["loc"][:1]
            field = place[0] if place and place[0] in model.model_fields else "payload"
            raise RecordInvalidError(f"{self.kind}: {field}") from None


class SentRecord(Told):
    sequence: Sequence
    hash: DigestHex
    body: str = Field(min_length=1, max_length=MAX_BODY_CHARS)


_RECORD = (
    '{"kind":"card_use","key":"0b54f1c2f5d24a5d9d0d4b8a31b0b5f1","at":"2026-01-05T01:00:00Z",'
    '"boot":"7d0f2f0c9d5b4b7fa1b1b2c3d4e5f607","up_ms":81234,'
    '"payload":{"act":"read","identification_code":"99010000000186FE9901000000010203","card_number":"A00000011"}}'
)


class RecordBatch(Told):
    """Records of one journal in the order of their sequence, without a gap.

    `told` is the newest sequence that the terminal has; `signature` is Ed25519 over the last record's head
    (`head_text`); `boot` and `up_ms` say when the batch was made, `sent_at` by which clock. A journal that takes the
    place of an older one names it in `follows` and says why in `reason`; `carried` are the sequences that the records
    it took along had there. What is not among them does not come any more.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "journal_id": "5b1e7a4c9d0f4c3f8a2b6d7e8f901234",
                    "follows": None,
                    "reason": None,
                    "sent_at": "2026-01-05T01:00:02Z",
                    "boot": "7d0f2f0c9d5b4b7fa1b1b2c3d4e5f607",
                    "up_ms": 83234,
                    "told": 1,
                    "records": [{"sequence": 1, "hash": "0f" * 32, "body": _RECORD}],
                    "signature": "ab" * 64,
                }
            ]
        }
    )

    journal_id: HexId
    follows: HexId | None = None
    reason: FailureName | None = None
    carried: tuple[Span, ...] | None = Field(default=None, max_length=MAX_SPANS)
    sent_at: AwareDatetime
    boot: HexId
    up_ms: int = Field(ge=0, le=MAX_SEQUENCE)
    told: Sequence
    records: tuple[SentRecord, ...] = Field(min_length=1, max_length=MAX_RECORDS)
    signature: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]

    @model_validator(mode="after")
    def _has_no_gap(self) -> Self:
        first = self.records[0].sequence
        if [record.sequence for record in self.records] != list(range(first, first + len(self.records))):
            raise ValueError("the records are not one after the other")
        if self.told < self.records[-1].sequence:
            raise ValueError("the terminal has records that it says it has not")
        edges = [edge for span in self.carried or () for edge in span]
        if edges != sorted(edges):
            raise ValueError("what was carried is not in order")
        return self


class RecordRefusal(Told):
    """A record that the centre keeps but cannot use, and why."""

    sequence: Sequence
    failure: FailureName
    detail: str = Field(default="", max_length=128)


class RecordsTaken(Told):
    """`acknowledged`: the centre has every record of this journal up to it, none beyond. `refused` are those of the
    records sent that were set aside."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"journal_id": "5b1e7a4c9d0f4c3f8a2b6d7e8f901234", "acknowledged": 1, "refused": []}]
        }
    )

    journal_id: HexId
    acknowledged: int = Field(ge=0, le=MAX_SEQUENCE)
    refused: tuple[RecordRefusal, ...] = Field(default=(), max_length=MAX_RECORDS)


def spans(sequences: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Of ascending sequences. The newest only where they are too many for a batch."""
    found: list[tuple[int, int]] = []
    for sequence in sequences:
        if found and found[-1][1] == sequence - 1:
            found[-1] = (found[-1][0], sequence)
        else:
            found.append((sequence, sequence))
    return tuple(found[-MAX_SPANS:])


def genesis(journal_id: str) -> bytes:
    """What the first record's hash covers as the one before it."""
    return default_engine().sm3(_GENESIS + journal_id.encode())


def chained(previous: bytes, sequence: int, body: str) -> bytes:
    """Hash (32 bytes) of a record."""
    return default_engine().sm3(previous + sequence.to_bytes(8, "big") + body.encode())


def head_text(journal_id: str, sequence: int, digest: bytes) -> bytes:
    """What the terminal signs."""
    return _HEAD + f"{journal_id}\n{sequence}\n".encode() + digest


def _plain(model: Message) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_none=True)
