"""Values of the driver interface to and from the card: what stands behind a file's name in its strings.

terminal.md §11: text values, inner values of constructed items separated by commas, cyclic and transparent content as
hex (OPEN T8).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from apdu.sw import SW, check
from cardlib import commands as c
from cardlib.codec import CodecError, StoredDataError, decode_value, encode_value, join_name, rewritten_value
from cardlib.driver_address import MAX_NUMBER, AddressError, FileAddress, ItemAddress, hex_field
from cardlib.errors import CardDataError
from cardlib.files import LINEAR
from cardlib.session import SocialSecurityCard as Card
from cardlib.spec import EfSpec, ItemSpec, ItemType, Structure
from hsm.api import CardAuthenticator

_NAME_TAG: Final = 0x09
_EXTENSION_TAG: Final = 0x4E


def read_values(card: Card, ef: EfSpec, address: FileAddress, keys: CardAuthenticator | None) -> list[str]:
    """The values of one address in its order; cyclic and transparent content as hex (OPEN T8)."""
    _check_shape(ef, address)
    if ef.structure is Structure.CYCLIC:
        return cyclic_records(card, ef, address.record, keys)
    if ef.structure is Structure.TRANSPARENT:
        return [card.files.read_transparent(ef, keys).hex().upper()]
    items = [(ef.item(item.tag), item) for item in address.items]
    records = card.files.read_records(ef, keys)
    stored = {record.tag: record.value for record in reversed(records)}
    values = []
    for item, wanted in items:
        same = [record.value for record in records if record.tag == wanted.tag]
        if len(same) < (wanted.instance or 1):
            raise CardDataError(f"{ef.path} holds no item {wanted}")
        raw = same[(wanted.instance or 1) - 1]
        values.append(_text(card, ef, item, stored | {wanted.tag: raw}))
    return values


def cyclic_records(card: Card, ef: EfSpec, number: int | None, keys: CardAuthenticator | None) -> list[str]:
    """Records as hex, newest first, or the one asked for. Raises StatusWordError where that is not there."""
    card.prepare(ef, ef.read, keys)
    if number is not None:
        return [card.send(c.read_record(ef.sfi, number, ef.record_length)).data.hex().upper()]
    records: list[str] = []
    while len(records) < MAX_NUMBER:
        answer = card.exchange(c.read_record(ef.sfi, len(records) + 1, ef.record_length))
        if answer.sw == SW.RECORD_NOT_FOUND:
            break
        records.append(check(answer, 0xB2).data.hex().upper())
    return records


def write_values(
    card: Card, addresses: tuple[FileAddress, ...], values: list[list[str]], keys: CardAuthenticator
) -> None:
    """Raises CodecError before anything is sent."""
    writes: list[Callable[[], None]] = []
    for address, texts in zip(addresses, values, strict=True):
        ef = card.known_spec().ef(address.path)
        _check_shape(ef, address)
        if ef.structure is Structure.CYCLIC:
            writes.append(_append(card, ef, texts[0], keys))
        elif ef.structure is Structure.TRANSPARENT:
            raw = hex_field(texts[0], len(texts[0]) // 2)
            encode_value(ef.items[0], raw)
            writes.append(_write(card, ef.items[0].slug, raw, keys))
        else:
            writes += _linear(card, ef, dict(zip(address.items, texts, strict=True)), keys)
    for write in writes:
        write()


def _linear(card: Card, ef: EfSpec, texts: dict[ItemAddress, str], keys: CardAuthenticator) -> list[Callable[[], None]]:
    writes = []
    name, extension = ItemAddress(_NAME_TAG), ItemAddress(_EXTENSION_TAG)
    if ef.path == "SSSEEF06" and name in texts and extension in texts:
        texts = {k: v for k, v in texts.items() if k != extension} | {name: texts[name] + texts[extension]}
    for address, text in texts.items():
        item = ef.item(address.tag)
        value = _value(item, text)
        if not (ef.path == "SSSEEF06" and address == name):
            encode_value(item, value)
        suffix = "" if address.instance is None else f":{address.instance}"
        writes.append(_write(card, item.slug + suffix, value, keys))
    return writes


def _write(card: Card, name: str, value: Any, keys: CardAuthenticator) -> Callable[[], None]:
    return lambda: card.write_item(name, value, keys)


def _append(card: Card, ef: EfSpec, text: str, keys: CardAuthenticator) -> Callable[[], None]:
    raw = hex_field(text, ef.record_length)
    fields: dict[str, object] = {}
    for item in ef.items:
        fields[item.slug], raw = raw[: item.length], raw[item.length :]
    return lambda: card.files.append(ef.path, fields, keys)


def _value(item: ItemSpec, text: str) -> Any:
    """Inner items of a constructed one are separated by commas."""
    if item.type is not ItemType.BTLV:
        return text
    parts = text.split(",")
    if len(parts) != len(item.inner):
        raise CodecError(f"{item.slug}: {len(parts)} inner values, {len(item.inner)} expected")
    return {inner.slug: part for inner, part in zip(item.inner, parts, strict=True)}


def _text(card: Card, ef: EfSpec, item: ItemSpec, stored: dict[int, bytes]) -> str:
    tag = item.tag or 0
    try:
        meaning, raw = rewritten_value(card.known_spec(), ef.path, tag, stored)
        if ef.path == "SSSEEF06" and tag in (_NAME_TAG, _EXTENSION_TAG):
            return _name_part(stored, tag)
        value = decode_value(meaning, raw)
    except CodecError as error:
        raise CardDataError(f"{item.slug} on the card is malformed") from error
    return ",".join(value.values()) if isinstance(value, dict) else value


def _name_part(stored: dict[int, bytes], tag: int) -> str:
    """A character cut at the end of 姓名 makes the whole name its value, and 姓名扩展 empty."""
    first, extension = stored.get(_NAME_TAG, b""), stored.get(_EXTENSION_TAG, b"")
    try:
        parts = {_NAME_TAG: join_name(first), _EXTENSION_TAG: join_name(extension)}
    except StoredDataError:
        parts = {_NAME_TAG: join_name(first, extension), _EXTENSION_TAG: ""}
    return parts[tag]


def _check_shape(ef: EfSpec, address: FileAddress) -> None:
    """Raises AddressError for items of a file that has none, and the other way round."""
    is_linear = ef.structure in LINEAR
    if is_linear != bool(address.items):
        raise AddressError(f"{ef.path}: items are named of linear files, and only of them")
    if address.record is not None and ef.structure is not Structure.CYCLIC:
        raise AddressError(f"{ef.path} has no numbered records")
    for item in address.items:
        spec = ef.item(item.tag)
        if (item.instance or 1) > spec.count:
            raise AddressError(f"{ef.path}: item {item} does not exist")
