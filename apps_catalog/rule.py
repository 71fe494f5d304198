"""Who may use an item, as a rule a machine can check. It stands beside the words of `Item.eligibility`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class CardState(StrEnum):
    """State of the social security part of the card (卡应用状态)."""

    SEALED = "sealed"
    NORMAL = "normal"
    LOST = "lost"
    LOCKED = "locked"
    TEMPORARILY_LOST = "temporarily_lost"
    CANCELLED = "cancelled"


class Opened(StrEnum):
    """A function of the card that the holder has to have opened: the account at the bank, the transit purse."""

    BANK = "bank"
    TRANSIT = "transit"


class Category(StrEnum):
    """What a competent department knows about a holder; the catalog only names it."""

    INSURED = "insured"
    PENSIONER = "pensioner"
    JOB_SEEKER = "job_seeker"
    GRADUATE = "graduate"
    TRAINEE = "trainee"
    MIGRANT_WORKER = "migrant_worker"
    INJURED_WORKER = "injured_worker"
    FARMER = "farmer"
    STUDENT = "student"
    ELDERLY = "elderly"
    DISABLED = "disabled"
    BLOOD_DONOR = "blood_donor"
    ASSISTED = "assisted"
    FAMILY_PLANNING = "family_planning"
    HOUSING_FUND = "housing_fund"


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions that must all hold; an empty one asks nothing. One of `categories` is enough.

    Ages are whole years, both ends included. Without `card_states` a card must be normal. `ecard_level` counts when
    the electronic card is presented. `whole`: the rule says all that the item's words say; else the words remain a
    condition that somebody has to judge. Whose cards are honoured is `Item.holders`.
    """

    age_from: int | None = None
    age_to: int | None = None
    card_states: tuple[CardState, ...] = ()
    ecard_level: int | None = None
    categories: tuple[Category, ...] = ()
    opened: tuple[Opened, ...] = ()
    whole: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "age_from": self.age_from,
            "age_to": self.age_to,
            "card_states": values(self.card_states),
            "ecard_level": self.ecard_level,
            "categories": values(self.categories),
            "opened": values(self.opened),
            "whole": self.whole,
        }


def values(members: Iterable[StrEnum]) -> list[str]:
    return [member.value for member in members]
