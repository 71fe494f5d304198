"""The state machines of a card as data (`states.toml`): which act leads where, under which guards, for whom."""

from __future__ import annotations

import tomllib
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_FILE = Path(__file__).with_name("states.toml")
BEFORE = "before"


class CardState(StrEnum):
    """卡应用状态 (aaz502)."""

    SEALED = "0"
    NORMAL = "1"
    LOST = "2"
    LOCKED = "3"
    TEMPORARILY_LOST = "4"
    CANCELLED = "9"


class AccountState(StrEnum):
    """The financial side. `inactive`: the account is open, the holder has not activated it at the bank."""

    NONE = "none"
    OPENING = "opening"
    INACTIVE = "inactive"
    ACTIVE = "active"
    LOST = "lost"
    FROZEN = "frozen"
    CLOSED = "closed"


STATE_NAMES = {
    CardState.SEALED: "封存",
    CardState.NORMAL: "正常",
    CardState.LOST: "挂失",
    CardState.LOCKED: "应用锁定",
    CardState.TEMPORARILY_LOST: "临时挂失",
    CardState.CANCELLED: "注销",
}
CITIZEN_STATE_NAMES = STATE_NAMES | {CardState.SEALED: "未启用", CardState.LOCKED: "已锁定"}
"""Without the office's terms."""
STATE_NAMES_EN = {
    CardState.SEALED: "not enabled",
    CardState.NORMAL: "normal",
    CardState.LOST: "reported lost",
    CardState.LOCKED: "locked",
    CardState.TEMPORARILY_LOST: "reported lost for a while",
    CardState.CANCELLED: "cancelled",
}

Actor = Literal["holder", "office", "operator", "bank", "system"]
Side = Literal["social", "financial"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Transition(_Table):
    act: str
    sources: tuple[str, ...] = Field(alias="from", min_length=1)
    target: str = Field(alias="to")
    guards: tuple[str, ...] = ()
    by: tuple[Actor, ...] = Field(min_length=1)
    text_zh: str
    text_en: str


class Coupling(_Table):
    """What an act on the social security side brings with it."""

    financial: str | None = None
    with_loss: bool = False
    ecard: Literal["suspend", "restore", "cancel", "move"] | None = None


class Machines(_Table):
    social: tuple[Transition, ...]
    financial: tuple[Transition, ...]
    coupling: dict[str, Coupling]

    @model_validator(mode="after")
    def _is_whole(self) -> Machines:
        states: dict[Side, set[str]] = {"social": set(CardState), "financial": {*AccountState, BEFORE}}
        for side, known in states.items():
            table = self.of(side)
            if len({t.act for t in table}) != len(table):
                raise ValueError(f"{side}: an act stands twice")
            for transition in table:
                if unknown := {*transition.sources, transition.target} - known:
                    raise ValueError(f"{side}.{transition.act}: no state {min(unknown)}")
        for act, coupling in self.coupling.items():
            self.transition("social", act)
            if coupling.financial is not None:
                self.transition("financial", coupling.financial)
        return self

    def of(self, side: Side) -> tuple[Transition, ...]:
        return self.social if side == "social" else self.financial

    def transition(self, side: Side, act: str) -> Transition:
        """Raises ValueError for an act that the machine does not know."""
        for transition in self.of(side):
            if transition.act == act:
                return transition
        raise ValueError(f"{side} has no act {act}")

    def possible(self, side: Side, state: str, *by: Actor) -> list[Transition]:
        """What may be done from a state by one of these, guards aside."""
        return [t for t in self.of(side) if state in t.sources and not set(by).isdisjoint(t.by)]


@cache
def machines() -> Machines:
    return Machines.model_validate(tomllib.loads(_FILE.read_text(encoding="utf-8")))
