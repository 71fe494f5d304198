"""What simulated chips keep without power: dataclasses as JSON, read back strictly, replaced whole on disk."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import typing
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar, TypeVar

T = TypeVar("T")


class ImageError(Exception):
    """A stored image that cannot be read back: damaged, or of another version of this program."""

    failure: ClassVar[str] = "SIM_IMAGE_INVALID"


def dump(image: Any) -> str:
    return json.dumps(_plain(image))


def restore(kind: type[T], raw: Any, later: frozenset[str] = frozenset()) -> T:
    """Every field present and of its declared type, none besides; those of `later` may be absent.

    Raises ValueError, TypeError or KeyError for anything `dump` did not write.
    """
    hints = typing.get_type_hints(kind)
    if not isinstance(raw, dict) or raw.keys() | later & hints.keys() != hints.keys():
        raise ValueError(f"{kind.__name__}: wrong fields")
    return kind(**{name: _value(hint, raw[name], later) for name, hint in hints.items() if name in raw})


def replace_file(path: Path, text: str) -> None:
    """Old text or new text, never a mixture, also when power fails inside; mode 0600, for images hold keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return value.hex().upper()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, IntEnum) else value


def _value(hint: Any, raw: Any, later: frozenset[str]) -> Any:
    arguments = typing.get_args(hint)
    if type(None) in arguments:
        return None if raw is None else _value(arguments[0], raw, later)
    if typing.get_origin(hint) is list:
        if not isinstance(raw, list):
            raise ValueError("list expected")
        return [_value(arguments[0], item, later) for item in raw]
    if dataclasses.is_dataclass(hint):
        return restore(typing.cast(type[Any], hint), raw, later)
    if hint is bytes:
        return bytes.fromhex(raw)
    if hint is bool or hint is int:
        if type(raw) is not hint:
            raise ValueError(f"{hint.__name__} expected")
        return raw
    return hint(raw)
