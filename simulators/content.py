"""Stored form of a persona's data (card_files.md section 1), written apart from the hosts' codec."""

from __future__ import annotations

from typing import Any

from cardlib.spec import EfSpec, ItemSpec, ItemType, Structure
from simulators.personas import PersonaError

Values = dict[str, Any]


def encode_item(item: ItemSpec, value: Any) -> bytes:
    """The full stored length; None fills the item. Raises PersonaError."""
    if item.type is ItemType.BTLV:
        inner = value or {}
        parts = [(i, encode_item(i, inner.get(f"{i.tag:02X}"))) for i in item.inner]
        return b"".join(bytes((i.tag or 0, len(raw))) + raw for i, raw in parts)
    try:
        raw, fill = _encode(item.type, value)
    except (ValueError, AttributeError) as exc:
        raise PersonaError(f"{item.slug}: {value!r} is no {item.type}") from exc
    if len(raw) > item.length:
        raise PersonaError(f"{item.slug}: {value!r} is longer than {item.length} bytes")
    return raw.ljust(item.length, fill)


def _encode(kind: ItemType, value: str | None) -> tuple[bytes, bytes]:
    if value is None:
        return b"", b"\xff" if kind is ItemType.CN else b"\0"
    if kind is ItemType.AN:
        return value.encode("gb18030"), b"\0"
    digits = value + "F" * (len(value) % 2) if kind is ItemType.CN else value
    return bytes.fromhex(digits), b"\xff" if kind is ItemType.CN else b"\0"


def encode_transparent(ef: EfSpec, values: Values) -> bytes:
    """`content` is hex, repeated up to the file size: pictures are made up."""
    pattern = bytes.fromhex(values.get("content", "00"))
    return (pattern * (ef.size // len(pattern) + 1))[: ef.size]


def encode_records(ef: EfSpec, values: Values) -> list[bytes]:
    """Records in the order of the specification; cyclic files list theirs under `records`, newest first."""
    if ef.structure is Structure.CYCLIC:
        rows = values.get("records", [])
        _refuse_unknown(ef, (set(values) - {"records"}).union(*rows), {item.slug for item in ef.items})
        return [b"".join(encode_item(item, row.get(item.slug)) for item in ef.items) for row in rows][: ef.records]
    _refuse_unknown(ef, set(values), {f"{item.tag:02X}" for item in ef.items})
    records = []
    for item in ef.items:
        value = values.get(f"{item.tag:02X}")
        several = value if isinstance(value, list) else [value]
        for index in range(item.count):
            raw = encode_item(item, several[index] if index < len(several) else None)
            records.append(bytes((item.tag or 0, len(raw))) + raw)
    return records


def _refuse_unknown(ef: EfSpec, named: set[str], known: set[str]) -> None:
    if named - known:
        raise PersonaError(f"{ef.path}: no item {', '.join(sorted(named - known))}")
