"""Reading a pack file: every error at once, each with its line.

The first `[[version]]` is complete; a later one names only what changes from its `effective_from` on.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from issuance.input_rules import FieldError, shape_error
from issuance.rules.pack import Institution, Rules

_AT = re.compile(r"\(at line (\d+)")
_HEADER = re.compile(r"^\s*\[+\s*([\w.\"-]+)\s*\]+")
_KEY = re.compile(r"^\s*([\w\"-]+)\s*=")
Path_ = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class PackError:
    """One error of a pack file; `line` counts from 1, None where no line is to blame."""

    file: str
    line: int | None
    location: str
    reason: str
    limits: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> FieldError:
        return shape_error(self.location, self.reason, self.limits)

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        words = self.words
        said = f"{words.text_zh} / {words.text_en}. {words.remedy_zh} / {words.remedy_en}"
        return f"{place}: {self.location} {said} [{self.reason}]"


def read_pack(file: Path) -> tuple[Institution | None, list[Rules], list[PackError]]:
    """Issuer, versions and errors of a file; the first two are whole only without errors."""
    try:
        text = file.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        found = _AT.search(str(error))
        return None, [], [PackError(file.name, int(found[1]) if found else None, "", "toml", {"expected": str(error)})]
    reader = _Reader(file, text)
    versions = reader.versions(data.pop("version", None))
    issuer = reader.issuer(data)
    return issuer, versions, reader.errors


class _Reader:
    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._lines = _lines_of(text)
        self.errors: list[PackError] = []

    def issuer(self, data: dict[str, Any]) -> Institution | None:
        try:
            issuer = Institution.model_validate(data)
        except ValidationError as error:
            self._add(error, ())
            return None
        if issuer.region != self._file.stem:
            self._refuse(("region",), "file_name")
        return issuer

    def versions(self, raw: Any) -> list[Rules]:
        if not isinstance(raw, list) or not raw or not all(isinstance(entry, dict) for entry in raw):
            self._refuse(("version",), "no_versions")
            return []
        made: list[Rules] = []
        whole: dict[str, Any] = {}
        for number, entry in enumerate(raw):
            if number and "effective_from" not in entry:
                self._refuse(("version", number, "effective_from"), "missing")
                continue
            whole = _merged(whole, entry)
            try:
                rules = Rules.model_validate(whole)
            except ValidationError as error:
                self._add(error, ("version", number), inherited=() if number == 0 else self.errors)
                continue
            if made and rules.effective_from <= made[-1].effective_from:
                self._refuse(("version", number, "effective_from"), "not_later")
            made.append(rules)
        return made

    def _add(self, error: ValidationError, prefix: Path_, inherited: Sequence[PackError] = ()) -> None:
        """An error that a later version only inherits is told once, where it was made."""
        told = {(known.location.partition(".")[2].partition(".")[2], known.reason) for known in inherited}
        for problem in error.errors(include_url=False):
            place = tuple(part for part in problem["loc"] if part != "[key]")
            if (".".join(map(str, place)), problem["type"]) not in told:
                self._refuse((*prefix, *place), problem["type"], problem.get("ctx", {}))

    def _refuse(self, path: Path_, reason: str, limits: dict[str, Any] | None = None) -> None:
        location = ".".join(str(part) for part in path)
        self.errors.append(PackError(self._file.name, self._line(path), location, reason, limits or {}))

    def _line(self, path: Path_) -> int | None:
        """Of the key, else of the table it belongs in."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return None


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in change.items():
        old = base.get(name)
        merged[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _lines_of(text: str) -> dict[Path_, int]:
    """Line of every table and key that stands at the beginning of a line; the n-th [[version]] is ("version", n)."""
    lines: dict[Path_, int] = {}
    table: Path_ = ()
    versions = -1
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            parts = tuple(part.strip('"') for part in header[1].split("."))
            versions += line.lstrip().startswith("[[version]]")
            table = ("version", max(versions, 0), *parts[1:]) if parts[0] == "version" else parts
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, key[1].strip('"')), number)
    return lines
