"""The strings of the driver interface that name files and items: pFileAddr, pWriteData, pCardInfo, pPayInfo.

terminal.md §11: `SSSEEF05|05|06|07|$DF03EF06|4A:01|45|$`, a cyclic file `DF04EF08|$` or `DF04EF08:01$`, a transparent
one by its name. Older programs write `MF` or `3F00` for `SSSE`; answers carry the prefix that was asked with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cardlib import money
from cardlib.codec import CodecError

MAX_TEXT: Final = 20 * 1024
"""The buffer installed programs have for iReadCard and iWriteCard (card_digest.md §4)."""
MAX_FILES: Final = 64
MAX_ITEMS: Final = 128
MAX_NUMBER: Final = 254
MAX_FEN: Final = 0xFFFFFFFF

_NAME = re.compile(r"(SSSE|MF|3F00|DF[0-9A-F]{2})(EF[0-9A-F]{2})(?::([0-9]{1,3}))?")
_ITEM = re.compile(r"([0-9A-F]{2})(?::([0-9]{1,3}))?")
_CODE = re.compile(r"[0-9A-Fa-f]{32}")
_SSSE_PREFIXES: Final = ("SSSE", "MF", "3F00")


class AddressError(CodecError):
    """A string that does not follow the interface; nothing was sent to the card. Driver code -23."""


class IdentificationFormatError(CodecError):
    """A card identification code that is not 32 hex digits. Driver code -20."""

    failure = "CARD_DATA_INVALID"


@dataclass(frozen=True, slots=True)
class ItemAddress:
    """Item by tag; `instance` counts from 1, None when the program gave none."""

    tag: int
    instance: int | None = None

    def __str__(self) -> str:
        return f"{self.tag:02X}" + ("" if self.instance is None else f":{self.instance:02d}")


@dataclass(frozen=True, slots=True)
class FileAddress:
    """One file and the items wanted of it. `prefix` as the program wrote it; `record` of a cyclic file, None = all."""

    prefix: str
    ef: str
    items: tuple[ItemAddress, ...] = ()
    record: int | None = None

    @property
    def path(self) -> str:
        """The file's name in this project: `SSSEEF05`."""
        return ("SSSE" if self.prefix in _SSSE_PREFIXES else self.prefix) + self.ef

    @property
    def name(self) -> str:
        return self.prefix + self.ef + ("" if self.record is None else f":{self.record:02d}")


@dataclass(frozen=True, slots=True)
class PayInfo:
    """Amounts in fen. The first goes to 自付, the second to 统筹, the account pays nothing (terminal.md OPEN T6)."""

    self_paid: int
    pooling: int
    time: datetime

    @property
    def amounts(self) -> tuple[int, int, int]:
        return 0, self.self_paid, self.pooling


def parse_addresses(text: str) -> tuple[FileAddress, ...]:
    """At least one file. Raises AddressError."""
    addresses = []
    for part in _segments(text):
        name, *tags = _fields(part)
        prefix, ef, record = _name(name)
        if len(tags) > MAX_ITEMS or (tags and record is not None):
            raise AddressError(f"{prefix}{ef}: too many items, or items of a single record")
        addresses.append(FileAddress(prefix, ef, tuple(map(_item, tags)), record))
    return tuple(addresses)


def format_addresses(addresses: tuple[FileAddress, ...]) -> str:
    """The inverse of `parse_addresses`."""
    return format_values([(address, [str(item) for item in address.items]) for address in addresses])


def format_values(files: list[tuple[FileAddress, list[str]]]) -> str:
    """Output of iReadCard: file name, the values in the order asked for, `$`.

    The format has no escape: a `|` or `$` inside a value becomes its full-width form.
    """
    return "".join(address.name + "|" + "".join(f"{_plain(v)}|" for v in values) + "$" for address, values in files)


