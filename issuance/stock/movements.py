"""Movements of cards between places: transfers confirmed by both sides, spoiling, destruction, return, stocktake."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import Select

from issuance.cards.machine import CardState
from issuance.cards.repository import CardRepository
from issuance.clock import china_date
from issuance.input_rules import field_error
from issuance.offices.repository import OfficeRepository
from issuance.paging import Page, PageRequest, page_of
from issuance.problems import ProblemError, bad_input
from issuance.scope import unscoped
from issuance.stock.ledger import Act, StockLedger, kind_of
from issuance.stock.models import BlankRow, CountRow, LedgerRow, PlaceRow, TransferRow
from issuance.stock.movement_repository import MovementRepository, named, underway
from issuance.stock.movement_schemas import (
    ClosePlace,
    DestroyOrder,
    Moved,
    MovementView,
    PlaceRequest,
    PlaceView,
    Receipt,
    ReturnOrder,
    Settlement,
    SpoilOrder,
    StocktakeOrder,
    StocktakeView,
    TransferRequest,
    TransferView,
)
from issuance.unit import Unit

NAMED = 100
_UNDERWAY = "a transfer of this caller may hold cards made for another region"


class MovementService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._session = unit.session
        self._rows = MovementRepository(unit.session)
        self._ledger = StockLedger(unit)

    # -- places -------------------------------------------------------------------------------------------------------

    async def add_place(self, request: PlaceRequest) -> PlaceView:
        """Raises CONFLICT for a known id, INPUT_INVALID when the parent is no depot."""
        self._unit.services.rules.pack(request.region)
        self._unit.caller.demand_region(request.region)
        if request.parent_id is not None:
            with unscoped(self._session, why="a district's outlet may be supplied by the province's depot"):
                parent = await self._rows.place(request.parent_id)
            if parent is None or parent.kind != "depot":
                raise bad_input(field_error("body.parent_id", "stock_parent"))
        office = request.office or self._unit.caller.office or None
        if office is not None and await OfficeRepository(self._session).by_path(office) is None:
            raise ProblemError("NOT_FOUND", "no such office", subject=f"place:{request.id}")
        row = PlaceRow(
            **request.model_dump() | {"office": office},
            state="open",
            version=1,
            updated_by=self._unit.by,
            created_at=self._unit.now,
            updated_at=self._unit.now,
        )
        if not await self._rows.add_place(row):
            raise ProblemError("CONFLICT", "a place of this id exists", subject=f"place:{request.id}")
        await self._unit.audit("stock.add_place", f"place:{row.id}", region=row.region)
        return place_view(row)

    async def places(self, page: PageRequest) -> Page[PlaceView]:
        query = self._rows.places(self._unit.caller.region_prefix)
        return await page_of(self._session, query, [PlaceRow.id], page, place_view)

    async def close_place(self, place_id: str, order: ClosePlace) -> PlaceView:
        """Only an empty place with nothing on its way is closed. Raises CONFLICT."""
        row = await self._rows.place(place_id, is_locking=True)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such place")
        self._check_version(row, order.version, f"place:{place_id}", row.state)
        cards, transfers = await self._rows.lying(place_id), await self._rows.open_transfers(place_id)
        if cards or transfers:
            raise ProblemError("CONFLICT", f"{cards} cards lie here, {transfers} transfers are under way")
        row.state = "closed"
        self._touch(row)
        await self._unit.audit(
            "stock.close_place", f"place:{place_id}", region=row.region, detail={"reason": order.reason}
        )
        return place_view(row)

    # -- transfers ----------------------------------------------------------------------------------------------------

    async def send(self, request: TransferRequest) -> TransferView:
        """Raises NOT_FOUND, CARD_STATE when a card does not lie there as what it is said to be."""
        wanted = sorted(set(request.cards))
        source = await self._ledger.place(request.from_place, "")
        await self._lying(source.id, request.kind, wanted)
        row = await self.send_selected(
            request.from_place, request.to_place, request.kind, named(wanted), request.reference
        )
        return transfer_view(row)

    async def send_selected(
        self, from_place: str, to_place: str, kind: str, cards: Select[str], reference: str
    ) -> TransferRow:
        """As `send` for cards a query names, all of which lie at `from_place`. Raises CONFLICT when there are none."""
        if from_place == to_place:
            raise bad_input(field_error("body.to_place", "stock_same_place"))
        source = await self._ledger.place(from_place, "")
        with unscoped(self._session, why="cards are sent to other regions"):
            target = await self._rows.place(to_place)
        if target is None or target.state != "open":
            raise ProblemError("NOT_FOUND", "to_place names no open place", subject=f"place:{to_place}")
        row = TransferRow(
            id=uuid.uuid4().hex,
            from_place=source.id,
            to_place=target.id,
            kind=kind,
            quantity=0,
            received=0,
            state="sent",
            reference=reference,
            reason="",
            sent_by=self._unit.by,
            updated_by=self._unit.by,
            version=1,
            created_at=self._unit.now,
            updated_at=self._unit.now,
        )
        self._session.add(row)
        await self._session.flush()
        row.quantity = await self._ledger.post_selected(
            source.id, kind, Act.TRANSFER_OUT, cards, -1, reference=reference, transfer_id=row.id
        )
        if not row.quantity:
            raise ProblemError("CONFLICT", "there is nothing to send", subject=f"place:{from_place}")
        await self._ledger.move_selected(cards, place_id=None, transfer_id=row.id)
        await self._unit.audit(
            "stock.send",
            f"transfer:{row.id}",
            region=source.region,
            detail={"to": target.id, "kind": kind, "quantity": row.quantity},
        )
        await self._session.flush()
        return row

    async def receive(self, transfer_id: str, receipt: Receipt) -> TransferView:
        """The receiving side's count. Raises CONFLICT when it was received before, INPUT_INVALID for a stranger."""
        row = await self._transfer(transfer_id, receipt.version, "sent", at_receiver=True)
        cards = underway(transfer_id)
        if receipt.cards is not None:
            cards = cards.where(BlankRow.reset_information.in_(receipt.cards))
        with unscoped(self._session, why=_UNDERWAY):
            row.received = await self._ledger.post_selected(
                row.to_place, row.kind, Act.TRANSFER_IN, cards, +1, reference=row.reference, transfer_id=row.id
            )
            if receipt.cards is not None and row.received != len(set(receipt.cards)):
                raise bad_input(field_error("body.cards", "stock_not_sent"))
            await self._ledger.move_selected(cards, place_id=row.to_place, transfer_id=None)
        row.state = "received" if row.received == row.quantity else "short"
        self._touch(row)
        await self._audit_transfer("stock.receive", row)
        return transfer_view(row)

    async def settle(self, transfer_id: str, order: Settlement) -> TransferView:
        """The sending side's word about what did not arrive."""
        row = await self._transfer(transfer_id, order.version, "short", at_receiver=False)
        with unscoped(self._session, why=_UNDERWAY):
            await self._settle(row, order)
        row.state, row.reason = "settled", order.reason
        self._touch(row)
        await self._audit_transfer("stock.settle", row, outcome=order.outcome)
        return transfer_view(row)

    async def _settle(self, row: TransferRow, order: Settlement) -> None:
        cards = underway(row.id)
        if order.outcome == "returned":
            await self._ledger.post_selected(
                row.from_place, row.kind, Act.RETURN, cards, +1, reason=order.reason, transfer_id=row.id
            )
            await self._ledger.move_selected(cards, place_id=row.from_place, transfer_id=None)
        else:
            lost = cards.where(BlankRow.state == "in_stock")
            await self._ledger.move_selected(lost, state="spoiled", reason=order.reason)
            await self._ledger.move_selected(cards, transfer_id=None)

    async def transfer(self, transfer_id: str) -> TransferView:
        """Of a place this caller serves. Raises NOT_FOUND."""
        query = self._rows.transfers(self._unit.caller.region_prefix, None).where(TransferRow.id == transfer_id)
        row = await self._session.scalar(query)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such transfer")
        return transfer_view(row)

    async def transfers(self, state: str | None, page: PageRequest) -> Page[TransferView]:
        query = self._rows.transfers(self._unit.caller.region_prefix, state)
        columns = [TransferRow.created_at, TransferRow.id]
        return await page_of(self._session, query, columns, page, transfer_view, is_descending=True)

    # -- the end of a card --------------------------------------------------------------------------------------------

    async def spoil(self, order: SpoilOrder) -> Moved:
        place = await self._ledger.place(order.place_id, "")
        wanted = sorted(set(order.cards))
        for card in await self._lying(place.id, order.kind, wanted):
            card.state, card.reason, card.updated_at = "spoiled", order.reason, self._unit.now
        await self._session.flush()
        for kind, sign in ((order.kind, -1), ("spoiled", +1)):
            await self._ledger.post(place.id, kind, Act.SPOIL, wanted, sign, reason=order.reason)
        return await self._moved("stock.spoil", place, wanted, {"reason": order.reason})

    async def destroy(self, order: DestroyOrder) -> Moved:
        """Raises INPUT_INVALID unless three different people are named: two witnesses and who enters it."""
        if len({*order.witnesses, self._unit.by}) != 3:
            raise bad_input(field_error("body.witnesses", "stock_witnesses"))
        place = await self._ledger.place(order.place_id, "")
        wanted = sorted(set(order.cards))
        for card in await self._lying(place.id, "spoiled", wanted):
            card.place_id, card.updated_at = None, self._unit.now
        await self._session.flush()
        await self._ledger.post(place.id, "spoiled", Act.DESTROY, wanted, -1, witnesses=order.witnesses)
        return await self._moved("stock.destroy", place, wanted, {"witnesses": list(order.witnesses)})

    async def give_back(self, order: ReturnOrder) -> Moved:
        """Cards that left as issued ones, and whose number is not in use on this chip. Raises CARD_STATE for any other.

        A card that is in use goes on being accepted everywhere: it is cancelled, or replaced, before its chip is kept.
        """
        place = await self._ledger.place(order.place_id, "")
        wanted = sorted(set(order.cards))
        rows = await self._cards(wanted)
        for row in rows:
            if row.state != "used" or row.place_id is not None or row.transfer_id is not None:
                raise self._not_as_said(row, "with its holder")
            await self._demand_ended(row)
            row.state, row.application_id, row.place_id = "spoiled", None, place.id
            row.reason, row.updated_at = order.reason, self._unit.now
        await self._session.flush()
        await self._ledger.post(place.id, "spoiled", Act.RETURN, wanted, +1, reason=order.reason)
        return await self._moved("stock.return", place, wanted, {"reason": order.reason})

    async def take_stock(self, order: StocktakeOrder) -> StocktakeView:
        """Compare what was found with the books; the day's count of people goes before any other in the balance."""
        place = await self._ledger.place(order.place_id, "")
        found, expected = set(order.cards), set(await self._rows.expected(place.id, order.kind))
        missing, unexpected = sorted(expected - found), sorted(found - expected)
        corrected = await self._correct(place, order, missing, unexpected) if order.correct else 0
        day = china_date(self._unit.now)
        await self._rows.put_count(
            CountRow(
                place_id=place.id,
                kind=order.kind,
                day=day,
                counted=len(found),
                source="stocktake",
                actor=self._unit.by,
                at=self._unit.now,
            )
        )
        detail = {"counted": len(found), "expected": len(expected), "corrected": corrected, "reason": order.reason}
        await self._unit.audit("stock.stocktake", f"place:{place.id}", region=place.region, detail=detail)
        return StocktakeView(
            expected=len(expected),
            counted=len(found),
            missing=missing[:NAMED],
            unexpected=unexpected[:NAMED],
            corrected=corrected,
            day=day,
        )

    async def _correct(self, place: PlaceRow, order: StocktakeOrder, missing: list[str], unexpected: list[str]) -> int:
        """Missing cards leave the place and are never used; those nobody misses elsewhere come to it.

        Raises CONFLICT when a found card has its place in the books elsewhere, or is of another kind: it is moved,
        not corrected.
        """
        arrived = await self._cards(unexpected)
        for row in arrived:
            if row.place_id is not None or row.transfer_id is not None or kind_of(row) != order.kind:
                raise self._not_as_said(row, "one that may be entered here", failure="CONFLICT")
            row.place_id, row.updated_at = place.id, self._unit.now
        for row in await self._cards(missing):
            if row.state == "reserved":
                raise self._not_as_said(row, "free: write it off first", failure="CONFLICT")
            if row.state == "in_stock":
                row.state, row.reason = "spoiled", order.reason
            row.place_id, row.updated_at = None, self._unit.now
        await self._session.flush()
        await self._ledger.post(place.id, order.kind, Act.STOCKTAKE, missing, -1, reason=order.reason)
        await self._ledger.post(place.id, order.kind, Act.STOCKTAKE, unexpected, +1, reason=order.reason)
        return len(missing) + len(unexpected)

    async def movements(self, place_id: str | None, page: PageRequest) -> Page[MovementView]:
        query = self._rows.movements(self._unit.caller.region_prefix, place_id)
        return await page_of(self._session, query, [LedgerRow.id], page, movement_view, is_descending=True)

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _cards(self, wanted: Sequence[str]) -> list[BlankRow]:
        """All of them, locked. Raises NOT_FOUND."""
        found = await self._rows.cards(wanted)
        if len(found) != len(wanted):
            unknown = min(set(wanted) - {row.reset_information for row in found})
            raise ProblemError("NOT_FOUND", f"no card {unknown}", subject=f"blank:{unknown}")
        return found

    async def _lying(self, place_id: str, kind: str, wanted: Sequence[str]) -> list[BlankRow]:
        rows = await self._cards(wanted)
        for row in rows:
            is_bound = row.state == "reserved" and kind != "finished"  # a finished card is always somebody's
            if row.place_id != place_id or kind_of(row) != kind or is_bound:
                raise self._not_as_said(row, f"a free {kind} one at {place_id}")
        return rows

    async def _demand_ended(self, row: BlankRow) -> None:
        cards = CardRepository(self._session)
        card = await cards.of_chip(row.reset_information)
        if card is None or card.state in (CardState.LOST, CardState.CANCELLED):
            return
        if await cards.open_succession(card.card_number) is None:
            raise self._not_as_said(row, f"one whose card {card.card_number} was cancelled or is being replaced")

    def _not_as_said(self, row: BlankRow, what: str, *, failure: str = "CARD_STATE") -> ProblemError:
        place = row.place_id or ("on its way" if row.transfer_id else "at no place")
        detail = f"card {row.reset_information} is {kind_of(row)}, {row.state}, {place}; it must be {what}"
        return ProblemError(failure, detail, subject=f"blank:{row.reset_information}")

    async def _transfer(self, transfer_id: str, version: int, state: str, *, at_receiver: bool) -> TransferRow:
        row = await self._rows.transfer(transfer_id)
        source = None if row is None else await self._rows.place(row.from_place)
        target = None if row is None else await self._rows.place(row.to_place)
        if row is None or (source is None and target is None):
            raise ProblemError("NOT_FOUND", "no such transfer")
        if (target if at_receiver else source) is None:
            side = "receives" if at_receiver else "sent"
            raise ProblemError("CLIENT_FORBIDDEN", f"another place {side} this", subject=f"transfer:{row.id}")
        self._check_version(row, version, f"transfer:{row.id}", row.state)
        if row.state != state:
            raise ProblemError("CONFLICT", f"the transfer is {row.state}", subject=f"transfer:{row.id}")
        return row

    def _check_version(self, row: PlaceRow | TransferRow, version: int, subject: str, state: str) -> None:
        if row.version != version:
            raise ProblemError("CONFLICT", f"{row.updated_by} made it {state} (version {row.version})", subject=subject)

    def _touch(self, row: PlaceRow | TransferRow) -> None:
        row.version += 1
        row.updated_by, row.updated_at = self._unit.by, self._unit.now

    async def _moved(self, act: str, place: PlaceRow, cards: list[str], detail: dict[str, object]) -> Moved:
        named = {"cards": cards[:NAMED], "count": len(cards)}
        await self._unit.audit(act, f"place:{place.id}", region=place.region, detail=named | detail)
        return Moved(moved=len(cards))

    async def _audit_transfer(self, act: str, row: TransferRow, **detail: str) -> None:
        counts = {"quantity": row.quantity, "received": row.received}
        region = await self._region(row.to_place)
        await self._unit.audit(act, f"transfer:{row.id}", region=region, detail=counts | detail)

    async def _region(self, place_id: str) -> str:
        with unscoped(self._session, why="the entry stands in the books of the receiving region"):
            place = await self._rows.place(place_id)
        return "" if place is None else place.region


def place_view(row: PlaceRow) -> PlaceView:
    return PlaceView.model_validate(row, from_attributes=True)


def transfer_view(row: TransferRow) -> TransferView:
    return TransferView.model_validate(row, from_attributes=True)


def movement_view(row: LedgerRow) -> MovementView:
    witnesses = [name for name in (row.first_witness, row.second_witness) if name]
    names = set(MovementView.model_fields) - {"witnesses"}
    return MovementView(witnesses=witnesses, **{name: getattr(row, name) for name in names})
