"""Values of data items to and from their stored bytes (V2.0 §7, §8; App. C for cards rewritten from 1.0).

A writer fills the whole stored length. A reader is lenient: chips in the field hold fills and dates the circular does
not know, and one odd item must not hide the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, ClassVar
from unicodedata import category

from apdu.errors import DecodingError
from apdu.simple_tlv import MAX_VALUE_LENGTH, parse_records
from cardlib.spec import (
    CardSpec,
    CodeList,
    EfSpec,
    Format,
    Generation,
    ItemSpec,
    ItemType,
    Structure,
    code_list,
    load,
)

NAME_LENGTH = 0x1E
NAME_EXTENSION_LENGTH = 0x14
_CHARSET = "gb18030"  # gives the bytes of GBK for every character GBK has
_FILLS = b"\x00\x20\xff"
_REWRITTEN_MARK = 0xEE

Value = str | dict[str, str]


class CodecError(ValueError):
    """A value the card cannot hold; nothing was encoded."""

    failure: ClassVar[str] = "INPUT_INVALID"


class StoredDataError(CodecError):
    """Bytes from a card that are no value of their item."""

    failure: ClassVar[str] = "CARD_DATA_INVALID"


# -- writing ----------------------------------------------------------------------------------------------------------


def encode_value(item: ItemSpec, value: object = None) -> bytes:
    """The stored bytes, full length. None or an empty text gives the fill of an unused item.

    `value` is a text, ready bytes (filled on the right), or for a constructed item a mapping by inner slug or hex tag.
    Numbers and money may be ints. Raises CodecError.
    """
    if item.type is ItemType.BTLV:
        return _encode_constructed(item, value)
    if isinstance(value, bytes):
        if len(value) > item.length:
            raise CodecError(f"{item.slug}: {len(value)} bytes, at most {item.length}")
        return value + _fill(item) * (item.length - len(value))
    if value is None or value == "":
        return _fill(item) * item.length
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise CodecError(f"{item.slug}: {type(value).__name__} where text was expected")
    return _ENCODERS[item.type](item, str(value))


def encode_record(item: ItemSpec, value: object = None) -> bytes:
    """Tag, length, value: one record of a linear file (draft P3 §5.3.1)."""
    if item.tag is None:
        raise CodecError(f"{item.slug} has no tag")
    return bytes((item.tag, item.length)) + encode_value(item, value)


def encode_cyclic(ef: EfSpec, values: Mapping[str, object]) -> bytes:
    """One record of a cyclic file, fields by slug; fields not given are filled."""
    unknown = values.keys() - {item.slug for item in ef.items}
    if ef.structure is not Structure.CYCLIC or unknown:
        raise CodecError(f"{ef.path}: no cyclic file with {', '.join(sorted(unknown)) or 'such records'}")
    return b"".join(encode_value(item, values.get(item.slug)) for item in ef.items)


def rewritten_record(spec: CardSpec, path: str, item: ItemSpec, value: object, leader: bytes | None = None) -> bytes:
    """The record of a 1.0 card that holds `item` with its 2.0 meaning: the old field, filled with E (V2.0 App. C).

    An item that follows another tag has no room for the fill; `leader` is what the card holds of that tag, which must
    have been rewritten before. Raises CodecError.
    """
    tag = item.tag or 0
    old, raw = spec.item(path, tag), encode_value(item, value)
    if tag in spec.follows:
        if leader is None or not leader.endswith(bytes((_REWRITTEN_MARK,))):
            raise CodecError(f"{item.slug}: tag {spec.follows[tag]:02X} of this old card has to be rewritten first")
        if len(raw) != old.length:
            raise CodecError(f"{item.slug} does not fit the old field")
    elif len(raw) >= old.length:
        raise CodecError(f"{item.slug} does not fit the old field")
    return bytes((tag, old.length)) + raw.ljust(old.length, bytes((_REWRITTEN_MARK,)))


def split_name(name: str) -> tuple[bytes, bytes]:
    """Values of tags 09 and 4E at full length; 09 never ends inside a character (personalization: V2.0 T9 remark).

    Raises CodecError for an empty name or one longer than both items together.
    """
    first = b""
    if not name.strip():
        raise CodecError("the name is empty")
    rest = name
    while rest and len(first) + len(raw := _encode_text("name", rest[0])) <= NAME_LENGTH:
        first += raw
        rest = rest[1:]
    second = _encode_text("name", rest) if rest else b""
    if len(second) > NAME_EXTENSION_LENGTH:
        raise CodecError(f"the name needs more than {NAME_LENGTH + NAME_EXTENSION_LENGTH} bytes")
    return first.ljust(NAME_LENGTH, b"\x00"), second.ljust(NAME_EXTENSION_LENGTH, b"\x00")


def is_gbk(text: str) -> bool:
    """Whether readers that know only GBK can show the text; other characters are stored as GB 18030."""
    try:
        text.encode("gbk")
    except UnicodeEncodeError:
        return False
    return True


def _fill(item: ItemSpec) -> bytes:
    return b"\xff" if item.type is ItemType.CN else b"\x00"


def _encode_text(slug: str, text: str) -> bytes:
    if any(category(character) == "Cc" for character in text):
        raise CodecError(f"{slug}: control characters")
    try:
        return text.encode(_CHARSET)
    except UnicodeEncodeError as error:
        raise CodecError(f"{slug}: a character that GB 18030 does not have") from error


def _encode_an(item: ItemSpec, text: str) -> bytes:
    if item.format is Format.MONTHS:
        text = text.zfill(item.length)
    if item.is_gbk:
        raw = _encode_text(item.slug, text)
    elif text.isascii() and text.isprintable():
        raw = text.encode("ascii")
    else:
        raise CodecError(f"{item.slug}: only ASCII characters are stored")
    if len(raw) > item.length:
        raise CodecError(f"{item.slug}: {len(raw)} bytes, at most {item.length}")
    if item.format is Format.MONTHS and not text.isdigit():
        raise CodecError(f"{item.slug}: a number of months was expected")
    _check_code(item, text)
    return raw.ljust(item.length, b"\x00")


def _encode_cn(item: ItemSpec, text: str) -> bytes:
    digits = 2 * item.length
    if item.format is Format.HEX:
        return _encode_hex(item, text)
    if item.format is Format.FEN:
        text = text.zfill(digits)
    if not (text.isascii() and text.isdigit()) or len(text) > digits:
        raise CodecError(f"{item.slug}: at most {digits} digits were expected")
    if not _FORMAT_CHECKS.get(item.format, _anything)(text):
        raise CodecError(f"{item.slug}: {text} is no {item.format.value.replace('_', ' and ')}")
    _check_code(item, text)
    return bytes.fromhex(text.ljust(digits, "F"))


def _encode_b(item: ItemSpec, text: str) -> bytes:
    if item.format not in (Format.FEN, Format.NUMBER):
        return _encode_hex(item, text)
    if not (text.isascii() and text.isdigit()) or int(text) >= 1 << (8 * item.length):
        raise CodecError(f"{item.slug}: a number of {item.length} bytes was expected")
    return int(text).to_bytes(item.length, "big")


def _encode_hex(item: ItemSpec, text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise CodecError(f"{item.slug}: hex digits were expected") from error
    if len(raw) > item.length or (item.type is ItemType.CN and len(raw) != item.length):
        raise CodecError(f"{item.slug}: {len(raw)} bytes where {item.length} were expected")
    return raw.ljust(item.length, _fill(item))


def _encode_constructed(item: ItemSpec, value: object) -> bytes:
    if value is None or value == "":
        value = {}
    if isinstance(value, bytes):
        if len(value) != item.length:
            raise CodecError(f"{item.slug}: {len(value)} bytes where {item.length} were expected")
        return value
    if not isinstance(value, Mapping):
        raise CodecError(f"{item.slug}: inner items were expected")
    given: dict[str, Any] = {str(key): part for key, part in value.items()}
    raw = b""
    for inner in item.inner:
        tag = f"{inner.tag:02X}"
        if tag in given and inner.slug in given:
            raise CodecError(f"{item.slug}: {inner.slug} is given twice")
        raw += encode_record(inner, given.pop(tag, given.pop(inner.slug, None)))
    if given:
        raise CodecError(f"{item.slug} has no {', '.join(sorted(given))}")
    return raw


def _check_code(item: ItemSpec, text: str) -> None:
    if item.code_list is not None and not _knows(code_list(item.code_list), text):
        raise CodecError(f"{item.slug}: {text} is not in the code list")


def _knows(codes: CodeList, code: str) -> bool:
    if not codes.parts:
        return code in codes.codes
    end = max(part.start + part.length for part in codes.parts)
    return len(code) == end and all(code[p.start : p.start + p.length] in p.codes for p in codes.parts)


_ENCODERS: Mapping[ItemType, Callable[[ItemSpec, str], bytes]] = {
    ItemType.AN: _encode_an,
    ItemType.CN: _encode_cn,
    ItemType.B: _encode_b,
}


def _anything(_text: str) -> bool:
    return True


def _is_date(text: str) -> bool:
    try:
        return len(text) == 8 and bool(date(int(text[:4]), int(text[4:6]), int(text[6:])))
    except ValueError:
        return False


def _is_datetime(text: str) -> bool:
    try:
        return len(text) == 14 and bool(datetime.strptime(text, "%Y%m%d%H%M%S"))
    except ValueError:
        return False


_FORMAT_CHECKS: Mapping[Format, Callable[[str], bool]] = {
    Format.DATE: _is_date,
    Format.DATETIME: _is_datetime,
    Format.YEAR_MONTH: lambda text: _is_date(text + "01"),
    Format.REGION: lambda text: len(text) == 6,
}


# -- reading ----------------------------------------------------------------------------------------------------------


def decode_value(item: ItemSpec, raw: bytes) -> Value:
    """The value without its fill, empty for an unused item; a constructed item gives its inner values by slug.

    Accepts what the field shows: text filled with 00, 20, FF or a run of the digit 0; a year as four ASCII digits in a
    date; a shorter or longer stored length. Raises StoredDataError.
    """
    if item.type is ItemType.BTLV:
        return _decode_constructed(item, raw)
    if item.type is ItemType.AN:
        return _decode_an(item, raw)
    if item.type is ItemType.CN:
        return _decode_cn(item, raw)
    if item.format in (Format.FEN, Format.NUMBER):
        _check_number(item, raw)
        return str(int.from_bytes(raw, "big"))
    return raw.hex().upper()


def decode_cyclic(ef: EfSpec, raw: bytes) -> dict[str, str]:
    """Fields of one cyclic record by slug. A record shorter than specified ends the fields early (draft P7 §12)."""
    fields: dict[str, str] = {}
    position = 0
    for item in ef.items:
        part = raw[position : position + item.length]
        if len(part) < item.length:
            break
        fields[item.slug] = str(decode_value(item, part))
        position += item.length
    return fields


def join_name(first: bytes, second: bytes = b"") -> str:
    """The holder's name from tags 09 and 4E, also where a writer cut a character at the end of 09."""
    head, tail = first.rstrip(_FILLS), second.rstrip(_FILLS)
    try:
        return _decode_text("name", head) + _decode_text("name", tail)
    except StoredDataError:
        return _decode_text("name", head + tail)


