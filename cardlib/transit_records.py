"""What stands in the files of a 交通联合 purse: holder, management, log, trips, the open rail trip.

JT/T 978 as collected in transit_card.md §2: EF15, EF17, EF18, EF1A (rail), EF1E. Amounts are fen, times the card's
seven packed-BCD bytes YYYYMMDDhhmmss.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from cardlib.errors import CardDataError

SFI_PUBLIC, SFI_MANAGEMENT, SFI_LOG, SFI_PROCESS, SFI_TRIPS = 0x15, 0x17, 0x18, 0x1A, 0x1E
PUBLIC_LENGTH, MANAGEMENT_LENGTH, LOG_LENGTH, PROCESS_LENGTH, TRIP_LENGTH = 30, 60, 23, 128, 48
RAIL, BUS = 1, 2
TEST_CLASS = 4
_UNACTIVATED = 0
PROCESS_ID = 0x27
_EP_ENTRY, _EP_EXIT, _EP_SINGLE, _EP_SUPPLEMENT = 0x03, 0x04, 0x06, 0x08
_STATUS_IN, _STATUS_OUT, _STATUS_ENTRY_UPDATE, _STATUS_EXIT_UPDATE = 0x01, 0x02, 0x03, 0x04
OPEN_STATUS = frozenset({_STATUS_IN, _STATUS_ENTRY_UPDATE})
PAID_ENTRY_STATUS = _STATUS_ENTRY_UPDATE

PASSENGER_CLASSES = {1: "普通", 2: "学生", 3: "老人", 4: "测试", 5: "军人"}
TYPES = {1: "圈存(ED)", 2: "圈存", 3: "圈提", 4: "取款", 5: "消费(ED)", 6: "消费", 7: "修改透支限额", 9: "复合消费"}
INDUSTRIES = {
    1: "地铁", 2: "公交", 3: "水上客运", 4: "出租", 5: "租赁", 6: "公共自行车", 7: "停车", 8: "长途", 9: "轮渡",
    10: "城际", 11: "民航", 12: "高速公路", 13: "市郊",
}  # fmt: skip
TRIP_TYPES = {
    0: "初始", 1: "EC进站", 2: "EC出站", 3: "进站", 4: "出站", 5: "EC单次", 6: "单次", 7: "EC补票", 8: "补票",
    9: "EC充值", 10: "充值", 18: "锁卡",
}  # fmt: skip


def encode_moment(moment: datetime.datetime) -> bytes:
    return bytes.fromhex(f"{moment:%Y%m%d%H%M%S}")


@dataclass(frozen=True, slots=True)
class PurseIdentity:
    """EF15, which the FCI repeats: whose purse it is and how long it is good."""

    issuer: bytes
    application_type: int
    version: int
    serial: str
    start: str
    expiry: str

    @classmethod
    def from_bytes(cls, raw: bytes) -> PurseIdentity:
        """Raises CardDataError."""
        if len(raw) != PUBLIC_LENGTH or not raw[10:28].hex().isdecimal():
            raise CardDataError("public data of the purse are malformed")
        return cls(raw[:8], raw[8], raw[9], raw[10:20].hex(), raw[20:24].hex(), raw[24:28].hex())

    @property
    def factor(self) -> bytes:
        """Diversification factor of the card: the last 8 bytes of the serial."""
        return bytes.fromhex(self.serial)[2:]

    @property
    def face_number(self) -> str:
        return self.serial[-19:]

    @property
    def city(self) -> str:
        """The issuer's city, four digits."""
        return self.issuer[2:4].hex()

    @property
    def is_activated(self) -> bool:
        return self.version != _UNACTIVATED

    def trouble(self, today: datetime.date) -> str:
        """Why the purse may not be used today; empty when it may (§7, 3 and 4)."""
        if not self.is_activated:
            return "not activated"
        if not self.start <= f"{today:%Y%m%d}" <= self.expiry:
            return f"good from {self.start} to {self.expiry}"
        return ""


