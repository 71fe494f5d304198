"""What the 交通联合 purse tells without a key: identity, balance, log, trips, proof (transit_card.md §2, §4).

`TransitPurse` adds what moves money. Thread rule: a session belongs to its reader.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import ClassVar

from apdu.channel import Channel, follow_up, transceive
from apdu.command import CommandApdu
from apdu.errors import TlvDecodingError
from apdu.response import ResponseApdu
from apdu.sw import SW, check
from apdu.tlv import find
from cardlib.commands import read_record
from cardlib.errors import CardDataError
from cardlib.transit_records import (
    LOG_LENGTH,
    MANAGEMENT_LENGTH,
    PROCESS_LENGTH,
    PUBLIC_LENGTH,
    RAIL,
    SFI_LOG,
    SFI_MANAGEMENT,
    SFI_PROCESS,
    SFI_PUBLIC,
    SFI_TRIPS,
    TEST_CLASS,
    TRIP_LENGTH,
    LogEntry,
    Management,
    PurseIdentity,
    Trip,
)

AID = bytes.fromhex("A000000632010105")
LOG_RECORDS, TRIP_RECORDS = 10, 30
AMOUNT_MAX = 0x7FFFFFFF
_ERASED = (b"\x00", b"\xff")


class PurseUnusableError(Exception):
    """The purse itself says that it may not pay: not activated, out of date, a test card."""

    failure: ClassVar[str] = "CARD_STATE"


@dataclass(frozen=True, slots=True)
class Balance:
    """Amounts in fen: what may be spent, and what it is made of."""

    available: int
    overdraft_limit: int
    overdraft_used: int
    actual: int

    def to_json(self) -> dict[str, int]:
        return asdict(self)


class PurseReader:
    """One powered card; the channel is raw, follow-ups of its protocol happen here."""

    def __init__(self, channel: Channel, *, protocol: str = "T=0") -> None:
        self._channel = follow_up(channel, protocol)
        self.identity: PurseIdentity | None = None

    # -- reading --------------------------------------------------------------------------------------------------

    def open(self) -> PurseIdentity:
        """SELECT. Raises NotFoundError on a card without a purse, CardBlockedError, CardDataError."""
        self.identity = None
        answer = self._send(CommandApdu(0x00, 0xA4, 0x04, 0x00, AID, 256))
        try:
            public = find(answer.data, 0x6F, 0xA5, 0x9F0C)
        except TlvDecodingError as error:
            raise CardDataError("FCI of the purse is malformed") from error
        if public is not None and len(public.value) == PUBLIC_LENGTH:
            self.identity = PurseIdentity.from_bytes(public.value)
        else:
            self.identity = PurseIdentity.from_bytes(self._read_binary(SFI_PUBLIC, PUBLIC_LENGTH))
        return self.identity

    def balance(self) -> Balance:
        """Four commands. Bit 31, which some cities set, is no amount."""
        answers = [self._send(CommandApdu(0x80, 0x5C, p1, 0x02, b"", 4)).data for p1 in range(4)]
        return Balance(*(int.from_bytes(raw, "big") & AMOUNT_MAX for raw in answers))

    def management(self) -> Management:
        return Management.from_bytes(self._read_binary(SFI_MANAGEMENT, MANAGEMENT_LENGTH))

    def log(self) -> list[LogEntry]:
        """Newest first."""
        return list(self.newest_log())

    def newest_log(self) -> Iterator[LogEntry]:
        """Newest first, each read when it is asked for."""
        return map(LogEntry.from_bytes, self._records(SFI_LOG, LOG_LENGTH, LOG_RECORDS))

    def trips(self) -> list[Trip]:
        """Newest first."""
        return [Trip.from_bytes(raw) for raw in self._records(SFI_TRIPS, TRIP_LENGTH, TRIP_RECORDS)]

    def process(self, number: int = RAIL) -> bytes:
        """Process record 27xx as it stands: what `rail_entry` and `rail_exit` go on from."""
        return self._send(read_record(SFI_PROCESS, number, PROCESS_LENGTH)).data

    def prove(self, kind: int, number: int) -> tuple[bytes, bytes] | None:
        """GET TRANSACTION PROVE: (MAC, TAC) of the last finished transaction if it is this one."""
        answer = self._exchange(CommandApdu(0x80, 0x5A, 0x00, kind, number.to_bytes(2, "big"), 8))
        if answer.sw == SW.MAC_UNAVAILABLE:
            return None
        data = check(answer, 0x5A).data
        if len(data) != 8:
            raise CardDataError(f"a proof of {len(data)} bytes")
        return data[:4], data[4:]

    def check_usable(self, today: datetime.date, *, allows_test_cards: bool = False) -> None:
        """The purse's own part of §7: activation, dates, test class. Issuer and black lists are the terminal's."""
        trouble = self._opened().trouble(today)
        if not trouble and not allows_test_cards and self.management().passenger_class == TEST_CLASS:
            trouble = "a test card"
        if trouble:
            raise PurseUnusableError(trouble)

    # -- helpers --------------------------------------------------------------------------------------------------

    def _opened(self) -> PurseIdentity:
        return self.identity or self.open()

    def _exchange(self, command: CommandApdu) -> ResponseApdu:
        return transceive(self._channel, command)

    def _send(self, command: CommandApdu) -> ResponseApdu:
        return check(self._exchange(command), command.ins)

    def _read_binary(self, sfi: int, length: int) -> bytes:
        return self._send(CommandApdu(0x00, 0xB0, 0x80 | sfi, 0x00, b"", length)).data

    def _records(self, sfi: int, length: int, count: int) -> Iterator[bytes]:
        """Until the file ends; erased places are no records."""
        for number in range(1, count + 1):
            answer = self._exchange(read_record(sfi, number, length))
            if answer.sw == SW.RECORD_NOT_FOUND:
                break
            raw = check(answer, 0xB2).data
            if raw.strip(_ERASED[0]) and raw.strip(_ERASED[1]):
                yield raw
