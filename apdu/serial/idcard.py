"""Frames of ID-card modules (居民身份证阅读模块, SDT protocol) and the text they deliver.

Request `AA AA AA 96 69 | LEN(2, big-endian) | CMD PARA data | XOR`, reply the same with `00 00 status data`. LEN counts
what follows it, XOR is over LEN and all that follows. The text is 256 bytes UTF-16LE in fixed fields; the photo is
1024 bytes WLT, a compression whose decoder is licensed to makers of such modules and is not part of this project.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import reduce
from operator import xor
from typing import Final

from apdu.errors import DecodingError, EncodingError
from apdu.serial.errors import FrameError, IdCardError
from apdu.serial.frames import FrameSource

HEADER: Final = bytes.fromhex("AAAAAA9669")
MAX_CONTENT: Final = 4096

STATUS_OK: Final = 0x90
STATUS_FOUND: Final = 0x9F
STATUS_NOT_FOUND: Final = 0x80
STATUSES: Final[dict[int, tuple[str, str]]] = {
    0x10: ("the module received a damaged request", "READER_LOST"),
    0x11: ("the module received a request of wrong length", "READER_LOST"),
    0x21: ("the module does not know the request", "COMMAND_REJECTED"),
    0x23: ("the request is not permitted now", "COMMAND_REJECTED"),
    0x24: ("unidentified error of the module", "COMMAND_REJECTED"),
    0x31: ("the module could not authenticate the card", "CARD_NOT_GENUINE"),
    0x32: ("the card could not authenticate the module", "CARD_NOT_GENUINE"),
    0x33: ("the information on the card is not authentic", "CARD_NOT_GENUINE"),
    0x40: ("not an ID card", "CARD_UNSUPPORTED"),
    0x41: ("the card could not be read", "CARD_REMOVED"),
    0x47: ("the card gave no random number", "CARD_REMOVED"),
    0x60: ("the module failed its self-test", "READER_LOST"),
    0x66: ("the module is not authorised", "READER_LOST"),
    STATUS_NOT_FOUND: ("no ID card on the reader", "CARD_ABSENT"),
    0x81: ("the ID card was taken away", "CARD_REMOVED"),
    0x91: ("the card has no such content", "CARD_DATA_INVALID"),
}

TEXT_LENGTH: Final = 256
PHOTO_LENGTH: Final = 1024
_KIND_AT: Final = 248
_FIELDS: Final = (
    ("name", 30),
    ("sex", 2),
    ("nation", 4),
    ("birth", 16),
    ("address", 70),
    ("number", 36),
    ("issuer", 30),
    ("valid_from", 16),
    ("valid_to", 16),
)
LONG_TERM: Final = "长期"
_NUMBER: Final = re.compile(r"[0-9]{17}[0-9X]")

VECTORS: Final = ((bytes.fromhex("2001"), bytes.fromhex("AAAAAA96690003200122")),)


class IdCardDataError(DecodingError):
    """What the module delivered is not the content of an ID card."""

    failure = "CARD_DATA_INVALID"


class IdCardUnsupportedError(IdCardDataError):
    """A kind of card whose fields lie elsewhere, such as the foreigner's permanent residence card."""

    failure = "CARD_UNSUPPORTED"


class CardKind(StrEnum):
    """The character at offset 248 of the text."""

    RESIDENT = ""
    HONG_KONG_MACAO_TAIWAN = "J"


def encode(content: bytes) -> bytes:
    """A frame of `content`: command and parameter, or two zero bytes and the status, then the data."""
    if not 2 <= len(content) < MAX_CONTENT:
        raise EncodingError(f"{len(content)} bytes fit no frame")
    counted = (len(content) + 1).to_bytes(2, "big") + content
    return HEADER + counted + bytes((reduce(xor, counted),))


class FrameDecoder(FrameSource):
    """Contents of frames."""

    def __init__(self) -> None:
        super().__init__(HEADER)

    def _first(self) -> tuple[bytes, int] | None:
        fixed = len(HEADER) + 2
        if len(self._buffer) < fixed:
            return None
        length = int.from_bytes(self._buffer[len(HEADER) : fixed], "big")
        if not 3 <= length <= MAX_CONTENT:
            raise FrameError(f"a frame announces {length} bytes")
        if len(self._buffer) < fixed + length:
            return None
        counted = bytes(self._buffer[len(HEADER) : fixed + length])
        if reduce(xor, counted):
            raise FrameError(f"the check byte of a frame of {length} bytes is wrong")
        return counted[2:-1], fixed + length