@dataclass(frozen=True, slots=True)
class Management:
    """EF17, the part with a meaning."""

    province: str
    city: str
    is_interoperable: bool
    passenger_class: int

    @classmethod
    def from_bytes(cls, raw: bytes) -> Management:
        """Raises CardDataError."""
        if len(raw) < 11:
            raise CardDataError("management data of the purse are too short")
        return cls(raw[4:6].hex(), raw[6:8].hex(), raw[8:10] == b"\x00\x01", raw[10])


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A record of EF18. `number` is the counter after the transaction: online for loads, offline for the rest."""

    number: int
    overdraft_limit_fen: int
    amount_fen: int
    type: int
    terminal: str
    moment: str

    @classmethod
    def from_bytes(cls, raw: bytes) -> LogEntry:
        """Raises CardDataError."""
        if len(raw) != LOG_LENGTH:
            raise CardDataError(f"log record of {len(raw)} bytes")
        return cls(_number(raw[:2]), _number(raw[2:5]), _number(raw[5:9]), raw[9], raw[10:16].hex(), raw[16:23].hex())

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"type_zh": TYPES.get(self.type, "")}


@dataclass(frozen=True, slots=True)
class Trip:
    """A record of EF1E."""

    type: int
    terminal: str
    industry: int
    line: int
    station: int
    amount_fen: int
    balance_fen: int
    moment: str
    city: str
    institution: bytes

    @classmethod
    def from_bytes(cls, raw: bytes) -> Trip:
        """Raises CardDataError."""
        if len(raw) != TRIP_LENGTH:
            raise CardDataError(f"trip record of {len(raw)} bytes")
        terminal = raw[1:9].hex()
        # The padding stands left or right, depending on the maker (OPEN X11).
        terminal = terminal[4:] if terminal.startswith("0000") else terminal[:12]
        numbers = (_number(raw[10:12]), _number(raw[12:14]), _number(raw[17:21]), _number(raw[21:25]))
        return cls(raw[0], terminal, raw[9], *numbers, raw[25:32].hex(), raw[32:34].hex(), raw[34:42])

    def to_bytes(self) -> bytes:
        head = bytes((self.type,)) + bytes.fromhex("0000" + self.terminal) + bytes((self.industry,))
        place = self.line.to_bytes(2, "big") + self.station.to_bytes(2, "big") + bytes(3)
        money = self.amount_fen.to_bytes(4, "big") + self.balance_fen.to_bytes(4, "big")
        return head + place + money + bytes.fromhex(self.moment + self.city) + self.institution + bytes(6)

    def to_json(self) -> dict[str, Any]:
        names = {"type_zh": TRIP_TYPES.get(self.type, ""), "industry_zh": INDUSTRIES.get(self.industry, "")}
        return asdict(self) | {"institution": self.institution.hex().upper()} | names


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


# -- what a composite purchase writes ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where a terminal stands; `institution` is the accepting one, eight bytes."""

    industry: int
    line: int
    station: int
    city: str
    institution: bytes


@dataclass(frozen=True, slots=True)
class TripContext:
    """What is known when the trip data are made: after INIT and the PSAM, before DEBIT."""

    terminal: str
    terminal_sequence: bytes
    moment: str
    amount_fen: int
    balance_fen: int


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """One UPDATE CAPP DATA CACHE: `number` of the process record, 0 for the cyclic trip file."""

    sfi: int
    number: int
    data: bytes


TripPlan = Callable[[TripContext], list[CacheRecord]]


def single_ride(place: Place) -> TripPlan:
    """A flat fare: the trip record alone."""
    return lambda context: [_trip(_EP_SINGLE, place, context)]


def rail_entry(place: Place, previous: bytes, marked_fen: int = 0) -> TripPlan:
    """进站: `previous` is record 2701 as read before, whose reserved end is copied. The lock flag is set (OPEN X1)."""
    return _rail_start(place, previous, _STATUS_IN, _EP_ENTRY, marked_fen)


def rail_entry_update(place: Place, previous: bytes, marked_fen: int = 0) -> TripPlan:
    """进站更新 at the service point: an entry here, paid for so far with the amount of this purchase."""
    return _rail_start(place, previous, _STATUS_ENTRY_UPDATE, _EP_SUPPLEMENT, marked_fen)


def _rail_start(place: Place, previous: bytes, status: int, kind: int, marked_fen: int) -> TripPlan:
    def records(context: TripContext) -> list[CacheRecord]:
        record = bytearray(_process(RAIL, previous, context, lock=1, status=status))
        record[15:99] = bytes(84)
        record[15:17], record[19:27] = bytes.fromhex(place.city), place.institution
        record[35:43], record[51:59] = _station(place), bytes.fromhex("0000" + context.terminal)
        record[67:74], record[81:85] = bytes.fromhex(context.moment), _fen(marked_fen)
        record[85] = place.line & 0xFF
        record[87:91], record[91:95] = _fen(context.amount_fen), _fen(context.balance_fen)
        return [CacheRecord(SFI_PROCESS, RAIL, bytes(record)), _trip(kind, place, context)]

    return records


