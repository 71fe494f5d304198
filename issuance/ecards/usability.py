"""Whether an electronic card can be used now, and for what: its own state, the card's, the region's rules, the account.

The policy is a table (`policy.toml`); nothing else decides.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from issuance.bank.repository import AccountRepository
from issuance.cards.machine import AccountState, CardState
from issuance.cards.models import CardRow
from issuance.ecards.models import EcardRow
from issuance.problems import ProblemError
from issuance.rules import Rules
from issuance.unit import Unit

_FILE: Final = Path(__file__).with_name("policy.toml")
NEEDS_AUTHORISATION: Final = "authorisation_needed"
CANCELLED: Final = "ecard_cancelled"


class Policy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    use: Literal["yes", "never", "authorised"]
    reason: str


@dataclass(frozen=True, slots=True)
class Usability:
    """`reason` is empty when usable. `level` is 2 only while the bank account of the card is active."""

    is_usable: bool
    reason: str
    level: int


@cache
def policies() -> dict[CardState, Policy]:
    given = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {state: Policy.model_validate(given[state.value]) for state in CardState}


def refusal(unit: Unit, ecard: EcardRow, card: CardRow) -> str:
    """Why it cannot be used, as a word; empty when it can."""
    return judge(ecard.state, card.state, lambda: unit.rules(card.region))


def card_refusal(card_state: str) -> str:
    """As `refusal`, of a card itself: nothing its holder authorised for the electronic one makes up for its loss."""
    policy = policies()[CardState(card_state)]
    return "" if policy.use == "yes" else policy.reason


def judge(ecard_state: str, card_state: str, rules: Callable[[], Rules]) -> str:
    """As `refusal`, of states that were read already; `rules` of the card's region are asked for only after a loss."""
    policy = policies()[CardState(card_state)]
    if ecard_state == "cancelled":
        return CANCELLED
    if policy.use == "never":
        return policy.reason
    if policy.use == "yes":
        return "" if ecard_state == "active" else policy.reason
    if rules().ecard_on_loss == "blocked":
        return policy.reason
    return "" if ecard_state == "authorised" else NEEDS_AUTHORISATION


async def usability(unit: Unit, ecard: EcardRow, card: CardRow) -> Usability:
    reason = refusal(unit, ecard, card)
    return Usability(not reason, reason, await level(unit, ecard))


async def level(unit: Unit, ecard: EcardRow) -> int:
    """签发等级 that counts now."""
    if ecard.level == 1:
        return 1
    account = await AccountRepository(unit.session).get(ecard.card_number)
    return 2 if account is not None and account.state == AccountState.ACTIVE else 1


def demand_usable(unit: Unit, ecard: EcardRow, card: CardRow) -> None:
    """Raises ECARD_NOT_USABLE."""
    reason = refusal(unit, ecard, card)
    if reason:
        raise ProblemError("ECARD_NOT_USABLE", reason, subject=f"ecard:{ecard.ecard_no}")


async def demand_payable(unit: Unit, ecard: EcardRow, card: CardRow) -> None:
    """Raises ECARD_NOT_USABLE, and ECARD_LEVEL without level 2 or an active account."""
    demand_usable(unit, ecard, card)
    if await level(unit, ecard) < 2:
        raise ProblemError("ECARD_LEVEL", "payment needs level 2", subject=f"ecard:{ecard.ecard_no}")
