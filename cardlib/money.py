"""Amounts: whole fen in programs, yuan with two decimals for people."""

from __future__ import annotations

import re
from typing import Final

_YUAN: Final = re.compile(r"([0-9]{1,8})(?:\.([0-9]{1,2}))?")


def yuan(fen: int, *, is_grouped: bool = False, is_signed: bool = False) -> str:
    """`1234.05`, `-0.50`; grouped `1,234.05`; signed `+0.50` too."""
    whole, rest = divmod(abs(fen), 100)
    sign = "-" if fen < 0 else "+" if is_signed else ""
    return f"{sign}{whole:,}.{rest:02d}" if is_grouped else f"{sign}{whole}.{rest:02d}"


def fen(text: str) -> int:
    """From yuan below 100 million with at most two decimals. Raises ValueError."""
    match = _YUAN.fullmatch(text)
    if match is None:
        raise ValueError("an amount in yuan such as 12.34 was expected")
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
