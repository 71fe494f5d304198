"""Lists on a screen that does not scroll: pages, turned by buttons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")
EARLIER: Final = "previous"
LATER: Final = "next"


def page_of(things: Sequence[T], number: int, size: int) -> tuple[Sequence[T], tuple[str, ...]]:
    """The things of page `number` from 0, and which turns there are."""
    start = number * size
    before = (EARLIER,) if number else ()
    after = (LATER,) if start + size < len(things) else ()
    return things[start : start + size], (*before, *after)


def turned(number: int, act: str) -> int:
    return max(0, number + {EARLIER: -1, LATER: 1}.get(act, 0))
