"""Items written back into their files: one item is put, replaced or taken out, the rest of the text stays as it was."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from apps_catalog.catalog import HEAD_FILE
from apps_catalog.model import Item
from apps_catalog.positions import Positions

_NO_PART: Final = re.compile(r"\s*(#.*)?")
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_DAYS: Final = ("effective_from", "effective_to")


def literal(value: Any) -> str:
    """A TOML value on one line; the strings of JSON are TOML strings too."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {literal(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)


def entry(table: Mapping[str, Any]) -> str:
    """One `[[item]]`."""
    return "[[item]]\n" + "".join(f"{key} = {literal(value)}\n" for key, value in table.items())


def file_text(comment: str, owner: str, items: Iterable[Mapping[str, Any]]) -> str:
    """An item file without defaults."""
    parts = [f"# {comment}\nowner = {literal(owner)}\n"]
    return "".join([*parts, *("\n" + entry(item) for item in items)])


def table_of(item: Item) -> dict[str, Any]:
    """The item as a file has it; the reader makes the same item of it."""
    table = {key: value for key, value in item.to_json().items() if value not in (None, []) and key != "owner"}
    for key in _DAYS:
        if key in table:
            table[key] = getattr(item, key)
    rule = {key: value for key, value in table.pop("rule").items() if value not in (None, [], False)}
    if rule:
        table["rule"] = rule
    if item.places:
        table["places"] = [
            {key: value for key, value in place.to_json().items() if value is not None}
            | ({"closed": place.closed} if place.closed else {})
            for place in item.places
        ]
    return table


def with_item(
    files: Mapping[str, bytes], item_id: str, owner: str, table: Mapping[str, Any] | None
) -> dict[str, bytes]:
    """The files with `table` as the item, or without it. `files` are those of a catalog that loads."""
    parsed = {name: _File.of(raw) for name, raw in files.items() if name != HEAD_FILE}
    for name, file in parsed.items():
        for number, known in enumerate(file.items):
            if known["id"] == item_id:
                rest = [*file.items[:number], *([dict(table)] if table else []), *file.items[number + 1 :]]
                return _put(files, name, file, file.cut(number, table), rest)
    if table is None:
        return dict(files)
    name = _place_for(parsed, owner, table)
    if name not in parsed:
        return {**files, name: file_text("Items added in the console.", owner, [table]).encode()}
    file = parsed[name]
    return _put(files, name, file, file.text.rstrip("\n") + "\n\n" + entry(file.own(table)), [*file.items, dict(table)])


def _place_for(parsed: Mapping[str, _File], owner: str, table: Mapping[str, Any]) -> str:
    """Of the owner's files the one with most items of the domain; none whose defaults say what the item does not."""
    fitting = [name for name, file in parsed.items() if file.owner == owner and not set(file.defaults) - set(table)]
    return max(fitting, key=lambda name: parsed[name].count(table["domain"]), default=f"{owner}-added.toml")


def _put(
    files: Mapping[str, bytes], name: str, file: _File, text: str, items: list[dict[str, Any]]
) -> dict[str, bytes]:
    """`text`, if it says what it should; else the file anew without its defaults and comments."""
    if not items:
        return {known: raw for known, raw in files.items() if known != name}
    try:
        says_it = _File.of(text.encode()).items == items
    except (tomllib.TOMLDecodeError, KeyError):
        says_it = False
    if not says_it:
        text = file_text("Written anew by the console.", file.owner, items)
    return {**files, name: text.encode()}


@dataclass(frozen=True)
class _File:
    """`items` are whole: with what the defaults give them."""

    text: str
    owner: str
    defaults: dict[str, Any]
    items: list[dict[str, Any]]

    @classmethod
    def of(cls, raw: bytes) -> _File:
        text = raw.decode("utf-8").replace("\r\n", "\n")
        table = tomllib.loads(text)
        defaults = table.get("defaults", {})
        return cls(text, table["owner"], defaults, [{**defaults, **item} for item in table["item"]])

    def count(self, domain: str) -> int:
        return sum(item["domain"] == domain for item in self.items)

    def own(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """What the defaults do not say already."""
        return {key: value for key, value in table.items() if key not in self.defaults or self.defaults[key] != value}

    def cut(self, number: int, table: Mapping[str, Any] | None) -> str:
        """The text with another item, or none, in the place of one; blank lines and comments after it stay."""
        lines = _LINE.findall(self.text)
        positions = Positions(self.text)
        found = [positions.find(path) for path in (("item", number), ("item", number + 1), ("defaults",))]
        first = found[0].line - 1 if found[0] else 0
        after = [position.line - 1 for position in found[1:] if position and position.line - 1 > first]
        last = min(after, default=len(lines))
        while last > first + 1 and _NO_PART.fullmatch(lines[last - 1].rstrip("\n")):
            last -= 1
        return "".join([*lines[:first], entry(self.own(table)) if table else "", *lines[last:]])


def say_same(one: bytes, other: bytes) -> bool:
    """Whether two item files that load hold the same items, in whatever order."""
    first, second = (
        (file.owner, sorted(file.items, key=lambda item: str(item["id"]))) for file in (_File.of(one), _File.of(other))
    )
    return first == second
