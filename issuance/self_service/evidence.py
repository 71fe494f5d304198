"""What a kiosk saw of a person, and what that opens (`acts.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from issuance.problems import ProblemError

_FILE: Final = Path(__file__).with_name("acts.toml")


class Kind(StrEnum):
    """In the order in which a person is asked for them."""

    ID_CARD = "id_card"
    CARD = "card"
    CARD_PIN = "card_pin"
    ECARD = "ecard"


class KioskAct(StrEnum):
    LOOK = "look"
    APPLY = "apply"
    ENABLE = "enable"
    LOSE_TEMPORARILY = "lose_temporarily"
    LOSE = "lose"
    RELEASE = "release"
    LIFT = "lift"
    REPLACE_LOST = "replace_lost"
    REPLACE_DAMAGED = "replace_damaged"
    RENEW = "renew"
    PIN_RESET = "pin_reset"
    PIN_UNBLOCK = "pin_unblock"
    REWRITE = "rewrite"
    CODE = "code"


class ActRule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    evidence: tuple[tuple[Kind, ...], ...] = Field(min_length=1)
    text_zh: str
    text_en: str


@cache
def act_rules() -> dict[KioskAct, ActRule]:
    given = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    if set(given) != set(KioskAct):
        raise ValueError(f"acts.toml: {sorted(set(given) ^ set(KioskAct))}")
    return {act: ActRule.model_validate(given[act.value]) for act in KioskAct}


def with_card(shown: Collection[Kind]) -> frozenset[Kind]:
    """Whoever has card and PIN has the card."""
    return frozenset({*shown, *((Kind.CARD,) if Kind.CARD_PIN in shown else ())})


def missing(act: KioskAct, shown: Collection[Kind]) -> list[Kind]:
    """What is still needed: nothing, or the shortest list that would do, the first of equals."""
    seen = with_card(shown)
    ways = ([kind for kind in way if kind not in seen] for way in act_rules()[act].evidence)
    return min(ways, key=len)


def demand(act: KioskAct, shown: Collection[Kind], *, subject: str = "") -> None:
    """Raises EVIDENCE_MISSING."""
    needed = missing(act, shown)
    if needed:
        raise ProblemError("EVIDENCE_MISSING", f"{act} needs {' and '.join(needed)}", subject=subject)
