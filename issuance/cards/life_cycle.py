"""The one place where a card's state changes: table, guards, version, history, and what follows on the other side.

Order of row locks: person or application before the card, the card before its account and its electronic card.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cardlib.identity import IdentityError, validate_card_number
from issuance.bank.accounts import Accounts
from issuance.cards.guards import GUARDS, Objection, is_holder
from issuance.cards.history import History
from issuance.cards.machine import (
    STATE_NAMES,
    STATE_NAMES_EN,
    Actor,
    CardState,
    Transition,
    machines,
)
from issuance.cards.models import CardRow
from issuance.cards.repository import CardRepository
from issuance.clients.schemas import Role
from issuance.ecards.coupling import EcardCoupling
from issuance.input_rules import field_error
from issuance.problems import ProblemError, bad_input
from issuance.unit import SYSTEM, Unit


class LifeCycle:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._cards = CardRepository(unit.session)
        self._accounts = Accounts(unit)
        self._ecards = EcardCoupling(unit)
        self._history = History(unit)

    async def card(self, number: str, *, is_locking: bool = True, place: str = "path.card_number") -> CardRow:
        """The card, if there is one in a region this caller serves. Raises NOT_FOUND."""
        try:
            number = validate_card_number(number)
        except IdentityError:
            raise bad_input(field_error(place, "card_number")) from None
        row = await self._cards.get(number, is_locking=is_locking)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such card", subject=f"card:{number}")
        return row

    async def do(
        self,
        row: CardRow,
        act: str,
        *,
        reason: str = "",
        version: int | None = None,
        detail: dict[str, Any] | None = None,
        as_system: bool = False,
    ) -> bool:
        """Carry out an act of the social security side on a locked card; False when the card is there already.

        `as_system`: the act follows from another one, whoever asked for that.

        Raises CARD_STATE with what the card is and what may be done, CONFLICT when `version` is not the card's.
        """
        transition = machines().transition("social", act)
        if not as_system:
            self._demand_actor(row, transition)
        if row.state == transition.target and act != "renumber":
            return False
        await self._demand(row, transition, version)
        old, row.state = row.state, transition.target
        row.state_since, row.state_by = self._unit.now, self._unit.by
        row.temporary_until = None
        if row.state == CardState.TEMPORARILY_LOST:
            days = self._unit.rules(row.region).temporary_loss_days
            row.temporary_until = self._unit.now + timedelta(days=days)
            detail = (detail or {}) | {"until": row.temporary_until.isoformat()}
        await self._history.record(row, "social", act, old, row.state, reason=reason, detail=detail)
        await self._unit.audit(
            f"card.{act}",
            subject_of(row),
            region=row.region,
            application_id=row.application_id,
            detail={"from": old, "to": row.state, "reason": reason},
        )
        await self._follow(row, act, reason)
        return True

    async def check_version(self, row: CardRow, version: int | None) -> None:
        """Raises CONFLICT that says who changed the card, when and to what."""
        if version is None or version == row.version:
            return
        event = await self._cards.event_after(row.card_number, version)
        said = f"version {version} was seen, the card is at {row.version} and its state is {row.state}"
        if event is not None:
            said += f": {event.by} did {event.act} at {event.at.isoformat()}, {event.old_state} -> {event.new_state}"
        raise self._refusal(row, "CONFLICT", f"这张卡已被别人改过 / changed meanwhile; {said}")

    async def possible(self, row: CardRow) -> list[Transition]:
        """What this caller may do next on the social security side: table and guards say yes."""
        transitions = machines().possible("social", row.state, *actors_of(self._unit, row))
        return [t for t in transitions if await self.objection(row, t) is None]

    async def refuse_state(self, row: CardRow, text_zh: str, text_en: str) -> ProblemError:
        """CARD_STATE: what was wanted, what the card is, since when, by whom, and what may be done."""
        state = CardState(row.state)
        possible = await self.possible(row)
        acts_zh = "、".join(t.text_zh for t in possible) or "无"
        acts_en = ", ".join(t.act for t in possible) or "nothing"
        since = row.state_since.isoformat()
        return self._refusal(
            row,
            "CARD_STATE",
            f"{text_zh}：卡状态为{STATE_NAMES[state]}（{state}），{since} 起，经办 {row.state_by}；可办：{acts_zh}"
            f" / {text_en}: the card is {STATE_NAMES_EN[state]} ({state}) since {since} by {row.state_by};"
            f" possible: {acts_en}",
        )

    async def _demand(self, row: CardRow, transition: Transition, version: int | None) -> None:
        await self.check_version(row, version)
        if row.state not in transition.sources:
            raise await self.refuse_state(row, f"不能{transition.text_zh}", f"cannot {transition.text_en}")
        objection = await self.objection(row, transition)
        if objection is not None:
            raise await self.refuse_state(row, *objection.with_rule())

    async def objection(self, row: CardRow, transition: Transition) -> Objection | None:
        """The first guard that says no, whatever the card's state is."""
        for name in transition.guards:
            objection = await GUARDS[name](self._unit, row)
            if objection is not None:
                return objection
        return None

    def _demand_actor(self, row: CardRow, transition: Transition) -> None:
        if set(actors_of(self._unit, row)).isdisjoint(transition.by):
            raise self._refusal(row, "CLIENT_FORBIDDEN", f"{transition.act} is for {', '.join(transition.by)}")

    async def _follow(self, row: CardRow, act: str, reason: str) -> None:
        """What the coupling table says of account and electronic card."""
        coupling = machines().coupling.get(act)
        if coupling is None:
            return
        if coupling.financial is not None:
            await self._accounts.follow(row, coupling.financial, only_with_loss=coupling.with_loss, reason=reason)
        if coupling.ecard is not None and coupling.ecard != "move":
            await self._ecards.follow(row, coupling.ecard)

    def _refusal(self, row: CardRow, failure: str, detail: str) -> ProblemError:
        return ProblemError(failure, detail, subject=subject_of(row), application_id=row.application_id)


def subject_of(row: CardRow) -> str:
    return f"card:{row.card_number}"


def actors_of(unit: Unit, row: CardRow) -> tuple[Actor, ...]:
    """As whom this caller may act on a card; the service itself may do what an office may."""
    roles = unit.caller.roles
    if unit.caller.client_id == SYSTEM:
        return ("system", "office", "operator", "bank")
    if is_holder(unit, row):
        return ("holder",)
    found: list[Actor] = []
    if roles & {Role.OPERATOR, Role.TERMINAL}:
        found.append("office")
    if Role.OPERATOR in roles:
        found.append("operator")
    return tuple(found)