def rail_exit(place: Place, previous: bytes) -> TripPlan:
    """出站: the entry part of `previous` stays, the exit part is filled and the lock flag cleared."""
    return _rail_end(place, previous, _STATUS_OUT, _EP_EXIT)


def rail_exit_update(place: Place, previous: bytes) -> TripPlan:
    """出站更新 at the service point: the open trip of `previous` ends here."""
    return _rail_end(place, previous, _STATUS_EXIT_UPDATE, _EP_SUPPLEMENT)


def _rail_end(place: Place, previous: bytes, status: int, kind: int) -> TripPlan:
    def records(context: TripContext) -> list[CacheRecord]:
        record = bytearray(_process(RAIL, previous, context, lock=0, status=status))
        record[17:19], record[27:35] = bytes.fromhex(place.city), place.institution
        record[43:51], record[59:67] = _station(place), bytes.fromhex("0000" + context.terminal)
        record[74:81], record[86] = bytes.fromhex(context.moment), place.line & 0xFF
        record[95:99] = _fen(context.amount_fen)
        return [CacheRecord(SFI_PROCESS, RAIL, bytes(record)), _trip(kind, place, context)]

    return records


def bus_board(place: Place, previous: bytes, marked_fen: int) -> TripPlan:
    """上车: record 2702 open, `marked_fen` what the trip costs when nobody taps out."""

    def records(context: TripContext) -> list[CacheRecord]:
        record = bytearray(_process(BUS, previous, context, lock=1, status=_STATUS_IN))
        record[15:102] = bytes(87)
        record[15:17], record[17:25] = bytes.fromhex(place.city), place.institution
        record[25:30], record[38:46] = _stop(place), bytes.fromhex("0000" + context.terminal)
        record[46:53], record[53:57] = bytes.fromhex(context.moment), _fen(marked_fen)
        return [CacheRecord(SFI_PROCESS, BUS, bytes(record)), _trip(_EP_ENTRY, place, context)]

    return records


def bus_alight(place: Place, previous: bytes, *, is_supplement: bool = False) -> TripPlan:
    """下车; `is_supplement` where an earlier trip is charged that nobody ended (补票)."""

    def records(context: TripContext) -> list[CacheRecord]:
        record = bytearray(_process(BUS, previous, context, lock=0, status=_STATUS_OUT))
        record[58:60], record[60:68] = bytes.fromhex(place.city), place.institution
        record[68:73], record[81:89] = _stop(place), bytes.fromhex("0000" + context.terminal)
        record[89:96], record[96:100] = bytes.fromhex(context.moment), _fen(context.amount_fen)
        kind = _EP_SUPPLEMENT if is_supplement else _EP_EXIT
        return [CacheRecord(SFI_PROCESS, BUS, bytes(record)), _trip(kind, place, context)]

    return records


def _process(number: int, previous: bytes, context: TripContext, *, lock: int, status: int) -> bytes:
    """The head of record 27xx. Raises CardDataError when `previous` is another record."""
    check_process(number, previous)
    head = previous[:5] + bytes((lock,)) + context.terminal_sequence.rjust(8, b"\0") + bytes((status,))
    return head + previous[15:]


def check_process(number: int, raw: bytes) -> None:
    """Raises CardDataError unless `raw` is process record 27xx."""
    if len(raw) != PROCESS_LENGTH or raw[:2] != bytes((PROCESS_ID, number)):
        raise CardDataError(f"the card's process record {PROCESS_ID:02X}{number:02X} is malformed")


def _stop(place: Place) -> bytes:
    return bytes(2) + place.line.to_bytes(2, "big") + bytes((place.station & 0xFF,))


def _station(place: Place) -> bytes:
    return bytes(4) + place.line.to_bytes(2, "big") + place.station.to_bytes(2, "big")


def _fen(amount: int) -> bytes:
    return amount.to_bytes(4, "big")


def _trip(kind: int, place: Place, context: TripContext) -> CacheRecord:
    after = context.balance_fen - context.amount_fen
    numbers = (place.industry, place.line, place.station, context.amount_fen, after)
    trip = Trip(kind, context.terminal, *numbers, context.moment, place.city, place.institution)
    return CacheRecord(SFI_TRIPS, 0, trip.to_bytes())
