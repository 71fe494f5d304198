"""What a screen is made of. Values only: words and look are in `words/` and `templates/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

from cardlib.failures import FailureCode

LEAVE: Final = "leave"
BACK: Final = "back"


@dataclass(frozen=True, slots=True)
class Field:
    """One entry of a screen's form: what it must look like as a whole, and at most how long it is."""

    name: str
    pattern: str
    most: int
    value: str = ""
    is_optional: bool = False
    keys: Literal["digits", "id"] = "digits"
    """Which keys the screen offers: ten digits, or the same with X."""


class Said(NamedTuple):
    """A text of the centre in both languages; the page shows that of the moment."""

    zh: str
    en: str


def in_words(value: str | Said, lang: str) -> str:
    return value if isinstance(value, str) else value.zh if lang == "zh" else value.en


@dataclass(frozen=True, slots=True)
class Row:
    """One fact: `key` is the word `row_<key>`. `act` is a button beside it. `word`: the value is the word
    `value_<word>`, in whatever language is chosen."""

    key: str
    value: str | Said
    act: str = ""
    word: str = ""


StageState = Literal["done", "now", "next", "fail"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of long work, word `stage_<key>`."""

    key: str
    state: StageState = "next"
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """One screen. `name` picks words and template, `layout` a common template instead of one of its own.

    `values` fill the {places} of its words. `acts` are its buttons, the main one first; nothing else is taken from
    it but `back`, where it may go back, and leaving. What is shown is masked here already.
    """

    name: str
    layout: str = ""
    acts: tuple[str, ...] = ("ok",)
    fields: tuple[Field, ...] = ()
    rows: tuple[Row, ...] = ()
    stages: tuple[Stage, ...] = ()
    icons: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What a template of its own needs besides."""
    steps: tuple[str, ...] = ()
    step: int = 0
    """Which of `steps` this is, from 1."""
    tone: str = "info"
    refusal: FailureCode | None = None
    back: bool = False
    is_making: bool = False
    """A card is being made: nobody may leave, and no time is over."""
    qr: str = ""
    ring_s: int = 0
    patience: int = 1
    """So many times the usual time, for what people do elsewhere: on their phone, at the pay desk."""


class Need(StrEnum):
    """What a flow cannot do without."""

    CENTRE = "centre"
    ID_READER = "id_reader"
    CARD_SLOT = "card_slot"
    CARD_MACHINE = "card_machine"
    CAMERA = "camera"
    CATALOG = "catalog"
    PIN_ENTRY = "pin_entry"
    SCANNER = "scanner"


@dataclass(frozen=True, slots=True)
class Tile:
    """How a flow stands on the home page."""

    icon: str
    kind: Literal["", "main", "urgent"] = ""
    needs: frozenset[Need] = frozenset()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a person takes along: words of the table `receipt`, numbers masked. `number` is the largest line."""

    title: str
    rows: tuple[tuple[str, str | Said], ...] = ()
    number: str = ""
    next_step: str = ""
    qr: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was pressed and entered."""

    act: str
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> str:
        return self.fields.get(name, "")
