"""A list of items as CSV or XLSX becomes an item file of the catalog: every line or none, with a report by line."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from apps_catalog.catalog import HEAD_FILE, Catalog, load, read_defaults
from apps_catalog.errors import CatalogError
from apps_catalog.field_names import FIELD_HELP, FIELD_NAMES
from apps_catalog.fields import Fault
from apps_catalog.model import JOINT, LABELS, LOCAL, Carrier, Channel, Equipment, Function, Level, Standing, Validation
from apps_catalog.reader import Head, read_item
from apps_catalog.rule import CardState, Category, Opened
from apps_catalog.tables import TableError, read_rows
from apps_catalog.writing import file_text

_TEXTS: Final = ("name", "summary", "department", "provider", "eligibility", "terms", "accessibility", "change")
_LISTS: Final[Mapping[str, type[StrEnum]]] = {
    "carriers": Carrier,
    "functions": Function,
    "channels": Channel,
    "equipment": Equipment,
    "card_states": CardState,
    "categories": Category,
    "opened": Opened,
}
_SINGLE: Final[Mapping[str, type[StrEnum]]] = {"level": Level, "validation": Validation, "standing": Standing}
_NUMBERS: Final = ("version", "age_from", "age_to", "ecard_level")
_DAYS: Final = ("effective_from", "effective_to")
_RULE: Final = ("age_from", "age_to", "card_states", "ecard_level", "categories", "opened")
_ZH: Final = {key: text.zh for key, text in FIELD_NAMES.items()} | {
    "id": "事项编号",
    "name": "事项名称",
    "version": "版本",
    "change": "变更说明",
    "age_from": "最低年龄",
    "age_to": "最高年龄",
    "card_states": "卡状态",
    "ecard_level": "电子社保卡等级",
    "categories": "人员类别",
    "opened": "已开通功能",
}
_NOT_IN_LISTS: Final = frozenset({"rule", "places", "guide", "materials", "returns", "differs"})
"""Fields with a structure of their own; they are added to the file that comes out."""

_FIELDS: Final = (*(key for key in FIELD_NAMES if key not in _NOT_IN_LISTS), "version", "change", *_RULE)
_BRACKETS: Final = str.maketrans({"(": "", ")": "", "（": "", "）": "", "_": ".", " ": ""})
_SEPARATOR: Final = re.compile(r"[、;；|\n]")
_DAY: Final = re.compile(r"(\d{4})(?:-|/|\.|年)?(\d{1,2})(?:-|/|\.|月)?(\d{1,2})日?", re.ASCII)
_SPACE: Final = re.compile(r"\s+")


def _names_of(key: str) -> dict[str, str]:
    zh = _ZH[key]
    if key not in _TEXTS:
        return {name.replace("_", "."): key for name in (zh, key)}
    return {zh: f"{key}.zh", f"{key}.zh": f"{key}.zh", f"{zh}英文": f"{key}.en", f"{key}.en": f"{key}.en"}


_HEADINGS: Final = {name: column for key in ("id", *_FIELDS) for name, column in _names_of(key).items()}


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one line of the list. `column` is the heading where the fault lies, empty without one."""

    number: int
    item: str
    fault: str = ""
    column: str = ""
    remedy: str = ""

    @classmethod
    def refused(cls, number: int, item: str, field: str, text: str) -> Line:
        first = field.partition(".")[0]
        return cls(number, item, text, _heading(field), FIELD_HELP.get("rule" if first in _RULE else first, ""))

    def to_json(self) -> dict[str, Any]:
        return {
            "line": self.number,
            "item": self.item,
            "column": self.column,
            "fault": self.fault,
            "remedy": self.remedy,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """`written` is the file that holds the items, None when a line had a fault and nothing was written."""

    lines: tuple[Line, ...]
    written: Path | None

    @property
    def faults(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.fault)


def headings() -> list[str]:
    """The headings of a list, in Chinese; the English name of each field, such as `name_en`, is understood as well."""
    found = []
    for key in ("id", *_FIELDS):
        found += [_ZH[key], f"{_ZH[key]}（英文）"] if key in _TEXTS else [_ZH[key]]
    return found


def import_list(table: Path, into: Path, *, defaults: Path | None = None, replace: bool = False) -> Report:
    """Read `table` and write its items to a TOML file of the same name in catalog directory `into`.

    `defaults` is an item file without items: its `owner` and shared fields fill what the list does not say. The
    file is written when every line is an item and the whole directory still is a catalog. Raises TableError for a
    file that is no list, CatalogError for a directory that is none.
    """
    catalog = load(into)
    owner, shared = (JOINT, {}) if defaults is None else read_defaults(defaults)
    rows = read_rows(table)
    if len(rows) < 2:
        raise TableError(f"{table.name} has no line under its headings")
    columns = _columns(rows[0][1])
    target = into / f"{re.sub(r'[^a-z0-9-]+', '-', table.stem.lower()).strip('-') or 'import'}.toml"
    if target.name == HEAD_FILE or (target.exists() and not replace):
        raise TableError(f"{target.name} is there already")
    words = _Words(catalog)
    lines, items = [], []
    for number, cells in rows[1:]:
        line, item = _line(number, dict(zip(columns, cells, strict=False)), words, owner, shared, catalog.head)
        lines.append(line)
        items.append(item)
    text = file_text(f"Imported from {re.sub(r'[^ -~]', '?', table.name)}.", owner, items)
    if not any(line.fault for line in lines):
        lines = _against_the_rest(into, target, text, lines)
    if any(line.fault for line in lines):
        return Report(tuple(lines), None)
    making = target.with_suffix(".new")
    with making.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    making.replace(target)
    return Report(tuple(lines), target)


class _Words:
    """From what a list says to the codes of the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._areas = {region.name.zh: region.code for region in (*catalog.regions, *catalog.areas)}
        self._areas |= {"全国": "000000", "本地": LOCAL}
        self._domains = {domain.name.zh: domain.key for domain in catalog.domains}
        self._sources = {source.title.zh: source.key for source in catalog.sources}

    def value(self, key: str, text: str) -> Any:
        """Raises Fault."""
        if key in _NUMBERS:
            if not re.fullmatch(r"\d{1,4}", text, re.ASCII):
                raise Fault(key, f"{text!r} is no whole number")
            return int(text)
        if key in _DAYS:
            return _day(key, text)
        if key in ("areas", "holders"):
            return [self._areas.get(part, part) for part in _split(text)]
        if key == "sources":
            return [self._sources.get(part, part) for part in _split(text)]
        if key in _LISTS:
            return [_code(_LISTS[key], part) for part in _split(text)]
        if key in _SINGLE:
            return _code(_SINGLE[key], text)
        if key == "generations":
            return [part if "." in part else f"{part}.0" for part in _split(text)]
        return self._domains.get(text, text) if key == "domain" else text


def _line(
    number: int, cells: Mapping[str, str], words: _Words, owner: str, shared: Mapping[str, Any], head: Head
) -> tuple[Line, dict[str, Any]]:
    name = cells.get("id", "")
    try:
        item = _table(cells, words)
        read_item({**shared, **item}, owner=owner, head=head)
    except Fault as fault:
        return Line.refused(number, name, fault.field, fault.text), {}
    return Line(number, name), {**shared, **item}


def _table(cells: Mapping[str, str], words: _Words) -> dict[str, Any]:
    """The fields of one item as a TOML file would give them; an empty cell is a field not given."""
    item: dict[str, Any] = {}
    for column, text in cells.items():
        if not text:
            continue
        key, _, language = column.partition(".")
        if language:
            item.setdefault(key, {})[language] = _SPACE.sub(" ", text)
        elif key in _RULE:
            item.setdefault("rule", {})[key] = words.value(key, text)
        else:
            item[key] = words.value(key, text)
    return item


def _columns(cells: Sequence[str]) -> list[str]:
    """For each heading its field, `name.zh` and `name.en` for the two languages of a text. Raises TableError."""
    found = []
    for cell in cells:
        column = _HEADINGS.get(_SPACE.sub("", cell).lower().translate(_BRACKETS))
        if column is None:
            raise TableError(f"unknown heading {cell[:40]!r}; there are {', '.join(headings())}")
        if column in found:
            raise TableError(f"heading {cell!r} is there twice")
        found.append(column)
    if "id" not in found:
        raise TableError(f"the heading {_ZH['id']!r} is missing")
    return found


def _against_the_rest(into: Path, target: Path, text: str, lines: list[Line]) -> list[Line]:
    """Load the directory as it would be with the new file; a fault is told at the line of its item."""
    with tempfile.TemporaryDirectory() as name:
        trial = Path(name)
        for file in into.glob("*.toml"):
            shutil.copyfile(file, trial / file.name)
        (trial / target.name).write_text(text, encoding="utf-8")
        try:
            load(trial)
        except CatalogError as exc:
            by_item = {problem.item: problem for problem in exc.problems}
            known = {line.item for line in lines}
            told = [
                Line.refused(line.number, line.item, by_item[line.item].field, by_item[line.item].text)
                if line.item in by_item
                else line
                for line in lines
            ]
            rest = [Line(0, item, str(problem)) for item, problem in by_item.items() if item not in known]
            return told + rest
    return lines


def _split(text: str) -> list[str]:
    return [part.strip() for part in _SEPARATOR.split(text) if part.strip()]


def _code(kind: type[StrEnum], text: str) -> str:
    """The code for a label; what is none stays for the reader to refuse."""
    return next((member.value for member in kind if text in (LABELS[member].zh, LABELS[member].en)), text)


def _day(key: str, text: str) -> date:
    match = _DAY.fullmatch(text)
    try:
        return date(*map(int, match.groups())) if match else date.fromisoformat(text)
    except ValueError:
        raise Fault(key, f"{text!r} is no day such as 2026-01-31") from None


def field_under(heading: str) -> str:
    """The field whose heading it is, empty for what is none: `_heading` backwards, without the language."""
    zh = heading.removesuffix("（英文）")
    return next((key for key, name in _ZH.items() if name == zh), "")


def _heading(field: str) -> str:
    """The heading a person finds in the list for a field such as `name.en` or `rule.age_to`."""
    key, _, rest = field.partition(".")
    key = rest if key == "rule" else key
    return _ZH.get(key, key) + ("（英文）" if rest == "en" else "")
