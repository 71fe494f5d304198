"""The ledger of physical cards: every movement is posted once, beside the change of the cards it moves.

A card lies at `BlankRow.place_id`; the ledger says how it came there. Both are written in one transaction by the
methods here and by nobody else, so that their comparison (`issuance.stock.balance`) finds whatever went past them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, func, insert, literal, select, update

from issuance.clock import china_date
from issuance.database import insert_new
from issuance.problems import ProblemError
from issuance.stock.models import BlankRow, LedgerItemRow, LedgerRow, PlaceRow
from issuance.unit import Unit


class Act(StrEnum):
    """What moved the cards."""

    RECEIVE = "receive"
    TRANSFER_OUT = "transfer_out"
    TRANSFER_IN = "transfer_in"
    ISSUE = "issue"
    MAKE = "make"
    SPOIL = "spoil"
    DESTROY = "destroy"
    RETURN = "return"
    STOCKTAKE = "stocktake"


def default_place(region: str) -> str:
    """Where the cards of a region lie when nobody says otherwise."""
    return f"depot-{region}"


def kind_of(card: BlankRow) -> str:
    return "spoiled" if card.state == "spoiled" else card.kind


class StockLedger:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._session = unit.session

    async def place(self, place_id: str | None, region: str) -> PlaceRow:
        """The open place of that id, or the region's own depot, made when it is needed first.

        Raises NOT_FOUND, CONFLICT for a closed one.
        """
        wanted = place_id or default_place(region)
        row = await self._session.get(PlaceRow, wanted)
        if row is None and place_id is None:
            await insert_new(self._session, PlaceRow, [self._new_depot(wanted, region)])
            row = await self._session.get_one(PlaceRow, wanted)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such place", subject=f"place:{wanted}")
        if row.state != "open":
            raise ProblemError("CONFLICT", f"this place was closed by {row.updated_by}", subject=f"place:{wanted}")
        return row

    async def post(
        self,
        place_id: str,
        kind: str,
        act: Act,
        cards: Sequence[str],
        sign: int,
        *,
        reference: str = "",
        reason: str = "",
        transfer_id: str | None = None,
        witnesses: tuple[str, str] | None = None,
    ) -> None:
        """One row for all `cards`; nothing for none."""
        if not cards:
            return
        entry = await self._entry(
            place_id, kind, act, sign * len(cards), reference, reason, transfer_id, witnesses or (None, None)
        )
        await self._session.execute(insert(LedgerItemRow), [{"entry_id": entry, "card": card} for card in cards])

    async def post_selected(
        self,
        place_id: str,
        kind: str,
        act: Act,
        cards: Select[str],
        sign: int,
        *,
        reference: str = "",
        reason: str = "",
        transfer_id: str | None = None,
    ) -> int:
        """As `post` for what a query names, without fetching it; returns how many."""
        found = await self._session.scalar(select(func.count()).select_from(cards.subquery())) or 0
        if found:
            entry = await self._entry(place_id, kind, act, sign * found, reference, reason, transfer_id, (None, None))
            named = cards.subquery()
            items = select(literal(entry), named.c.reset_information)
            await self._session.execute(insert(LedgerItemRow).from_select(["entry_id", "card"], items))
        return found

    async def move_selected(self, cards: Select[str], **values: Any) -> None:
        """Change the cards that a query names; after they were posted."""
        await self._session.execute(
            update(BlankRow)
            .where(BlankRow.reset_information.in_(cards))
            .values(updated_at=self._unit.now, **values)
            .execution_options(synchronize_session=False)
        )

    async def _entry(
        self,
        place_id: str,
        kind: str,
        act: Act,
        quantity: int,
        reference: str,
        reason: str,
        transfer_id: str | None,
        witnesses: tuple[str | None, str | None],
    ) -> int:
        row = LedgerRow(
            at=self._unit.now,
            day=china_date(self._unit.now),
            place_id=place_id,
            kind=kind,
            act=act.value,
            quantity=quantity,
            reference=reference,
            reason=reason,
            transfer_id=transfer_id,
            first_witness=witnesses[0],
            second_witness=witnesses[1],
            actor=self._unit.by,
        )
        self._session.add(row)
        await self._session.flush()
        return row.id

    def _new_depot(self, place_id: str, region: str) -> dict[str, Any]:
        now = self._unit.now
        return {
            "id": place_id,
            "kind": "depot",
            "name": f"{region} 库",
            "region": region,
            "parent_id": None,
            "state": "open",
            "version": 1,
            "updated_by": self._unit.by,
            "created_at": now,
            "updated_at": now,
        }
