"""Words of the gate in both languages."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("words.toml")


@dataclass(frozen=True, slots=True)
class Both:
    """One text in Chinese and in English."""

    zh: str
    en: str


NOTHING: Final = Both("", "")


@cache
def words() -> Mapping[str, Mapping[str, str]]:
    """By language, then by key."""
    with FILE.open("rb") as file:
        return tomllib.load(file)


def both(key: str, **values: str) -> Both:
    table = words()
    return Both(table["zh"][key].format(**values), table["en"][key].format(**values))
