"""Messages about places, movements of cards and the daily balance."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from cardlib.wire import HexId, Message
from issuance.clients.schemas import Region
from issuance.database import WITHOUT_NUL
from issuance.privacy.free_text import Masked
from issuance.stock.schemas import PlaceId, ResetInformation

Kind = Literal["blank", "pre_printed", "finished", "spoiled"]
Cards = Annotated[tuple[ResetInformation, ...], Field(min_length=1, max_length=5000)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=WITHOUT_NUL), Masked]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
EXAMPLE_CARD = "00814A444686FE9901000000A1"
EXAMPLE_TRANSFER = "0d9f4f0e6b7f4a35a3b2b8a1b4a6c001"


_PLACE: JsonDict = {
    "id": "chaoyang-1",
    "kind": "outlet",
    "name": "朝阳一所",
    "region": "110105",
    "parent_id": "depot-110000",
}


class PlaceRequest(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [_PLACE]})

    id: PlaceId
    kind: Literal["depot", "outlet"]
    name: str = Field(min_length=1, max_length=64, pattern=WITHOUT_NUL)
    region: Region
    parent_id: PlaceId | None = Field(default=None, description="The depot it is supplied from")
    office: str | None = Field(
        default=None,
        pattern=r"^(/[0-9]{1,10}){1,9}/$",
        description="Path of the office whose clerks deal with it; null: every office of the region",
    )


class PlaceView(PlaceRequest):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_PLACE,
                    "state": "open",
                    "version": 1,
                    "updated_by": "operator-1",
                    "updated_at": "2026-01-05T01:00:00Z",
                }
            ]
        }
    )

    state: Literal["open", "closed"]
    version: int
    updated_by: str
    updated_at: datetime


class ClosePlace(Message):
    """`version` as last shown: whoever changed the place meanwhile is not overruled."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 1, "reason": "outlet moved"}]})

    version: int = Field(ge=1, le=2**31)
    reason: Text


class TransferRequest(Message):
    """Cards of one kind that leave a place now; they count there no more, and at the other once it confirms them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"from_place": "depot-110000", "to_place": "chaoyang-1", "kind": "blank", "cards": [EXAMPLE_CARD]}
            ]
        }
    )

    from_place: PlaceId
    to_place: PlaceId
    kind: Kind
    cards: Cards
    reference: str = Field(default="", max_length=64, pattern=r"^[A-Za-z0-9._:-]*$")


class Receipt(Message):
    """What arrived: everything, or exactly these cards. What is missing waits for the sender's word."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 1, "cards": None}]})

    version: int = Field(ge=1, le=2**31)
    cards: Annotated[tuple[ResetInformation, ...], Field(max_length=5000)] | None = None


class Settlement(Message):
    """What became of the cards that did not arrive: back at the sender, or lost (never to be used)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 2, "outcome": "lost", "reason": "theft"}]})

    version: int = Field(ge=1, le=2**31)
    outcome: Literal["returned", "lost"]
    reason: Text


class TransferView(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_TRANSFER,
                    "from_place": "depot-110000",
                    "to_place": "chaoyang-1",
                    "kind": "blank",
                    "quantity": 1,
                    "received": 0,
                    "state": "sent",
                    "reference": "",
                    "reason": "",
                    "sent_by": "clerk-1",
                    "version": 1,
                    "updated_by": "clerk-1",
                    "created_at": "2026-01-05T01:00:00Z",
                    "updated_at": "2026-01-05T01:00:00Z",
                }
            ]
        }
    )

    id: HexId
    from_place: str
    to_place: str
    kind: Kind
    quantity: int
    received: int
    state: Literal["sent", "received", "short", "settled"]
    reference: str
    reason: str
    sent_by: str
    version: int
    updated_by: str
    created_at: datetime
    updated_at: datetime


class SpoilOrder(Message):
    """Cards of a place that can not be used any more; they stay there, as spoiled ones."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"place_id": "depot-110000", "kind": "blank", "cards": [EXAMPLE_CARD], "reason": "chip is cracked"}
            ]
        }
    )

    place_id: PlaceId
    kind: Literal["blank", "pre_printed"]
    cards: Cards
    reason: Text


