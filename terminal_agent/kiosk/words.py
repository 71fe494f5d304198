"""The words of every screen, in both languages: files of `words/`, tables `[zh.<screen>]` and `[en.<screen>]`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

Lang = Literal["zh", "en"]
LANGS: Final[tuple[Lang, ...]] = ("zh", "en")
FOLDER: Final = Path(__file__).parent / "words"
SHARED: Final = "shared"
SAY: Final = "say"


class WordsError(ValueError):
    """A word file that is no TOML, or two that give the same word."""


@cache
def words() -> dict[str, dict[str, dict[str, str]]]:
    """By language and screen. Raises WordsError."""
    found: dict[str, dict[str, dict[str, str]]] = {lang: {} for lang in LANGS}
    for file in sorted(FOLDER.glob("*.toml")):
        try:
            tables = tomllib.loads(file.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise WordsError(f"{file.name}: {error}") from error
        for lang, screens in tables.items():
            for screen, texts in screens.items():
                known = found[lang].setdefault(screen, {})
                if twice := known.keys() & texts.keys():
                    raise WordsError(f"{file.name}: {lang}.{screen}.{min(twice)} stands twice")
                known.update(texts)
    return found


@cache
def spoken(lang: Lang) -> tuple[str, ...]:
    """Every sentence the machine may say; nothing else is ever spoken, so no person's data is."""
    return tuple(dict.fromkeys(texts[SAY] for texts in words()[lang].values() if SAY in texts))


@dataclass(frozen=True, slots=True)
class ScreenWords:
    """The words of one screen in one language; what it has not is taken from the shared ones."""

    lang: Lang
    screen: str
    values: Mapping[str, Any]

    def __call__(self, key: str, **values: Any) -> str:
        """Raises KeyError for a word that is nowhere."""
        text = self._find(key)
        if text is None:
            raise KeyError(f"{self.lang}.{self.screen}.{key}")
        return text.format_map({**self.values, **values})

    def has(self, key: str) -> bool:
        return self._find(key) is not None

    def own(self, key: str) -> bool:
        """Of the screen itself, not a shared one."""
        return key in words()[self.lang].get(self.screen, {})

    def of(self, screen: str) -> ScreenWords:
        """The words of another table, with the same values."""
        return ScreenWords(self.lang, screen, self.values)

    def lines(self, key: str) -> Iterator[str]:
        """The parts of a word that has several, one a line."""
        yield from (line for line in self(key).splitlines() if line.strip())

    def _find(self, key: str) -> str | None:
        tables = words()[self.lang]
        for table in (self.screen, SHARED):
            if key in tables.get(table, {}):
                return tables[table][key]
        return None
