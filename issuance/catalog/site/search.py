"""Finding items by words: Chinese, English, first letters of pinyin, and what people call things.

All words must be found. A Chinese word that stands nowhere as it is may still match by most of its pairs of
characters: 公园年票 finds 公园游览年票.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from apps_catalog import Catalog, Item, Text
from issuance.catalog.site.initials import readings

_WORD: Final = re.compile(r"[a-z0-9]+|[\u3400-\u9fff\U00020000-\U0003ffff]+")
_MIN_INITIALS: Final = 2
_SHORT: Final = 3
_ALIKE: Final = 0.6
"""So much of a Chinese word's pairs of characters must be found where the word itself is not."""
_NAME, _SUMMARY, _REST = 8.0, 3.0, 1.0
_MEANT: Final = 0.5
"""What a word only means counts half of what it says."""
_SAID_FILE: Final = Path(__file__).parent / "said.toml"


def words_of(text: str) -> tuple[str, ...]:
    """Words to look for; Chinese runs on until something else comes."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


class Index:
    """Of one catalog; safe to share among threads."""

    def __init__(self, catalog: Catalog) -> None:
        domains = {domain.key: domain.name for domain in catalog.domains}
        places = (*catalog.regions, *catalog.areas)
        self._entries = {
            item.id: _Entry.of(
                item, [domains[item.domain], *(place.name for place in places if item.is_offered_in(place.code))]
            )
            for item in catalog.items
        }

    def score(self, item: Item, words: Iterable[str]) -> float:
        """How well an item answers, 0 where one of the words is not found."""
        entry, total = self._entries[item.id], 0.0
        for word in words:
            best = max(entry.score(word), *(entry.score(meant) * _MEANT for meant in said_for(word)), 0.0)
            if not best:
                return 0.0
            total += best
        return total


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    summary: str
    rest: str
    initials: tuple[str, ...]

    @classmethod
    def of(cls, item: Item, names: Iterable[Text]) -> _Entry:
        texts = [item.eligibility, item.provider, item.department, item.terms, *names]
        rest = " ".join(f"{text.zh} {text.en}" for text in texts)
        both = (item.name.zh, item.name.en)
        return cls(_folded(*both), _folded(item.summary.zh, item.summary.en), _folded(rest), readings(item.name.zh))

    def score(self, word: str) -> float:
        if word.isascii():
            return self._score_latin(word)
        if word in self.name:
            return _NAME
        if word in self.summary:
            return _SUMMARY
        if word in self.rest:
            return _REST
        return _alike(word, self.name) * _SUMMARY or _alike(word, self.name + self.summary) * _REST

    def _score_latin(self, word: str) -> float:
        """At the beginning of a word, a short one whole: `librar` finds `libraries`, but `bus` no `business`."""
        begin = f" {word}" if len(word) > _SHORT else f" {word} "
        if begin in self.name:
            return _NAME
        if len(word) >= _MIN_INITIALS and any(word in reading for reading in self.initials):
            return _NAME
        return _SUMMARY if begin in self.summary else _REST if begin in self.rest else 0.0


def _folded(*texts: str) -> str:
    """Every Latin word stands between blanks."""
    text = unicodedata.normalize("NFKC", " ".join(texts)).casefold()
    return re.sub(r"[a-z0-9]+", r" \g<0> ", text)


def _alike(word: str, text: str) -> float:
    pairs = [word[place : place + 2] for place in range(len(word) - 1)]
    found = sum(pair in text for pair in pairs) / len(pairs) if len(pairs) > 1 else 0.0
    return found if found >= _ALIKE else 0.0


@cache
def _said() -> dict[str, tuple[str, ...]]:
    table = tomllib.loads(_SAID_FILE.read_text(encoding="utf-8"))
    return {word: tuple(meant) for word, meant in table["said"].items()}


def said_for(word: str) -> tuple[str, ...]:
    """The catalog's words for what people say."""
    return _said().get(word, ())
