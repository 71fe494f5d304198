"""Digits that somebody who knows the holder, or nobody in particular, tries first: one rule for cards and phones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import pairwise
from typing import Final

_MIN_DISTINCT: Final = 3
_RUN: Final = 4
"""So many digits in a row that climb or fall by one, or are equal."""


class Guess(StrEnum):
    """Why digits are guessed."""

    REPEATED = "repeated"
    ROW = "row"
    PERSONAL = "personal"


def guess(digits: str, known: Iterable[str] = ()) -> Guess | None:
    """None for digits nobody tries first. `known`: texts about the holder, in none of which they may stand."""
    half = len(digits) // 2
    if len(set(digits)) < _MIN_DISTINCT or digits[half:] == digits[:half] or digits[::2] == digits[1::2]:
        return Guess.REPEATED
    steps = [int(b) - int(a) for a, b in pairwise(digits)]
    for n in range(len(digits) - _RUN + 1):
        run = set(steps[n : n + _RUN - 1])
        if len(run) == 1 and run <= {-1, 0, 1}:
            return Guess.REPEATED if run == {0} else Guess.ROW
    return Guess.PERSONAL if any(digits in text for text in known) else None


def about(number: str, birth_date: str) -> Iterator[str]:
    """What of a holder is tried: the number, and the birth date (YYYYMMDD) however it is written."""
    year, month, day = birth_date[:4], birth_date[4:6], birth_date[6:]
    yield from (number, birth_date, month + day + year, day + month + year)
    yield from (day + month + year[2:], month + day + year[2:])
