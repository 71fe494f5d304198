"""What becomes of the lines of a batch: finished cards go to outlets and holders, others free their applications."""

from __future__ import annotations

from issuance.applications.models import ApplicationRow
from issuance.applications.repository import ApplicationRepository
from issuance.applications.saga import IssuanceSaga
from issuance.problems import ProblemError
from issuance.production.models import BatchRow, LineRow
from issuance.production.repository import ProductionRepository
from issuance.production.schemas import Collected, Collection, HandedOut, HandOut, Order, Released
from issuance.production.service import BatchService
from issuance.production.states import BatchState, LineState, Stage
from issuance.stock.ledger import Act, StockLedger
from issuance.stock.models import CardNumberRow
from issuance.stock.movements import MovementService
from issuance.unit import Unit

RELEASED_AT_ONCE = 5000
_L = LineState
_ENDED = (
    _L.NO_ACCOUNT,
    _L.ACCOUNT_MISMATCH,
    _L.NOT_CERTIFIED,
    _L.MAKE_FAILED,
    _L.MAKE_EXCEPTION,
    _L.KEY_WRONG,
)
"""No card comes of these lines any more."""
_MISSING = (_L.CREATED, _L.ACCOUNT, _L.CERTIFIED, _L.MADE)
"""Nor of these, once the last stage has returned."""


class HandlingService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._repository = ProductionRepository(unit.session)
        self._batches = BatchService(unit)

    async def hand_out(self, batch_id: str, order: HandOut) -> HandedOut:
        """Send finished cards from the depot; the outlet confirms the transfer. Raises BATCH_STATE, CONFLICT."""
        batch = await self._batches.batch(batch_id, version=order.version)
        if batch.state not in (BatchState.KEYS_RETURNED, BatchState.HANDED_OUT):
            raise ProblemError("BATCH_STATE", f"the batch is {batch.state}", subject=f"batch:{batch.id}")
        cards = self._repository.finished_at(batch.id, batch.depot_id, order.boxes)
        transfer = await MovementService(self._unit).send_selected(
            batch.depot_id, order.place_id, "finished", cards, batch.id
        )
        batch.state = BatchState.HANDED_OUT.value
        await self._note(batch, "production.hand_out", {"transfer": transfer.id, "cards": transfer.quantity})
        return HandedOut(transfer_id=transfer.id, cards=transfer.quantity)

    async def collect(self, card_number: str, order: Collection) -> Collected:
        """领卡: the holder gets the finished card, and it is enabled. Raises NOT_FOUND, CARD_STATE, ALREADY_ISSUED."""
        line = await self._repository.finished_line(card_number)
        if line is None:
            raise ProblemError("NOT_FOUND", "no finished card of this number waits", subject=f"card:{card_number}")
        await self._batches.batch(line.batch_id, is_locking=False)
        place = await StockLedger(self._unit).place(order.place_id, "")
        row = await ApplicationRepository(self._unit.session).get(line.application_id)
        if row is None or (row.card_number, row.reset_information) != (line.card_number, line.reset_information):
            raise ProblemError(
                "APPLICATION_STATE", "the application has another card", application_id=line.application_id
            )
        chip = (await self._repository.blanks([str(line.reset_information)]))[str(line.reset_information)]
        if chip.place_id != place.id:
            where = f"at {chip.place_id}" if chip.place_id else "on its way" if chip.transfer_id else "lost"
            raise ProblemError("CARD_STATE", f"the card is {where}", subject=f"card:{card_number}")
        ecard_no = await IssuanceSaga(self._unit).enable(row, str(line.identification_code), int(line.key_version or 1))
        line.state = LineState.ISSUED.value
        return Collected(card_number=card_number, application_id=row.id, ecard_no=ecard_no)

    async def release(self, batch_id: str, order: Order) -> Released:
        """Let the applications of failed lines go, and of missing ones once the keys were checked.

        A number that the factory saw is void, another one free again; a card with wrong keys is spoiled.
        """
        batch = await self._batches.batch(batch_id, version=order.version)
        if await self._repository.running(batch.id) is not None:
            raise ProblemError("BATCH_STATE", "work on this batch goes on", subject=f"batch:{batch.id}")
        is_over = batch.state in (BatchState.KEYS_RETURNED, BatchState.HANDED_OUT)
        states = [state.value for state in (*_ENDED, *(_MISSING if is_over else ()))]
        lines = await self._repository.lines_to_release(batch.id, states, RELEASED_AT_ONCE)
        if lines:
            await self._release(batch, lines)
        counts = await self._repository.line_states(batch.id)
        remaining = sum(counts.get(state, 0) for state in states)
        await self._note(batch, "production.release", {"released": len(lines), "remaining": remaining})
        return Released(released=len(lines), remaining=remaining)

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _release(self, batch: BatchRow, lines: list[LineRow]) -> None:
        now = self._unit.now
        seen = await self._repository.were_in(batch.id, Stage.FACTORY, [line.line for line in lines])
        await self._spoil(batch, lines)
        await self._repository.change_all(
            ApplicationRow,
            ["id", "card_number"],
            [
                {"id": line.application_id, "card_number": line.card_number, "state": "checked", "updated_at": now}
                for line in lines
            ],
            clears=["card_number", "reset_information", "issue_date", "expiry_date"],
        )
        await self._repository.change_all(
            CardNumberRow,
            ["number", "application_id"],
            [
                {
                    "number": line.card_number,
                    "application_id": line.application_id,
                    "state": "void" if line.line in seen else "free",
                    "reason": batch.id if line.line in seen else None,
                    "updated_at": now,
                }
                for line in lines
            ],
            clears=["application_id"],
        )
        await self._repository.add_steps(
            [(line.application_id, "write_off", "undone") for line in lines], now, batch.id
        )
        for line in lines:
            line.state = LineState.RELEASED.value
        await self._unit.session.flush()

    async def _spoil(self, batch: BatchRow, lines: list[LineRow]) -> None:
        chips = [line.reset_information for line in lines if line.reset_information is not None]
        rows = [row for row in (await self._repository.blanks(chips)).values() if row.state == "reserved"]
        ledger = StockLedger(self._unit)
        by_place: dict[str, list[str]] = {}
        for row in rows:
            if row.place_id is not None:
                by_place.setdefault(row.place_id, []).append(row.reset_information)
            row.state, row.application_id, row.reason, row.updated_at = "spoiled", None, batch.id, self._unit.now
        await self._unit.session.flush()
        for place, cards in sorted(by_place.items()):
            for kind, sign in (("finished", -1), ("spoiled", +1)):
                await ledger.post(place, kind, Act.SPOIL, cards, sign, reference=batch.id)

    async def _note(self, batch: BatchRow, act: str, detail: dict[str, object]) -> None:
        batch.version += 1
        batch.updated_by, batch.updated_at = self._unit.by, self._unit.now
        await self._unit.audit(act, f"batch:{batch.id}", region=batch.region, detail=detail)
