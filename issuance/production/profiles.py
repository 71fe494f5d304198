"""File profiles: for each partner the columns of the files to it and from it, as data (`formats/*.toml`).

A line is its columns joined by the delimiter, without quotes; so no value may hold the delimiter, a line end or another
control character. The first line of a file repeats the titles.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final

from cardlib.identity import IdentityError, SocialSecurityNumber, validate_card_number
from issuance.production.states import Stage

ROSTER: Final = "roster"
STAGES: Final = (ROSTER, *Stage)
MAX_LINE: Final = 8192
"""Bytes of one line at most; a longer one is refused and skipped."""
NEWLINE: Final = b"\r\n"
_DIRECTORY = Path(__file__).parent / "formats"
_IDENTITY = {"sequence", "card_number"}
_NEEDED: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    (ROSTER, "incoming"): frozenset(
        {"sequence", "social_security_number", "name", "sex", "ethnic_group", "birthplace", "birth_date"}
    ),
    (Stage.BANK, "outgoing"): frozenset(_IDENTITY | {"social_security_number", "name"}),
    (Stage.BANK, "incoming"): frozenset(_IDENTITY | {"result", "bank", "bank_card", "account", "reason"}),
    (Stage.CA, "outgoing"): frozenset(_IDENTITY),
    (Stage.CA, "incoming"): frozenset(_IDENTITY | {"result", "certificate", "reason"}),
    (Stage.FACTORY, "outgoing"): frozenset(_IDENTITY | {"social_security_number", "name"}),
    (Stage.FACTORY, "incoming"): frozenset(
        _IDENTITY
        | {"issue_date", "expiry_date", "identification_code", "reset_information", "box", "failed_at", "reason"}
    ),
    (Stage.KEYS, "outgoing"): frozenset(_IDENTITY | {"reset_information", "challenge", "original"}),
    (Stage.KEYS, "incoming"): frozenset(_IDENTITY | {"authentication", "reason"}),
}
"""What the work on a stage cannot do without; a partner's further columns are free."""
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_SEQUENCE = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_HEX = re.compile(r"(?:[0-9A-F]{2})*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ProfileError(Exception):
    """A profile file is wrong; the message names file and field."""

    failure: ClassVar[str] = "INTERNAL"


@dataclass(frozen=True, slots=True)
class LineError:
    """Why a line is refused: the column's title (or a part of the file), the rule, and the limits its words quote."""

    column: str
    rule: str
    limits: dict[str, Any] = field(default_factory=dict)


Check = Callable[[str], LineError | None]


@dataclass(frozen=True, slots=True)
class Column:
    key: str
    title: str
    title_en: str
    type: str
    required: bool
    max_bytes: int = 0
    min_length: int = 0
    max_length: int = 0
    bytes: int = 0
    codes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    """Values by key, the empty ones left out; with errors they are what could be read."""

    values: dict[str, str]
    errors: list[LineError]

    @property
    def sequence(self) -> int | None:
        text = self.values.get("sequence", "")
        return int(text) if _SEQUENCE.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class Layout:
    """One file's columns."""

    delimiter: str
    columns: tuple[Column, ...]
    encoding: str
    file_name: str
    checks: tuple[Check, ...]

    @property
    def header(self) -> bytes:
        return self.delimiter.join(column.title for column in self.columns).encode(self.encoding) + NEWLINE

    def is_header(self, line: bytes) -> bool:
        return line == self.header.removesuffix(NEWLINE)

    def encode(self, values: Mapping[str, str]) -> tuple[bytes, list[LineError]]:
        """The line with its end; what does not fit the columns is named, and the line must not be sent."""
        texts = [values.get(column.key, "") for column in self.columns]
        errors = [
            error
            for column, check, text in zip(self.columns, self.checks, texts, strict=True)
            if (error := self._problem(column, check, text)) is not None
        ]
        line = self.delimiter.join(texts).encode(self.encoding, errors="replace") + NEWLINE
        return line, errors

    def parse(self, line: bytes) -> Parsed:
        """A line without its end. Never raises; whatever the bytes are, the values or what is wrong come back."""
        if len(line) > MAX_LINE:
            return Parsed({}, [LineError("", "file_line_too_long", {"max_length": MAX_LINE})])
        try:
            text = line.decode(self.encoding)
        except UnicodeDecodeError:
            return Parsed({}, [LineError("", "file_encoding", {"expected": self.encoding.upper()})])
        texts = text.split(self.delimiter)
        if len(texts) != len(self.columns):
            first = {"sequence": texts[0]} if self.columns[0].key == "sequence" else {}
            return Parsed(first, [LineError("", "file_columns", {"expected": len(self.columns)})])
        errors = []
        values = {}
        for column, check, value in zip(self.columns, self.checks, texts, strict=True):
            error = self._problem(column, check, value)
            if error is not None:
                errors.append(error)
            if value:
                values[column.key] = value
        return Parsed(values, errors)

    def _problem(self, column: Column, check: Check, value: str) -> LineError | None:
        if not value:
            return LineError(column.title, "file_required") if column.required else None
        if _CONTROL.search(value) or self.delimiter in value:
            return LineError(column.title, "file_character")
        return check(value)

    def title(self, key: str) -> str:
        return next((column.title for column in self.columns if column.key == key), key)


@dataclass(frozen=True, slots=True)
class Profile:
    """What one partner of one stage is sent and sends back."""

    id: str
    stage: str
    name_zh: str
    name_en: str
    partner: str
    outgoing: Layout | None
    incoming: Layout


@lru_cache(maxsize=8)
def load_profiles(directory: Path | None = None) -> Mapping[str, Profile]:
    """Every profile of `directory` (default: the shipped ones) by its file name. Raises ProfileError."""
    files = sorted((directory or _DIRECTORY).glob("*.toml"))
    if not files:
        raise ProfileError("no file profiles found")
    return {file.stem: _load(file) for file in files}


def _load(file: Path) -> Profile:
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        profile = Profile(
            id=file.stem,
            stage=data["stage"],
            name_zh=data["name_zh"],
            name_en=data["name_en"],
            partner=data["partner"],
            outgoing=_layout(data, "outgoing") if "outgoing" in data else None,
            incoming=_layout(data, "incoming"),
        )
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, LookupError) as error:
        raise ProfileError(f"{file.name}: {error}") from None
    if profile.stage not in STAGES:
        raise ProfileError(f"{file.name}: stage is none of {', '.join(STAGES)}")
    for direction, layout in (("outgoing", profile.outgoing), ("incoming", profile.incoming)):
        needed = _NEEDED.get((profile.stage, direction), frozenset())
        held = {column.key for column in layout.columns} if layout is not None else set()
        if needed - held:
            raise ProfileError(f"{file.name}: {direction} lacks {', '.join(sorted(needed - held))}")
    return profile