def decode_code(list_name: str, code: str, language: str = "zh") -> str:
    """Text of a code, the code itself where the list has none; parts of a composed code are joined by 、 or a comma."""
    codes, is_english = code_list(list_name), language == "en"
    if codes.parts:
        parts = ((p, code[p.start : p.start + p.length]) for p in codes.parts)
        texts = [_part_text(p.name_en, p.en, c) if is_english else _part_text(p.name_zh, p.codes, c) for p, c in parts]
        return (", " if is_english else "、").join(text for text in texts if text)
    plain = code if code in codes.codes else code.lstrip("0")
    return (codes.en if is_english else codes.codes).get(plain, code)


def rewritten_value(spec: CardSpec, path: str, tag: int, stored: Mapping[int, bytes]) -> tuple[ItemSpec, bytes]:
    """The meaning and the bytes of one item of `stored` (tag -> raw, all of one file).

    On a 1.0 card an item that ends with EE was rewritten with its 2.0 meaning (V2.0 App. C); some follow another tag.
    Raises KeyError for a tag that the file does not have.
    """
    raw = stored[tag]
    leader = spec.follows.get(tag, tag)
    if leader not in spec.rewritten or not stored.get(leader, b"").endswith(bytes((_REWRITTEN_MARK,))):
        return spec.item(path, tag), raw
    item = load(Generation.V2).item(path, tag)
    return item, raw[: spec.rewritten.get(tag, len(raw))]


