"""Acts on one card. Each has a page of its own that names the card and the effect; a service carries it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal

from pydantic import BaseModel

from issuance.applications.schemas import ApplicationView
from issuance.cards.commands import CardCommands
from issuance.cards.schemas import (
    CardOrder,
    CardResult,
    CardState,
    CardView,
    HolderChange,
    HolderEnd,
    LossOrder,
    RenewalOrder,
    ReplacementOrder,
)
from issuance.clerks.acts import Act
from issuance.clerks.approvals import ApprovalService
from issuance.clerks.schemas import ApprovalView
from issuance.rules import Rules
from issuance.unit import Unit

_S = CardState
_HELD: Final = (_S.SEALED, _S.NORMAL, _S.LOCKED)


class Outcome(BaseModel):
    """What an act came to; `application_id` is that of the card that follows."""

    result: Literal["done", "already", "asked", "applied"]
    application_id: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A card under the rules of its region, today."""

    card: CardView
    rules: Rules
    today: date

    @property
    def causes(self) -> list[str]:
        """Why this card may be replaced now."""
        if self.card.state is _S.LOST:
            return ["lost"]
        return ["damaged", "quality"] if self.card.state in _HELD else []

    @property
    def is_renewable(self) -> bool:
        opens = self.card.expiry_date - timedelta(days=self.rules.renewal_window_days)
        return self.card.state in _HELD and self.today >= opens

    def allows(self, *transitions: str) -> bool:
        return not set(transitions).isdisjoint(self.card.possible)


@dataclass(frozen=True, slots=True)
class CardAct:
    """`name` is in the address and in the words; `filled` are the fields of the form; `fits` asks the card's state."""

    name: str
    act: Act
    icon: str
    order: type[CardOrder]
    fits: Callable[[Held], bool]
    run: Callable[[Unit, str, Any, str], Awaitable[BaseModel]]
    filled: tuple[str, ...] = ()
    fixed: tuple[tuple[str, str], ...] = ()
    is_grave: bool = False


def _plain(transition: str) -> Callable[[Unit, str, Any, str], Awaitable[BaseModel]]:
    async def run(unit: Unit, number: str, order: CardOrder, _why: str) -> BaseModel:
        return await CardCommands(unit).act(number, transition, order)

    return run


def _by(method: Callable[[CardCommands, str, Any], Awaitable[BaseModel]]) -> Any:
    async def run(unit: Unit, number: str, order: CardOrder, _why: str) -> BaseModel:
        return await method(CardCommands(unit), number, order)

    return run


def _by_two(act: Act) -> Any:
    """Done at once, or asked for where the region's rules want a second clerk."""

    async def run(unit: Unit, number: str, order: CardOrder, why: str) -> BaseModel:
        body = order.model_dump(mode="json") | {"card_number": number}
        return await ApprovalService(unit).perform(act, body, why)

    return run


def _is_followed(held: Held) -> bool:
    return held.card.successor_application is not None


ACTS: Final[dict[str, CardAct]] = {
    act.name: act
    for act in (
        CardAct("enable", Act.CARD_HAND_OVER, "check", CardOrder, lambda h: h.allows("enable"), _plain("enable")),
        CardAct(
            "block",
            Act.CARD_LOSE,
            "clock",
            LossOrder,
            lambda h: h.allows("lose_temporarily"),
            _by(CardCommands.lose),
            fixed=(("kind", "temporary"),),
        ),
        CardAct(
            "loss",
            Act.CARD_LOSE,
            "lost",
            LossOrder,
            lambda h: h.allows("lose"),
            _by(CardCommands.lose),
            fixed=(("kind", "formal"),),
            is_grave=True,
        ),
        CardAct(
            "release",
            Act.CARD_RELEASE,
            "check",
            CardOrder,
            lambda h: h.allows("release", "lift"),
            _by(CardCommands.release),
        ),
        CardAct(
            "replace",
            Act.CARD_REPLACE,
            "swap",
            ReplacementOrder,
            lambda h: bool(h.causes) and not _is_followed(h),
            _by(CardCommands.replace),
            filled=("cause", "keeps_number", "guardian"),
        ),
        CardAct(
            "renew",
            Act.CARD_REPLACE,
            "swap",
            RenewalOrder,
            lambda h: h.is_renewable and not _is_followed(h),
            _by(CardCommands.renew),
            filled=("keeps_number", "guardian"),
        ),
        CardAct(
            "change",
            Act.HOLDER_CHANGE,
            "file",
            HolderChange,
            lambda h: h.card.state is not _S.CANCELLED,
            _by(CardCommands.change_holder),
            filled=("name", "sex", "ethnic_group", "birthplace"),
        ),
        CardAct("lock", Act.CARD_LOCK, "key", CardOrder, lambda h: h.allows("lock"), _plain("lock")),
        CardAct("unlock", Act.CARD_UNLOCK, "key", CardOrder, lambda h: h.allows("unlock"), _plain("unlock")),
        CardAct(
            "cancel",
            Act.CARD_CANCEL,
            "cross",
            CardOrder,
            lambda h: h.allows("cancel"),
            _by_two(Act.CARD_CANCEL),
            is_grave=True,
        ),
        CardAct(
            "end",
            Act.HOLDER_END,
            "cross",
            HolderEnd,
            lambda h: h.allows("end"),
            _by_two(Act.HOLDER_END),
            filled=("cause",),
            is_grave=True,
        ),
    )
}


def outcome_of(answer: BaseModel) -> Outcome:
    if isinstance(answer, ApplicationView):
        return Outcome(result="applied", application_id=answer.id)
    if isinstance(answer, ApprovalView):
        return Outcome(result="asked")
    return Outcome(result=answer.result if isinstance(answer, CardResult) else "done")
