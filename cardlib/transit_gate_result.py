"""What a gate says to one tap: state, reason, amounts, and what goes to the centre."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cardlib.transit_rules import Product
from cardlib.transit_takings import TransitRefusal, TransitTap

_WORDS = Path(__file__).with_name("transit_words.toml")


class State(StrEnum):
    """What the gate's display shows; it opens for GO alone."""

    GO = "go"
    SEE_STAFF = "see_staff"
    TAP_AGAIN = "tap_again"
    STOP = "stop"


class Reason(StrEnum):
    """Names in `transit_words.toml`, which says the state and the words of each."""

    PAID = "PAID"
    FREE = "FREE"
    ENTRY = "ENTRY"
    EXIT = "EXIT"
    RECOVERED = "RECOVERED"
    CODE_PAID = "CODE_PAID"
    BALANCE = "BALANCE"
    EXPIRED = "EXPIRED"
    NOT_ACTIVE = "NOT_ACTIVE"
    ISSUER = "ISSUER"
    FOREIGN = "FOREIGN"
    TEST_CARD = "TEST_CARD"
    CLASS = "CLASS"
    BLOCKED = "BLOCKED"
    BLOCKED_CARD = "BLOCKED_CARD"
    NO_PURSE = "NO_PURSE"
    CARD_FAULT = "CARD_FAULT"
    NOT_GENUINE = "NOT_GENUINE"
    RETAP = "RETAP"
    ENTERED = "ENTERED"
    NOT_ENTERED = "NOT_ENTERED"
    OTHER_NETWORK = "OTHER_NETWORK"
    OVERTIME = "OVERTIME"
    UPDATE_PAID = "UPDATE_PAID"
    FARE_UNKNOWN = "FARE_UNKNOWN"
    NOTHING_TO_DO = "NOTHING_TO_DO"
    UPDATED = "UPDATED"
    CODE = "CODE"
    REMOVED = "REMOVED"
    SEVERAL_CARDS = "SEVERAL_CARDS"
    PSAM = "PSAM"
    JOURNAL = "JOURNAL"
    CLOCK = "CLOCK"
    RULES = "RULES"
    BLOCK_LIST = "BLOCK_LIST"
    CLOSED = "CLOSED"


class Words(NamedTuple):
    state: State
    zh: str
    en: str


class TapRecord(NamedTuple):
    """For the journal that goes to the centre: the same key whenever the same thing is told."""

    key: str
    payload: TransitTap | TransitRefusal


@dataclass(frozen=True, slots=True)
class TapResult:
    """`full_fare_fen` is the fare before any discount, `category` the discount that was given. `records` is all that
    was not delivered yet. `is_alarm`: staff should look at the card, or at this terminal's PSAM."""

    reason: Reason
    amount_fen: int | None = None
    full_fare_fen: int | None = None
    balance_fen: int | None = None
    category: Product | None = None
    records: tuple[TapRecord, ...] = ()
    is_alarm: bool = False

    @property
    def state(self) -> State:
        return words()[self.reason].state

    @property
    def words(self) -> tuple[str, str]:
        """Chinese and English; a discount says its own name."""
        if self.state is State.GO and self.category is not None:
            return self.category.zh, self.category.en
        known = words()[self.reason]
        return known.zh, known.en


@cache
def words() -> Mapping[Reason, Words]:
    with _WORDS.open("rb") as file:
        table = tomllib.load(file)
    return {Reason(name): Words(State(row["state"]), row["zh"], row["en"]) for name, row in table.items()}
