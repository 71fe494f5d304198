"""The bank application on a social security card, read for its card number; no payment is made here.

JR/T 0025 / EMV Book 3 as far as counters use it (card_digest.md §7.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apdu.channel import Channel, follow_up, transceive
from apdu.command import CommandApdu
from apdu.errors import TlvDecodingError
from apdu.response import ResponseApdu
from apdu.sw import check
from apdu.tlv import find
from cardlib.errors import CardDataError

AID = bytes.fromhex("A000000333010101")
_PROCESSING_DATA = bytes.fromhex("8309000000000000000156")
"""PDOL values of a terminal that buys nothing: amount 0, currency 156."""
_USUAL_PLACES = ((2, 1), (3, 1), (16, 1))
"""SFI and record in which cards were seen to hold the number, for those that refuse GET PROCESSING OPTIONS."""
_RECORDS_MAX = 32


@dataclass(frozen=True, slots=True)
class BankCard:
    """Number and expiry date (YYMMDD, empty where the record has none)."""

    number: str
    expiry: str

    def to_json(self, *, shows_number: bool) -> dict[str, Any]:
        return {"number": self.number if shows_number else masked(self.number), "expiry": self.expiry}


def masked(number: str) -> str:
    """First six and last four digits, as bank slips show a number."""
    if len(number) < 13:
        return "*" * len(number)
    return number[:6] + "*" * (len(number) - 10) + number[-4:]


def read_bank_card(channel: Channel, *, protocol: str = "T=0") -> BankCard:
    """SELECT, GET PROCESSING OPTIONS, and the records it names until one has tag 5A.

    Raises NotFoundError on a card without the application, CardDataError when no record has a valid number.
    """
    link = follow_up(channel, protocol)
    check(transceive(link, CommandApdu(0x00, 0xA4, 0x04, 0x00, AID, 256)), 0xA4)
    options = transceive(link, CommandApdu(0x80, 0xA8, 0x00, 0x00, _PROCESSING_DATA, 256))
    try:
        places = _places(options) if options.is_ok else list(_USUAL_PLACES)
        for sfi, number in places:
            answer = transceive(link, CommandApdu(0x00, 0xB2, number, sfi << 3 | 0x04, b"", 256))
            field = find(answer.data, 0x70, 0x5A) if answer.is_ok else None
            if field is not None:
                expiry = find(answer.data, 0x70, 0x5F24)
                return BankCard(_card_number(field.value), expiry.value.hex() if expiry is not None else "")
    except TlvDecodingError as error:
        raise CardDataError("the bank application answers malformed data") from error
    raise CardDataError("no record of the bank application has a card number")


def _places(options: ResponseApdu) -> list[tuple[int, int]]:
    """Records of the application file locator: bytes 3 on of template 80, or tag 94 inside 77."""
    simple = find(options.data, 0x80)
    locator = find(options.data, 0x77, 0x94)
    afl = simple.value[2:] if simple is not None else locator.value if locator is not None else b""
    groups = [afl[i : i + 4] for i in range(0, len(afl) - 3, 4)]
    places = [(group[0] >> 3, number) for group in groups for number in range(group[1], group[2] + 1)]
    return places[:_RECORDS_MAX] or list(_USUAL_PLACES)


def _card_number(raw: bytes) -> str:
    """Digits without the trailing F. Raises CardDataError when they are no number with a right check digit."""
    number = raw.hex().rstrip("f")
    if not (13 <= len(number) <= 19 and number.isdecimal() and _luhn(number) == 0):
        raise CardDataError("the bank card number is malformed")
    return number


def _luhn(number: str) -> int:
    """Check sum of ISO/IEC 7812-1 annex B; 0 for a valid number."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + doubled) % 10
