"""What a panel shows: sections of facts and acts, in both languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Tone = Literal["ok", "warn", "bad", "info", "idle"]


@dataclass(frozen=True, slots=True)
class Both:
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    text: Both


@dataclass(frozen=True, slots=True)
class Act:
    """A button; with `choices` one of them is taken, and its value comes with the act."""

    name: str
    text: Both
    choices: tuple[Choice, ...] = ()
    is_grave: bool = False


@dataclass(frozen=True, slots=True)
class Fact:
    """One line: what, and how it is, as a chip of this tone."""

    text: Both
    tone: Tone = "info"


@dataclass(frozen=True, slots=True)
class Section:
    icon: str
    """Of the kit's sprite: card, reader, staff …"""
    title: Both
    facts: tuple[Fact, ...] = ()
    acts: tuple[Act, ...] = ()


class Hands(Protocol):
    """Called from threads of the panel, one at a time."""

    title: Both
    screen_url: str
    """The machine's own screen, which the panel links to."""

    def sections(self) -> list[Section]: ...

    def do(self, act: str, value: str) -> None:
        """Raises ValueError for an act or value that is not offered now."""
        ...