def _layout(data: Mapping[str, Any], direction: str) -> Layout:
    table = data[direction]
    encoding = data["encoding"]
    "".encode(encoding)
    columns = tuple(
        Column(**column | {"codes": tuple((str(k), str(v)) for k, v in column.get("codes", {}).items())})
        for column in table["column"]
    )
    if len(table["delimiter"]) != 1 or len({column.key for column in columns}) != len(columns):
        raise KeyError("one delimiter, and every key once")
    checks = tuple(_CHECKS[column.type](column, encoding) for column in columns)
    return Layout(table["delimiter"], columns, encoding, table.get("file_name", ""), checks)


# -- types of columns -------------------------------------------------------------------------------------------------


def _text(column: Column, encoding: str) -> Check:
    error = LineError(column.title, "file_bytes", {"max_length": column.max_bytes})

    def check(value: str) -> LineError | None:
        try:
            size = len(value.encode(encoding))
        except UnicodeEncodeError:
            return LineError(column.title, "file_character")
        return None if size <= column.max_bytes else error

    return check


def _pattern(pattern: re.Pattern[str], rule: str) -> Callable[[Column, str], Check]:
    def make(column: Column, _encoding: str) -> Check:
        error = LineError(column.title, rule)
        return lambda value: None if pattern.fullmatch(value) else error

    return make


def _code(column: Column, _encoding: str) -> Check:
    known = dict(column.codes)
    error = LineError(column.title, "file_code", {"expected": ", ".join(known)})
    return lambda value: None if value in known else error


def _digits(column: Column, _encoding: str) -> Check:
    limits = {"min_length": column.min_length, "max_length": column.max_length}
    error = LineError(column.title, "file_digits", limits)

    def check(value: str) -> LineError | None:
        return None if column.min_length <= len(value) <= column.max_length and _DIGITS.fullmatch(value) else error

    return check


def _hex(column: Column, _encoding: str) -> Check:
    error = LineError(column.title, "file_hex", {"expected": 2 * column.bytes})
    return lambda value: None if len(value) == 2 * column.bytes and _HEX.fullmatch(value) else error


def _date8(column: Column, _encoding: str) -> Check:
    error = LineError(column.title, "file_date")
    return lambda value: None if real_date(value) else error


def _card_number(column: Column, _encoding: str) -> Check:
    error = LineError(column.title, "file_check_digit")

    def check(value: str) -> LineError | None:
        try:
            return None if validate_card_number(value) == value else error
        except IdentityError:
            return error

    return check


def _person_number(column: Column, _encoding: str) -> Check:
    error = LineError(column.title, "file_check_digit")

    def check(value: str) -> LineError | None:
        try:
            return None if SocialSecurityNumber.parse(value).number == value else error
        except IdentityError:
            return error

    return check


def _bank_card(column: Column, _encoding: str) -> Check:
    error = LineError(column.title, "file_check_digit")
    return lambda value: None if 15 <= len(value) <= 19 and _DIGITS.fullmatch(value) and luhn(value) else error


_CHECKS: Final[Mapping[str, Callable[[Column, str], Check]]] = {
    "sequence": _pattern(_SEQUENCE, "file_sequence"),
    "text": _text,
    "code": _code,
    "digits": _digits,
    "hex": _hex,
    "date8": _date8,
    "card_number": _card_number,
    "person_number": _person_number,
    "bank_card": _bank_card,
}


def real_date(text: str) -> bool:
    """YYYYMMDD of a day that exists."""
    if len(text) != 8 or not _DIGITS.fullmatch(text):
        return False
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True


def luhn(number: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for place, character in enumerate(reversed(number)):
        digit = int(character) * (1 + place % 2)
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0
