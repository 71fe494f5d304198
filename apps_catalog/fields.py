"""Strict reading of one TOML table: every key is known, of the right type, within limits, or a `Fault` says why not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any, TypeVar

from apps_catalog.model import Text

MAX_TEXT = 400
MAX_LIST = 64

_E = TypeVar("_E", bound=StrEnum)
_T = TypeVar("_T")
_HAN = re.compile("[\u3400-\u9fff\U00020000-\U000323af]")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_UNSEEN = re.compile(
    "[\x80-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Characters that turn the line around, break it or show nothing: two texts that look alike would not be the same."""


class Fault(ValueError):
    """One field is wrong; the loader adds the file and the item. `index` counts from 0 in a field that is a list."""

    def __init__(self, field: str, text: str, index: int | None = None) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text
        self.index = index


def each(read: Callable[[Mapping[str, Any]], _T], tables: Iterable[Mapping[str, Any]]) -> tuple[_T, ...]:
    """Read every table of a list; a Fault says in which of them it lies."""
    found = []
    for index, table in enumerate(tables):
        try:
            found.append(read(table))
        except Fault as fault:
            raise Fault(fault.field, fault.text, index) from None
    return tuple(found)


class Fields:
    """A table read key by key; `finish` refuses the keys nobody asked for."""

    def __init__(self, table: Mapping[str, Any], prefix: str = "") -> None:
        self._rest = dict(table)
        self._prefix = prefix

    def has(self, key: str) -> bool:
        return key in self._rest

    def optional(self, key: str, read: Callable[[str], _T]) -> _T | None:
        return read(key) if key in self._rest else None

    def string(self, key: str, *, pattern: str | None = None) -> str:
        value = self._take(key)
        if not isinstance(value, str):
            raise self._fault(key, "must be a string")
        if not value.strip() or value != value.strip():
            raise self._fault(key, "must not be empty or begin or end with a space")
        if len(value) > MAX_TEXT or _CONTROL.search(value):
            raise self._fault(key, f"must be one line of at most {MAX_TEXT} characters")
        if found := _UNSEEN.search(value):
            raise self._fault(key, f"has the invisible character U+{ord(found[0]):04X}")
        if pattern is not None and not re.fullmatch(pattern, value, re.ASCII):
            raise self._fault(key, f"{value!r} does not have the form {pattern}")
        return value

    def text(self, key: str) -> Text:
        """Both languages, each in its own script: a copied, untranslated text is a fault."""
        inner = Fields(self.table(key), f"{self._prefix}{key}.")
        zh, en = inner.string("zh"), inner.string("en")
        inner.finish()
        if not _HAN.search(zh):
            raise self._fault(f"{key}.zh", "has no Chinese character")
        if _HAN.search(en):
            raise self._fault(f"{key}.en", "has Chinese characters")
        return Text(zh, en)

    def texts(self, key: str) -> tuple[Text, ...]:
        """At least one text, such as the steps of a guide."""
        entries = self.tables(key)
        if not 1 <= len(entries) <= MAX_LIST:
            raise self._fault(key, f"must have 1 to {MAX_LIST} entries")
        return each(lambda entry: Fields({key: entry}, self._prefix).text(key), entries)

    def table(self, key: str) -> Mapping[str, Any]:
        value = self._take(key)
        if not isinstance(value, dict):
            raise self._fault(key, "must be a table")
        return value

    def tables(self, key: str) -> list[Mapping[str, Any]]:
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self._fault(key, "must be a list of tables")
        return value

    def strings(self, key: str) -> tuple[str, ...]:
        """At least one string, none twice."""
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise self._fault(key, "must be a list of strings")
        if not 1 <= len(value) <= MAX_LIST:
            raise self._fault(key, f"must have 1 to {MAX_LIST} entries")
        if len(set(value)) != len(value):
            raise self._fault(key, "names an entry twice")
        return tuple(value)

    def member(self, key: str, kind: type[_E]) -> _E:
        return self._member(key, kind, self.string(key))

    def members(self, key: str, kind: type[_E]) -> tuple[_E, ...]:
        return tuple(self._member(key, kind, value) for value in self.strings(key))

    def count(self, key: str, *, least: int = 1, most: int | None = None) -> int:
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least or (most and value > most):
            limits = f"from {least} to {most}" if most else f"from {least}"
            raise self._fault(key, f"must be a whole number {limits}")
        return value

    def flag(self, key: str) -> bool:
        value = self._take(key)
        if not isinstance(value, bool):
            raise self._fault(key, "must be true or false")
        return value

    def day(self, key: str) -> date:
        value = self._take(key)
        if not isinstance(value, date) or isinstance(value, datetime):
            raise self._fault(key, "must be a date written as 2026-01-31, without quotes")
        return value

    def finish(self) -> None:
        if self._rest:
            raise self._fault(min(self._rest), "is not a known field")

    def _take(self, key: str) -> Any:
        if key not in self._rest:
            raise self._fault(key, "is missing")
        return self._rest.pop(key)

    def _member(self, key: str, kind: type[_E], value: str) -> _E:
        try:
            return kind(value)
        except ValueError:
            choices = ", ".join(member.value for member in kind)
            raise self._fault(key, f"{value!r} is none of {choices}") from None

    def _fault(self, key: str, text: str) -> Fault:
        return Fault(f"{self._prefix}{key}", text)
