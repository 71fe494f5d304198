"""Sentences for the person at a kiosk (`words.toml`), in both languages."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_name("words.toml")
Pair = tuple[str, str]


@cache
def _words() -> dict[str, dict[str, list[str]]]:
    loaded: dict[str, dict[str, list[str]]] = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return loaded


def words(part: str, key: str) -> Pair:
    zh, en = _words()[part][key]
    return zh, en