class DestroyOrder(Message):
    """Spoiled cards destroyed before two witnesses, neither of whom is the clerk who enters it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"place_id": "depot-110000", "cards": [EXAMPLE_CARD], "witnesses": ["clerk-7", "clerk-9"]}]
        }
    )

    place_id: PlaceId
    cards: Cards
    witnesses: tuple[Name, Name]


class ReturnOrder(Message):
    """Cards that holders gave back; they are spoiled from now on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"place_id": "chaoyang-1", "cards": [EXAMPLE_CARD], "reason": "replaced by a new one"}]
        }
    )

    place_id: PlaceId
    cards: Cards
    reason: Text


class Moved(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"moved": 1}]})

    moved: int


class StocktakeOrder(Message):
    """Every card of this kind that was found at the place. `correct` also posts what is missing or was not expected."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "place_id": "chaoyang-1",
                    "kind": "blank",
                    "cards": [EXAMPLE_CARD],
                    "correct": False,
                    "reason": "month's end",
                }
            ]
        }
    )

    place_id: PlaceId
    kind: Kind
    cards: tuple[ResetInformation, ...] = Field(max_length=20_000)
    correct: bool = False
    reason: Text


class StocktakeView(Message):
    """`missing` should be there by the books, `unexpected` should not; at most 100 of each are named."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"expected": 1, "counted": 1, "missing": [], "unexpected": [], "corrected": 0, "day": "2026-01-05"}
            ]
        }
    )

    expected: int
    counted: int
    missing: list[str]
    unexpected: list[str]
    corrected: int
    day: date


class MovementView(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 7,
                    "at": "2026-01-05T01:00:00Z",
                    "day": "2026-01-05",
                    "place_id": "depot-110000",
                    "kind": "blank",
                    "act": "receive",
                    "quantity": 1000,
                    "reference": "2026-01-05-01",
                    "reason": "",
                    "transfer_id": None,
                    "witnesses": [],
                    "actor": "clerk-1",
                }
            ]
        }
    )

    id: int
    at: datetime
    day: date
    place_id: str
    kind: Kind
    act: str
    quantity: int = Field(description="Into the place (+) or out of it (-)")
    reference: str
    reason: str
    transfer_id: str | None
    witnesses: list[str]
    actor: str


class Difference(Message):
    """One card about which ledger and books disagree, and the movement that was posted for it last."""

    card: str
    problem: Literal["not_here", "not_posted"] = Field(
        description="not_here: the ledger has it here, its record does not; not_posted: the other way round"
    )
    problem_zh: str
    recorded_at: str | None = Field(description="Where its record says it lies")
    recorded_as: str
    last_movement: int | None
    last_act: str | None


class BalanceLine(Message):
    """opening + incoming - outgoing - closing = difference, which must be 0."""

    place_id: str
    kind: Kind
    opening: int
    incoming: int
    outgoing: int
    closing: int
    closing_source: Literal["books", "closing", "stocktake"]
    difference: int
    acts: dict[str, int]
    explanation: list[Difference]


class BalanceView(Message):
    """`in_transit` counts cards that were sent and neither received nor settled."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "day": "2026-01-05",
                    "is_zero": True,
                    "in_transit": 0,
                    "lines": [
                        {
                            "place_id": "depot-110000",
                            "kind": "blank",
                            "opening": 0,
                            "incoming": 1000,
                            "outgoing": 10,
                            "closing": 990,
                            "closing_source": "books",
                            "difference": 0,
                            "acts": {"receive": 1000, "issue": -10},
                            "explanation": [],
                        }
                    ],
                }
            ]
        }
    )

    day: date
    is_zero: bool
    in_transit: int
    lines: list[BalanceLine]


class DayClosed(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"day": "2026-01-05", "counts": 4}]})

    day: date
    counts: int = Field(description="New counts; 0 when the day was closed before")
