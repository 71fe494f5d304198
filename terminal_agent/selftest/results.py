"""What a self test found, in both languages."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

from cardlib.failures import FailureCode, describe

_FILE: Final = Path(__file__).with_name("words.toml")


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Words:
    """One text in both languages."""

    zh: str
    en: str

    def __str__(self) -> str:
        return f"{self.zh} / {self.en}" if self.zh != self.en else self.zh


@dataclass(frozen=True, slots=True)
class Result:
    """One thing tried. `code` is a FailureCode or a name of `faults` in words.toml; cause and remedy are empty where
    all is well."""

    name: str
    title: Words
    outcome: Outcome
    detail: str = ""
    code: str = ""
    cause: Words = Words("", "")
    remedy: Words = Words("", "")

    @property
    def about(self) -> str:
        """Which reader or port, where a kind may be there several times."""
        return self.name.partition(": ")[2]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title_zh": self.title.zh,
            "title_en": self.title.en,
            "outcome": self.outcome.value,
            "detail": self.detail,
            "code": self.code,
            "cause_zh": self.cause.zh,
            "cause_en": self.cause.en,
            "remedy_zh": self.remedy.zh,
            "remedy_en": self.remedy.en,
        }


def passed(name: str, detail: str = "") -> Result:
    return Result(name, title_of(name), Outcome.PASSED, detail)


def skipped(name: str, why: str) -> Result:
    """`why` is a name of `reasons` in words.toml."""
    return Result(name, title_of(name), Outcome.SKIPPED, str(_words("reasons", why)))


def failed(name: str, code: FailureCode, detail: str = "") -> Result:
    words = describe(code)
    cause, remedy = Words(words.cause_zh, words.cause_en), Words(words.remedy_zh, words.remedy_en)
    said = str(Words(words.text_zh, words.text_en))
    return Result(name, title_of(name), Outcome.FAILED, f"{said}: {detail}" if detail else said, code, cause, remedy)


def faulty(name: str, fault: str, detail: str) -> Result:
    """A fault of the installation, which no call at a counter can meet; `fault` is a name in words.toml."""
    words = _texts()["faults"][fault]
    cause, remedy = Words(words["cause_zh"], words["cause_en"]), Words(words["remedy_zh"], words["remedy_en"])
    return Result(name, title_of(name), Outcome.FAILED, detail, fault, cause, remedy)


def wish(name: str) -> Words:
    """What somebody at the terminal is asked to do."""
    return _words("wishes", name)


def title_of(name: str) -> Words:
    """A name may go on after a colon, with what it is about: `reader: Counter Reader 00 00`."""
    return _words("titles", name.partition(": ")[0])


def _words(group: str, name: str) -> Words:
    texts = _texts()[group][name]
    return Words(texts["zh"], texts["en"])


@cache
def _texts() -> Mapping[str, Any]:
    return tomllib.loads(_FILE.read_text("utf-8"))
