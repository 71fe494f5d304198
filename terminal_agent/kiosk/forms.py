"""The forms of the kiosk's pages: few fields, short, and each at most once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from terminal_agent.kiosk.screens import Screen

MAX_FORM: Final = 4096
MAX_FIELDS: Final = 16
MAX_NUMBER: Final = 2**31
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,40}")


class FormError(ValueError):
    """Not a form of a page of ours."""


class EntryError(ValueError):
    """What was entered is not what the screen asks for; `fields` names where. The text carries no entry."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        super().__init__("not as asked: " + ", ".join(fields))
        self.fields = fields


def parse(body: bytes) -> dict[str, str]:
    """Name and value of each field (application/x-www-form-urlencoded, UTF-8). Raises FormError."""
    if len(body) > MAX_FORM:
        raise FormError("too long")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=MAX_FIELDS,
            errors="strict",
        )  # fmt: skip
    except ValueError:
        raise FormError("not a form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise FormError("a field stands twice")
    if not all(_NAME.fullmatch(name) for name in fields):
        raise FormError("not a name of a field")
    if any(not char.isprintable() for value in fields.values() for char in value):
        raise FormError("a character that cannot be shown")
    return fields


def number(fields: Mapping[str, str], name: str) -> int:
    """Raises FormError."""
    text = fields.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) < MAX_NUMBER):
        raise FormError(f"{name} is no number")
    return int(text)


def entries(screen: Screen, fields: Mapping[str, str]) -> dict[str, str]:
    """The screen's own fields, without blanks around them. Raises EntryError."""
    found: dict[str, str] = {}
    wrong: list[str] = []
    for field in screen.fields:
        value = fields.get(field.name, "").strip()
        is_given = bool(value) or not field.is_optional
        if is_given and (len(value) > field.most or re.fullmatch(field.pattern, value) is None):
            wrong.append(field.name)
        found[field.name] = value
    if wrong:
        raise EntryError(tuple(wrong))
    return found
