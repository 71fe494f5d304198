"""The history of a card: every event counts the card's version."""

from __future__ import annotations

from typing import Any, Literal

from issuance.cards.models import CardEventRow, CardRow
from issuance.cards.repository import CardRepository
from issuance.unit import Unit

EventSide = Literal["social", "financial", "chip", "ecard", "found"]


class History:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._cards = CardRepository(unit.session)

    async def record(
        self,
        row: CardRow,
        side: EventSide,
        act: str,
        old: str,
        new: str,
        *,
        reason: str = "",
        detail: dict[str, Any] | None = None,
    ) -> None:
        """For a card that this transaction has locked. `detail` holds codes and ids, nothing personal."""
        row.version += 1
        row.updated_at = self._unit.now
        await self._cards.add_event(
            CardEventRow(
                card_number=row.card_number,
                side=side,
                act=act,
                old_state=old,
                new_state=new,
                at=self._unit.now,
                by=self._unit.by,
                client_id=self._unit.caller.client_id,
                reason=reason,
                version=row.version,
                detail=detail or {},
            )
        )
