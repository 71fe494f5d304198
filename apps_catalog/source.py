"""One file of the catalog with its text kept, so that a fault is told with line, column and remedy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from apps_catalog.errors import CatalogError, Problem
from apps_catalog.fields import Fault
from apps_catalog.positions import Path as FieldPath
from apps_catalog.positions import Positions

MAX_FILE_BYTES: Final = 1 << 20
_TOML_PLACE: Final = re.compile(r" \(at line (\d+), column (\d+)\)$", re.ASCII)
_KEY_PART: Final = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_ENDLESS_KEY: Final = re.compile(rf"(?<![\w-]){_KEY_PART}(?:[ \t]*+\.[ \t]*+{_KEY_PART}){{16}}", re.ASCII)
"""tomllib takes memory with the square of a dotted key's parts: gigabytes for a hundred kilobytes of them."""
_NOT_TOML: Final = "keep to TOML 1.0 in UTF-8; begin with a copy of an item that is accepted"


@dataclass(frozen=True)
class SourceFile:
    name: str
    text: str
    table: dict[str, Any]
    help: Mapping[str, str]
    """By first part of a field, how it is written."""

    @cached_property
    def positions(self) -> Positions:
        return Positions(self.text)

    def problem(self, fault: Fault, *, item: str = "", number: int | None = None) -> Problem:
        """`number`: the item's place in the file, from 0. A missing field is told at the table it belongs to."""
        first, *rest = fault.field.split(".")
        path: FieldPath = (first, *rest) if fault.index is None else (first, fault.index, *rest)
        if number is None:
            position = self.positions.find(path)
        elif first not in self.table["item"][number] and first in self.table.get("defaults", {}):
            position = self.positions.find(("defaults", *path))
        else:
            position = self.positions.find(("item", number, *path))
        line, column = position or (1, 1)
        return Problem(self.name, item, fault.field, fault.text, line, column, self.help.get(first, ""))


def read_bytes(file: Path) -> bytes:
    """At most one byte more than a file may have. Raises CatalogError."""
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise CatalogError([Problem(file.name, "", "", f"cannot be read: {exc.strerror}")]) from exc


def parse_source(name: str, raw: bytes, field_help: Mapping[str, str]) -> SourceFile:
    """Raises CatalogError for a file that is too large or no TOML."""
    if len(raw) > MAX_FILE_BYTES:
        remedy = "divide the items among several files"
        raise CatalogError([Problem(name, "", "", f"is larger than {MAX_FILE_BYTES} bytes", remedy=remedy)])
    try:
        text = raw.decode("utf-8").replace("\r\n", "\n")
        if endless := _ENDLESS_KEY.search(text):
            line, column = _last_line(text[: endless.start()])
            raise ValueError(f"a key has too many parts (at line {line}, column {column})")
        return SourceFile(name, text, tomllib.loads(text), field_help)
    except UnicodeDecodeError as exc:
        before = raw[: exc.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise CatalogError([Problem(name, "", "", "is not UTF-8", line, column, _NOT_TOML)]) from exc
    except (ValueError, RecursionError) as exc:
        said = str(exc)
        place = _TOML_PLACE.search(said)
        line, column = (
            map(int, place.groups()) if place else (_last_line(text) if "end of document" in said else (0, 0))
        )
        told = f"is not TOML: {_TOML_PLACE.sub('', said)}"
        raise CatalogError([Problem(name, "", "", told, line, column, _NOT_TOML)]) from exc


def _last_line(text: str) -> tuple[int, int]:
    return text.count("\n") + 1, len(text) - text.rfind("\n")