def _part_text(name: str, codes: Mapping[str, str], code: str) -> str:
    """Yes-or-no parts are named only when they hold; a dash stands for a part that does not apply."""
    text = codes.get(code, code)
    if codes.keys() == {"0", "1"}:
        return name if code == "1" else ""
    return "" if text == "-" else text


def _decode_an(item: ItemSpec, raw: bytes) -> str:
    text = _decode_text(item.slug, raw)
    # Some writers took "hex 0" (V2.0 §7) for the digit 0; only names and addresses can lose such a tail safely.
    return text.rstrip("0").rstrip() if item.is_gbk and raw.endswith(b"00") else text


def _decode_text(slug: str, raw: bytes) -> str:
    try:
        return raw.rstrip(_FILLS).decode(_CHARSET).strip()
    except UnicodeDecodeError as error:
        raise StoredDataError(f"{slug}: bytes that are no GB 18030 text") from error


def _decode_cn(item: ItemSpec, raw: bytes) -> str:
    if item.format is Format.HEX:
        return raw.hex().upper()
    if item.format is Format.DATE and _is_ascii_year(raw):
        return raw.decode("ascii")
    _check_number(item, raw)
    digits = raw.hex().upper().rstrip("F")
    if not digits.isdigit() and digits:
        raise StoredDataError(f"{item.slug}: a nibble that is no digit")
    return str(int(digits)) if digits and item.format is Format.FEN else digits


def _check_number(item: ItemSpec, raw: bytes) -> None:
    """Python turns numbers of thousands of digits into text only on request."""
    if len(raw) > MAX_VALUE_LENGTH:
        raise StoredDataError(f"{item.slug}: a number of {len(raw)} bytes")


def _is_ascii_year(raw: bytes) -> bool:
    return len(raw) == 4 and all(0x30 <= byte <= 0x39 for byte in raw)  # as BCD it would be month 30 or later


def _decode_constructed(item: ItemSpec, raw: bytes) -> dict[str, str]:
    inner_items = {inner.tag: inner for inner in item.inner}
    try:
        records = parse_records(raw) if raw.strip(_FILLS) else []
    except DecodingError as error:
        raise StoredDataError(f"{item.slug}: {error}") from error
    values = {inner.slug: "" for inner in item.inner}
    for record in records:
        inner = inner_items.get(record.tag)
        if inner is None:
            raise StoredDataError(f"{item.slug}: unknown inner tag {record.tag:02X}")
        values[inner.slug] = str(decode_value(inner, record.value))
    return values
