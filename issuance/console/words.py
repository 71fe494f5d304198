"""Words of the pages: one TOML file an area, the same keys in `[zh]` and `[en]`; templates say `w.<area>.<key>`."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Literal

Language = Literal["zh", "en"]
Words = dict[str, dict[str, str]]
FOLDER = Path(__file__).parent / "words"


@cache
def words(language: Language) -> Words:
    """Texts by area and key."""
    return {path.stem: tomllib.loads(path.read_text(encoding="utf-8"))[language] for path in FOLDER.glob("*.toml")}