def parse_values(text: str, addresses: tuple[FileAddress, ...]) -> list[list[str]]:
    """pWriteData, which mirrors `addresses`; a cyclic or transparent file has one value. Raises AddressError."""
    segments = _segments(text)
    if len(segments) != len(addresses):
        raise AddressError(f"data of {len(segments)} files for {len(addresses)} addresses")
    found = []
    for part, address in zip(segments, addresses, strict=True):
        name, *values = _fields(part)
        prefix, ef, _ = _name(name)
        if FileAddress(prefix, ef).path != address.path:
            raise AddressError(f"data of {prefix}{ef} where {address.path} was addressed")
        if len(values) != max(1, len(address.items)):
            raise AddressError(f"{address.path}: {len(values)} values for {len(address.items)} items")
        found.append(values)
    return found


def parse_card_info(text: str) -> tuple[str, str]:
    """Card identification code (upper case) and card number. Raises AddressError, IdentificationFormatError."""
    parts = text.split("|")
    if len(text) > MAX_TEXT or len(parts) != 3 or parts[2] or not parts[1]:
        raise AddressError("pCardInfo is 卡识别码|卡号|")
    if not _CODE.fullmatch(parts[0]):
        raise IdentificationFormatError("a card identification code has 32 hex digits")
    return parts[0].upper(), parts[1]


def parse_pay_info(text: str) -> PayInfo:
    """`0.1|0.2|20250316101500|`, yuan with at most two decimals. Raises AddressError."""
    parts = text.split("|")
    if len(parts) != 4 or parts[3]:
        raise AddressError("pPayInfo is 总金额|账户+统筹总额|YYYYMMDDHHMMSS|")
    return PayInfo(_fen(parts[0]), _fen(parts[1]), parse_time(parts[2]))


def parse_time(text: str) -> datetime:
    """Fourteen digits. Raises AddressError."""
    try:
        if not (len(text) == 14 and text.isascii() and text.isdigit()):
            raise ValueError
        return datetime.strptime(text, "%Y%m%d%H%M%S")
    except ValueError:
        raise AddressError("a time YYYYMMDDHHMMSS was expected") from None


def split_fields(text: str, count: int) -> list[str]:
    """Exactly `count` fields, each ended by `|`. Raises AddressError, which does not quote the text."""
    parts = text.split("|")
    if len(text) > MAX_TEXT or len(parts) != count + 1 or parts[-1]:
        raise AddressError(f"{count} fields, each ended by |, were expected")
    return parts[:-1]


def hex_field(text: str, length: int) -> bytes:
    """Exactly `length` bytes of hex. Raises AddressError."""
    if len(text) != 2 * length or not re.fullmatch(r"[0-9A-Fa-f]*", text):
        raise AddressError(f"{2 * length} hex digits were expected")
    return bytes.fromhex(text)


def _segments(text: str) -> list[str]:
    if len(text) > MAX_TEXT:
        raise AddressError(f"more than {MAX_TEXT} characters")
    *segments, rest = text.split("$")
    if rest or not segments or len(segments) > MAX_FILES:
        raise AddressError(f"1 to {MAX_FILES} files, each ended by $, were expected")
    return segments


def _fields(segment: str) -> list[str]:
    """A name alone may do without its `|`, as in `DF04EF15:01$`."""
    fields = segment.split("|")
    if len(fields) > 1 and fields.pop():
        raise AddressError("each field ends with |")
    return fields


def _name(text: str) -> tuple[str, str, int | None]:
    match = _NAME.fullmatch(text)
    if match is None:
        raise AddressError("a file is named like SSSEEF05 or DF04EF08:01")
    return match[1], match[2], _number(match[3])


def _item(text: str) -> ItemAddress:
    match = _ITEM.fullmatch(text)
    if match is None:
        raise AddressError("an item is named like 08 or 40:2")
    return ItemAddress(int(match[1], 16), _number(match[2]))


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not 1 <= int(text) <= MAX_NUMBER:
        raise AddressError(f"numbers go from 1 to {MAX_NUMBER}")
    return int(text)


def _fen(text: str) -> int:
    try:
        fen = money.fen(text)
    except ValueError as error:
        raise AddressError(str(error)) from None
    if fen > MAX_FEN:
        raise AddressError("an amount is 42949672.95 yuan at most")
    return fen


def _plain(value: str) -> str:
    return value.replace("|", "｜").replace("$", "＄")
