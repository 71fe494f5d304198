"""TOML profiles of key devices: tables that refuse what nobody asked for, and references to secrets.

A profile is a file an operator wrote or a vendor sent: sizes are limited, every mistake is a ProfileError that names
its place, and a PIN or password is never in it.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self, TypeVar

from hsm.api import BadInputError, KeyStoreLockedError

MAX_FILE = 32 * 1024
_MAX_TEXT = 255
_MAX_SECRET = 255
MAX_NUMBER = 0xFFFFFFFF

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class ProfileError(BadInputError):
    """The profile is not one; the text names the place."""

    failure: ClassVar[str] = "INPUT_INVALID"


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a PIN or password is found when it is needed; never the secret itself."""

    file: Path | None = None
    env: str = ""

    def read(self) -> bytes:
        """Without the line's end. Raises KeyStoreLockedError when there is none."""
        try:
            text = os.environ.get(self.env, "") if self.file is None else self.file.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            text = ""
        secret = text.strip("\r\n").encode("utf-8")
        if not 1 <= len(secret) <= _MAX_SECRET:
            raise KeyStoreLockedError(f"no device password in {self.file or self.env}")
        return secret


class ProfileTable:
    """A TOML table that is emptied by reading, so that `end` can refuse what is left over."""

    def __init__(self, values: Any, place: str) -> None:
        if not isinstance(values, dict):
            raise ProfileError(f"{place} is not a table")
        self._values = dict(values)
        self._place = place

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """The whole file; raises ProfileError."""
        if len(content) > MAX_FILE:
            raise ProfileError(f"exceeds {MAX_FILE} bytes")
        try:
            return cls(tomllib.loads(content.decode("utf-8")), "profile")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise ProfileError(f"not TOML: {problem}") from None

    def has(self, name: str) -> bool:
        return name in self._values

    def table(self, name: str) -> Self:
        """An absent table is an error here; ask `has` first for one that may be absent."""
        return type(self)(self._values.pop(name, None), name)

    def take(self, name: str, kind: type[T], default: T | None = None) -> T:
        if default is not None and name not in self._values:
            return default
        value = self._values.pop(name, None)
        if type(value) is not kind:
            self.wrong(name, f"must be a {kind.__name__}")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        if default is not None and name not in self._values:
            return default
        value = self.take(name, str)
        if not 1 <= len(value) <= _MAX_TEXT or not value.isprintable():
            self.wrong(name, f"must be 1 to {_MAX_TEXT} printable characters")
        return value

    def number(self, name: str, low: int = 0, high: int = MAX_NUMBER, *, default: int | None = None) -> int:
        value = self.take(name, int, default)
        if not low <= value <= high:
            self.wrong(name, f"must be {low} to {high}")
        return value

    def choice(self, name: str, default: E) -> E:
        try:
            return type(default)(self.take(name, str, str(default)))
        except ValueError:
            self.wrong(name, f"must be one of {', '.join(type(default))}")

    def secret(self, name: str, folder: Path) -> SecretReference:
        """`{ file = "…" }` (relative to `folder`) or `{ env = "…" }`."""
        reference = self.table(name)
        if reference.has("file") == reference.has("env"):
            self.wrong(name, "needs either file or env, never the secret")
        if reference.has("file"):
            found = SecretReference(file=folder / reference.text("file"))
        else:
            found = SecretReference(env=reference.text("env"))
        reference.end()
        return found

    def wrong(self, name: str, text: str) -> NoReturn:
        raise ProfileError(f"{self._place}.{name} {text}")

    def end(self) -> None:
        """Refuse what nobody asked for: a misspelt option must not be ignored."""
        for name in self._values:
            self.wrong(name[:_MAX_TEXT], "is unknown")
