"""What a transit terminal tells the centre: taps of purses, rides with codes, alarms, and its own sums of a day.

Payloads of `cardlib.terminal_records`, after transit_card.md §10. Nothing in them names a person: a purse is its issuer
and its serial, a code its account at the issuer. Amounts in fen, `time` YYYYMMDDhhmmss of the terminal's clock in
China, hex in capitals.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from cardlib.transit_code import CHINA
from cardlib.wire import HexId, Message

MAX_REASONS: Final = 32
MAX_COUNT: Final = 2**53

Mode = Literal[
    "metro_entry", "metro_exit", "bus_flat", "bus_board", "bus_alight", "ferry", "service_entry", "service_exit",
    "emergency",
]  # fmt: skip
Outcome = Literal["paid", "recovered", "suspicious", "void"]
SumName = Literal["paid", "recovered", "suspicious", "void", "code"]


def moment_of(time: str) -> datetime:
    """Of YYYYMMDDhhmmss in China. Raises ValueError."""
    return datetime.strptime(time, "%Y%m%d%H%M%S").replace(tzinfo=CHINA)


def _time(value: str) -> str:
    moment_of(value)
    return value


def _day(value: str) -> str:
    date.fromisoformat(value)
    return value


Psam = Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{12}$")]
Number = Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{8}$")]
IssuerId = Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{16}$")]
PurseSerial = Annotated[str, StringConstraints(pattern=r"^[0-9]{20}$")]
City = Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{4}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.-]{1,64}$")]
Reason = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
Moment = Annotated[str, StringConstraints(pattern=r"^[0-9]{14}$"), AfterValidator(_time)]
Day = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_day)]
Fen = Annotated[int, Field(ge=0, le=0x7FFFFFFF)]
Byte = Annotated[int, Field(ge=0, le=0xFF)]
Word = Annotated[int, Field(ge=0, le=0xFFFF)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]


class TapPlace(Message):
    """Where a terminal stands; the codes are the operator's."""

    city: City
    industry: Byte
    line: Word
    station: Word


class TapEntry(Message):
    """Where and when the trip began, as the card's process record says."""

    psam: Psam
    line: Word
    station: Word
    time: Moment


class TransitTap(Message):
    """A purchase that the terminal's PSAM numbered, once it is known what became of it.

    `number` is the PSAM's sequence, `sequence` and `balance_fen` what INIT showed; `fare_fen` before any discount.
    `is_verified`: of MAC2, None where the PSAM could not check it any more. `recovered`: the purse proved later that it
    had paid; `suspicious`: nobody knows, or MAC2 was wrong; `void`: the purse did not pay. A recovered one takes the
    place of what was told as suspicious before.
    """

    kind: ClassVar[str] = "transit_tap"

    psam: Psam
    number: Number
    issuer: IssuerId
    serial: PurseSerial
    city: City
    passenger_class: Byte
    product: Name
    catalog_item: Name | None = None
    sequence: Word
    balance_fen: Fen
    amount_fen: Fen
    fare_fen: Fen
    type: Literal[6, 9]
    mode: Mode
    time: Moment
    key_version: Byte
    algorithm: Byte
    tac: Number | None = None
    is_verified: bool | None = None
    acceptor: IssuerId
    place: TapPlace
    entry: TapEntry | None = None
    marked_fen: Fen | None = None
    outcome: Outcome

    @model_validator(mode="after")
    def _says_what_it_must(self) -> Self:
        if self.outcome == "paid" and self.tac is None:
            raise ValueError("what was paid has a TAC")
        if self.outcome == "void" and self.tac is not None:
            raise ValueError("what was not paid has no TAC")
        return self


class TransitRefusal(Message):
    """A purse turned away that somebody should hear of. `is_locked`: whether it could be locked, None where nobody
    tried."""

    kind: ClassVar[str] = "transit_refusal"

    psam: Psam
    issuer: IssuerId
    serial: PurseSerial
    reason: Reason
    is_locked: bool | None = None
    time: Moment
    place: TapPlace


class TransitCodeRide(Message):
    """A ride with an offline code. `code` is the SM3 name under which no gate takes it twice; accounts as in it."""

    kind: ClassVar[str] = "transit_code_ride"

    platform: Number
    issuer: Annotated[str, StringConstraints(pattern=r"^[0-9]{8}$")]
    payment_account: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,16}$")]
    card_account: PurseSerial
    code: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    authorised_until: Count
    amount_fen: Fen
    fare_fen: Fen
    product: Name
    mode: Mode
    time: Moment
    place: TapPlace
    outcome: Literal["paid"] = "paid"


class TakingsSum(Message):
    count: Count
    fen: Count


class FreeRides(Message):
    """Rides that cost nothing though `fare_fen` was the fare."""

    count: Count
    fare_fen: Count


class TransitDay(Message):
    """What the terminal says it wrote down of one day of its clock, before this statement; the newest `statement` of a
    `counter` counts, and counters add up."""

    kind: ClassVar[str] = "transit_day"

    psam: Psam
    day: Day
    counter: HexId
    statement: Annotated[int, Field(ge=1, le=MAX_COUNT)]
    is_closed: bool = False
    sums: dict[SumName, TakingsSum] = Field(default_factory=dict)
    free: FreeRides = FreeRides(count=0, fare_fen=0)
    refusals: dict[Reason, Count] = Field(default_factory=dict, max_length=MAX_REASONS)


TransitPayload = TransitTap | TransitRefusal | TransitCodeRide | TransitDay
TRANSIT_PAYLOADS: Final = (TransitTap, TransitRefusal, TransitCodeRide, TransitDay)