def parse_reply(content: bytes) -> tuple[int, bytes]:
    """Status and data. Raises FrameError for what is no reply."""
    if len(content) < 3 or content[:2] != b"\x00\x00":
        raise FrameError("a frame that is no reply")
    return content[2], content[3:]


def expect(status: int, *good: int) -> None:
    """Raises IdCardError for any status but the good ones."""
    if status not in good:
        text, failure = STATUSES.get(status, ("unknown status of the module", "COMMAND_REJECTED"))
        raise IdCardError(f"{text} ({status:02X})", status=status, failure=failure)


@dataclass(frozen=True, slots=True)
class IdCardText:
    """The printed fields. Codes stay codes: sex of GB/T 2261.1, nation of GB/T 3304.

    `valid_to` is None for a card of unlimited validity (长期). Rare characters of names may be code points of the
    private use area, as the card has them. Personal fields are kept out of `repr`, and so out of logs.
    """

    name: str = field(repr=False)
    sex: str
    nation: str
    birth_date: date = field(repr=False)
    address: str = field(repr=False)
    number: str = field(repr=False)
    issuer: str
    valid_from: date
    valid_to: date | None
    kind: CardKind = CardKind.RESIDENT

    @classmethod
    def from_bytes(cls, raw: bytes) -> IdCardText:
        """Raises IdCardDataError, or IdCardUnsupportedError for a kind of card with other fields."""
        if len(raw) != TEXT_LENGTH:
            raise IdCardDataError(f"the text has {len(raw)} bytes, not {TEXT_LENGTH}")
        try:
            kind = CardKind(_text(raw[_KIND_AT : _KIND_AT + 2]))
        except ValueError as error:
            raise IdCardUnsupportedError("a kind of card with other fields") from error
        texts: dict[str, str] = {}
        position = 0
        for name, length in _FIELDS:
            texts[name] = _text(raw[position : position + length])
            position += length
        if not texts["name"]:
            raise IdCardDataError("the name is empty")
        if not _NUMBER.fullmatch(texts["number"]):
            raise IdCardDataError("the number does not have 17 digits and a check character")
        if not _is_code(texts["sex"], 1) or not (_is_code(texts["nation"], 2) or kind is not CardKind.RESIDENT):
            raise IdCardDataError("sex or nation is no code")
        end = texts["valid_to"]
        return cls(
            texts["name"],
            texts["sex"],
            texts["nation"],
            _date(texts["birth"]),
            texts["address"],
            texts["number"],
            texts["issuer"],
            _date(texts["valid_from"]),
            None if end == LONG_TERM else _date(end),
            kind,
        )


@dataclass(frozen=True, slots=True)
class IdCard:
    """`photo_wlt` is compressed; showing it takes the decoder that comes with a licensed module."""

    text: IdCardText
    photo_wlt: bytes = field(repr=False)

    @classmethod
    def from_bytes(cls, data: bytes) -> IdCard:
        """Of the reply to "read text and photo": two lengths, text, photo. Raises IdCardDataError."""
        if len(data) < 4:
            raise IdCardDataError("the lengths are cut off")
        text_length, photo_length = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        if photo_length > PHOTO_LENGTH or len(data) != 4 + text_length + photo_length:
            raise IdCardDataError(f"{len(data)} bytes for {text_length} of text and {photo_length} of photo")
        return cls(IdCardText.from_bytes(data[4 : 4 + text_length]), data[4 + text_length :])


def _text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-16-le").rstrip(" \0")
    except UnicodeDecodeError as error:
        raise IdCardDataError("a field is not UTF-16LE") from error
    if any(ord(character) < 0x20 for character in text):
        raise IdCardDataError("a control character in a field")
    return text


def _is_code(text: str, length: int) -> bool:
    return len(text) == length and text.isascii() and text.isdigit()


def _date(text: str) -> date:
    if not _is_code(text, 8):
        raise IdCardDataError("a date is not eight digits")
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError as error:
        raise IdCardDataError("a date that does not exist") from error
