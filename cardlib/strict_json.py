"""JSON that two programs cannot read differently: hooks for `json.loads`."""

from __future__ import annotations

from typing import Any


class AmbiguousJsonError(ValueError):
    """A name that stands twice, or a number that is none of JSON (RFC 8259 §4, §6)."""


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """As `object_pairs_hook`. Raises AmbiguousJsonError."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise AmbiguousJsonError("a name stands twice")
    return table


def no_constant(name: str) -> None:
    """As `parse_constant`: NaN and the infinities. Raises AmbiguousJsonError."""
    raise AmbiguousJsonError(f"{name} is no number of JSON")
