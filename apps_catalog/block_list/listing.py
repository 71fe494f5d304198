"""A text file of what is blocked: `KIND,NUMBER` on each line (`Kind`); empty lines and `#` lines are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from apps_catalog.block_list.keys import NUMBER_DIGITS, Kind
from apps_catalog.errors import QueryError

_MAX_LINE: Final = 80
_KINDS: Final = ", ".join(Kind)
_HEX: Final = frozenset("0123456789abcdefABCDEF")


def read_listing(path: Path) -> Iterator[tuple[Kind, str]]:
    """Raises QueryError where there is no such file, and with the line, without what stands on it, for a wrong one."""
    if not path.is_file():
        raise QueryError(f"there is no file {path.name}")
    with path.open(encoding="utf-8", errors="replace") as stream:
        at = 0
        while text := stream.readline(_MAX_LINE + 1):
            at += 1
            line = text.strip()
            if not line or line.startswith("#"):
                continue
            kind, _, number = line.partition(",")
            if kind not in set(Kind) or len(number) != NUMBER_DIGITS or not _HEX.issuperset(number):
                raise QueryError(f"{path.name}:{at}: write {_KINDS} and a comma, then {NUMBER_DIGITS} hex digits")
            yield Kind(kind), number
