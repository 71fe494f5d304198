"""Messages about journeys: a day of transit terminals in both sides' books, and the journeys of a purse."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from cardlib.transit_takings import PurseSerial
from cardlib.wire import Message

FaceNumber = Annotated[str, StringConstraints(pattern=r"^[0-9]{19}$")]
LineKind = Literal[
    "after_statement",
    "moved_in",
    "moved_out",
    "missing",
    "rejected",
    "tac_wrong",
    "number_taken",
    "code_used",
    "repeated",
    "not_executed",
    "open",
    "unsaid",
    "unexplained",
]
Trouble = Literal["no_exit", "no_entry", "under_way"]
_AT = "2026-01-05T01:00:00Z"
_TERMINAL = "t-4f0c2b7e9a1d"
_TAP: JsonDict = {"psam": "099900000001", "number": "00000102"}
_BOOKED: JsonDict = {
    "takings_fen": 400,
    "difference_fen": -300,
    "is_explained": True,
    "sums": {"taps": {"count": 2, "fen": 400}, "open": {"count": 1, "fen": 300}},
    "products": [{"product": "plain", "catalog_item": None, "count": 2, "fen": 400, "fare_fen": 400}],
    "turned_away": {"BALANCE": 1},
}
_PURSE: JsonDict = {"issuer": "09990100FFFFFFFF", "serial": "09990100000000001234"}


class RecordName(Message):
    """A record that a line is about. `number` is the PSAM's, empty for a code."""

    journal_id: str
    sequence: int
    psam: str
    number: str
    fen: int
    at: datetime


class DifferenceLine(Message):
    """What leads from the terminal's own sum to the books: `fen` is added. Of `records` the first twenty are named;
    `journals` names sequences that are not here, first and last of each run."""

    kind: LineKind
    count: int
    fen: int
    is_explained: bool
    text_zh: str
    text_en: str
    records: tuple[RecordName, ...] = ()
    journals: dict[str, tuple[int, int]] = Field(default_factory=dict)


class CountAndSum(Message):
    count: int = 0
    fen: int = 0


class ProductSum(Message):
    """Takings of one product. `fare_fen` is what they had cost without it; `catalog_item` the right behind it."""

    product: str
    catalog_item: str | None
    count: int
    fen: int
    fare_fen: int


class DaySums(Message):
    """Booked on this day. `taps` and `rides` (with codes) are what was taken, `foreign` those of them whose issuer has
    to prove the TAC, `executed` those that the purse's way on proved; `free` cost nothing though `fen` was the fare;
    `refused` are records that cannot be true, `turned_away` how often a terminal let nobody pass."""

    taps: CountAndSum = CountAndSum()
    rides: CountAndSum = CountAndSum()
    foreign: CountAndSum = CountAndSum()
    recovered: CountAndSum = CountAndSum()
    executed: CountAndSum = CountAndSum()
    not_executed: CountAndSum = CountAndSum()
    open: CountAndSum = CountAndSum()
    refused: CountAndSum = CountAndSum()
    free: CountAndSum = CountAndSum()
    without_exit: int = 0
    turned_away: int = 0

    @property
    def takings_fen(self) -> int:
        return self.taps.fen + self.rides.fen


class TurnedAway(Message):
    """A purse that staff should hear of. `is_locked`: whether it could be locked, null where nobody tried."""

    at: datetime
    reason: str
    is_locked: bool | None
    line: int
    station: int


class TerminalDay(Message):
    """`said` is the terminal's own sum, null where it has said none; `difference_fen` what the books have more. Of
    `alarms` a thousand are shown of a day."""

    terminal: str
    name: str
    region: str | None
    said: CountAndSum | None
    is_closed: bool
    takings_fen: int
    difference_fen: int
    is_explained: bool
    sums: DaySums
    products: tuple[ProductSum, ...]
    turned_away: dict[str, int]
    alarms: tuple[TurnedAway, ...] = ()
    lines: tuple[DifferenceLine, ...]


class DayReconciliation(Message):
    """A day of China, of all terminals that the caller serves; `is_explained` where every difference has its reason."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "day": "2026-01-05",
                    "said_fen": 700,
                    **_BOOKED,
                    "terminals": [
                        {
                            "terminal": _TERMINAL,
                            "name": "示例站3号闸机",
                            "region": "130000",
                            "said": {"count": 3, "fen": 700},
                            "is_closed": True,
                            **_BOOKED,
                            "lines": [
                                {
                                    "kind": "open",
                                    "count": 1,
                                    "fen": -300,
                                    "is_explained": True,
                                    "text_zh": "可疑交易，等这张卡下次刷卡才知道扣没扣",
                                    "text_en": "Torn taps: the card's next tap will tell whether it paid",
                                    "records": [
                                        {
                                            "journal_id": "5b1e7a4c9d0f4c3f8a2b6d7e8f901234",
                                            "sequence": 17,
                                            **_TAP,
                                            "fen": 300,
                                            "at": _AT,
                                        }
                                    ],
                                    "journals": {},
                                }
                            ],
                        }
                    ],
                }
            ]
        }
    )

    day: date
    said_fen: int
    takings_fen: int
    difference_fen: int
    is_explained: bool
    sums: DaySums
    products: tuple[ProductSum, ...]
    turned_away: dict[str, int]
    terminals: tuple[TerminalDay, ...]


class TapView(Message):
    at: datetime
    terminal: str
    psam: str
    number: str
    mode: str
    line: int
    station: int
    offline: int
    balance_fen: int
    amount_fen: int
    fare_fen: int
    product: str
    outcome: str
    standing: str
    why: str | None


class JourneyView(Message):
    """One ride: an entry and its exit, or one tap alone. `trouble` where one of the two is not in the books."""

    taps: tuple[TapView, ...]
    amount_fen: int
    trouble: Trouble | None = None


class PurseView(Message):
    """Newest journey first. `card_number` is that of our card, where it is known which bears this purse."""

    issuer: str
    serial: str
    card_number: str | None
    journeys: tuple[JourneyView, ...]


class PurseJourneys(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "face_number": "9990100000000001234",
                    "purses": [
                        {
                            **_PURSE,
                            "card_number": "A00000011",
                            "journeys": [
                                {
                                    "amount_fen": 300,
                                    "trouble": "no_entry",
                                    "taps": [
                                        {
                                            "at": _AT,
                                            "terminal": _TERMINAL,
                                            **_TAP,
                                            "mode": "metro_exit",
                                            "line": 2,
                                            "station": 17,
                                            "offline": 18,
                                            "balance_fen": 9800,
                                            "amount_fen": 300,
                                            "fare_fen": 300,
                                            "product": "plain",
                                            "outcome": "paid",
                                            "standing": "booked",
                                            "why": None,
                                        }
                                    ],
                                }
                            ],
                        }
                    ],
                }
            ]
        }
    )

    face_number: str
    purses: tuple[PurseView, ...]


class CardPurse(Message):
    """The purse that the chip of a card bears: EF15 of the transit application, issuer and serial."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"identification_code": "99010000000186FE9901000000010203", **_PURSE}]}
    )

    identification_code: Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{32}$")]
    issuer: Annotated[str, StringConstraints(pattern=r"^[0-9]{8}[0-9A-F]{8}$")]
    serial: PurseSerial
