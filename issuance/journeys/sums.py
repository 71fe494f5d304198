"""What taps and rides come to, by all that a day is told in: added up as they are booked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import inspect

from issuance.journeys.models import NONE, TransitSumRow, TransitTapRow

KEY: Final = tuple(column.name for column in inspect(TransitSumRow).primary_key)
CODE: Final = "code"
"""Outcome of a ride with a code."""
_COLUMNS: Final = ({*KEY} - {"is_free"}) | {"amount_fen", "fare_fen", "sequence"}


class SumChanges:
    """What a batch changes in the sums."""

    def __init__(self) -> None:
        self._parts: dict[tuple[Any, ...], dict[str, int]] = {}

    def add(self, told: Mapping[str, Any], count: int = 1) -> None:
        """`told`: columns of a tap or a ride; with a `count` of -1 it is taken out."""
        amount, fare = told["amount_fen"], told["fare_fen"]
        nullable = {name: told.get(name) or NONE for name in ("region", "why", "catalog_item")}
        made = {"outcome": CODE, **told, **nullable, "is_free": amount == 0 and fare > 0}
        key = tuple(made[name] for name in KEY)
        part = self._parts.setdefault(key, {"count": 0, "fen": 0, "fare_fen": 0, "last_sequence": 0})
        part["count"] += count
        part["fen"] += count * amount
        part["fare_fen"] += count * fare
        part["last_sequence"] = max(part["last_sequence"], told["sequence"])

    def move(self, tap: TransitTapRow, standing: str, why: str | None) -> None:
        """A tap of which another thing is true now. To be told while the row still has its former standing."""
        told = {name: getattr(tap, name) for name in _COLUMNS}
        self.add(told, -1)
        self.add(told | {"standing": standing, "why": why})

    def rows(self) -> list[dict[str, Any]]:
        """In the order of their keys: two batches that change the same rows wait for each other, not in a circle."""
        return [dict(zip(KEY, key, strict=True)) | part for key, part in sorted(self._parts.items())]
