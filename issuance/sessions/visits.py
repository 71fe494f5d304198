"""Sessions with a card in use: who may ask for one, what is done to the chip, and what the books say afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cardlib.visit import VisitOrder
from cardlib.wire import SessionStart
from issuance.cards.commands import rewrite_context
from issuance.cards.history import History
from issuance.cards.life_cycle import LifeCycle, subject_of
from issuance.cards.machine import CardState
from issuance.cards.models import CardRow
from issuance.cards.repository import CardRepository
from issuance.input_rules import field_error
from issuance.persons.repository import PersonRepository
from issuance.persons.service import masked
from issuance.problems import ProblemError, bad_input
from issuance.self_service.visits import demand_for_chip
from issuance.sessions.models import CardSessionRow
from issuance.unit import Unit

VISITS = frozenset({"rewrite", "pin_reset", "pin_unblock"})
_SEED_BYTES = 16


class CardVisits:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._cards = CardRepository(unit.session)
        self._cycle = LifeCycle(unit)

    async def admit(self, request: SessionStart, reset_information: str) -> tuple[CardRow, VisitOrder]:
        """The locked card of this chip and what is done to it; the PIN is in the order's memory alone.

        Raises NOT_FOUND for a chip that bears no card, CARD_STATE, CONFLICT when there is nothing to write,
        INPUT_INVALID, EVIDENCE_MISSING and HOLDER_MISMATCH at a kiosk.
        """
        if (request.kind == "pin_reset") != (request.pin is not None):
            raise bad_input(field_error("body.pin", "missing" if request.pin is None else "extra_forbidden"))
        found = await self._cards.of_chip(reset_information)
        if found is None:
            is_retired = await self._cards.is_retired(reset_information)
            raise ProblemError(
                "CARD_STATE" if is_retired else "NOT_FOUND",
                "这张卡已换新卡 / its number has gone on to another chip" if is_retired else "no card on this chip",
                subject=f"chip:{reset_information}",
            )
        card = await self._cycle.card(found.card_number)
        await demand_for_chip(self._unit, request.visit, card, request.kind)
        if card.state != CardState.NORMAL:
            raise await self._cycle.refuse_state(card, "这张卡现在不能办理", "nothing is done to this card now")
        order = VisitOrder(
            seed=self._unit.services.keys.random(_SEED_BYTES),
            atr=bytes.fromhex(request.atr),
            card_number=card.card_number,
            identification_code=card.identification_code,
            pin=request.pin or "",
        )
        if request.kind == "rewrite":
            order = replace(order, changes=await self._changes(card))
        return card, order

    async def lock(self, card_number: str | None) -> None:
        """Before the session's own row, as `admit` does."""
        if card_number is not None:
            await self._cards.get(card_number, is_locking=True)

    async def finish(self, row: CardSessionRow, order: dict[str, Any], result: dict[str, str]) -> dict[str, str]:
        """The chip has it: take it into the card's history. Returns what a screen may show."""
        card = await self._cycle.card(row.card_number or "")
        if row.kind == "rewrite":
            await self._written(card, order["changes"])
        await History(self._unit).record(
            card, "chip", row.kind, card.state, card.state, detail={"session": row.id, "outcome": result["outcome"]}
        )
        await self._unit.audit(
            f"card.{row.kind}", subject_of(card), region=card.region, application_id=card.application_id
        )
        person = await PersonRepository(self._unit.session, self._unit.services.sealer).data(card.person_id)
        return {"card_number": card.card_number, "name": masked(person).name}

    async def _changes(self, card: CardRow) -> dict[str, str]:
        pending = await self._cards.rewrite(card.card_number)
        if pending is None:
            raise ProblemError("CONFLICT", "没有要写入的变更 / nothing is to be written", subject=subject_of(card))
        context = rewrite_context(card.card_number)
        changes: dict[str, str] = self._unit.services.sealer.unseal(pending.sealed_changes, context)
        return changes

    async def _written(self, card: CardRow, changes: dict[str, str]) -> None:
        """What was asked for meanwhile stays for the next visit."""
        pending = await self._cards.rewrite(card.card_number)
        if pending is None:
            return
        sealer, context = self._unit.services.sealer, rewrite_context(card.card_number)
        wanted: dict[str, str] = sealer.unseal(pending.sealed_changes, context)
        left = {slug: value for slug, value in wanted.items() if changes.get(slug) != value}
        if left:
            pending.sealed_changes = sealer.seal(left, context)
            await self._unit.session.flush()
        else:
            await self._cards.drop_rewrite(card.card_number)
