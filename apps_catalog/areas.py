"""Six-digit administrative area codes (GB/T 2260) as a tree: province 130000, city 130100, county 130102."""

from __future__ import annotations

import re

NATIONWIDE = "000000"
_SHAPE = re.compile(r"[1-9]\d{5}", re.ASCII)


def is_area(code: str) -> bool:
    """Whether `code` has the shape of an area: no digit pair is empty above a filled one."""
    return bool(_SHAPE.fullmatch(code)) and (code[2:4] != "00" or code[4:] == "00")


def contains(outer: str, inner: str) -> bool:
    """Whether `inner` is `outer` or lies in it; NATIONWIDE holds every area."""
    return inner.startswith(_prefix(outer))


def overlaps(one: str, other: str) -> bool:
    """Whether two areas share ground, which in a tree means that one holds the other."""
    return contains(one, other) or contains(other, one)


def is_province(code: str) -> bool:
    return is_area(code) and code.endswith("0000")


def _prefix(code: str) -> str:
    while code.endswith("00"):
        code = code[:-2]
    return code
