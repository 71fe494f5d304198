"""From the list's answer, its age and the kind of terminal to what is done now (`policy.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from apps_catalog.block_list.errors import BlockListError
from apps_catalog.block_list.lookup import Verdict
from apps_catalog.model import Text

POLICY_FILE: Final = Path(__file__).with_name("policy.toml")
CLOCK_SLACK_S: Final = 300
"""A list from further in the future shows that this clock is slow, so its age is not known."""


class Action(StrEnum):
    """`clerk`: a person decides."""

    ACCEPT = "accept"
    ASK = "ask"
    REFUSE = "refuse"
    CLERK = "clerk"


class Freshness(StrEnum):
    FRESH = "fresh"
    DUE = "due"
    TOO_OLD = "too_old"


@dataclass(frozen=True, slots=True)
class Policy:
    """One kind of terminal; times in seconds."""

    due_after_s: int
    too_old_after_s: int
    can_ask: bool
    suspected: Action
    too_old: Action

    def freshness(self, age_s: float) -> Freshness:
        if age_s > self.too_old_after_s or age_s < -CLOCK_SLACK_S:
            return Freshness.TOO_OLD
        return Freshness.DUE if age_s > self.due_after_s else Freshness.FRESH

    def decide(self, verdict: Verdict, age_s: float, *, online: bool) -> Decision:
        freshness = self.freshness(age_s)
        return Decision(verdict, freshness, self._action(verdict, freshness, can_ask=self.can_ask and online))

    def _action(self, verdict: Verdict, freshness: Freshness, *, can_ask: bool) -> Action:
        """A card the list blocks is refused however old the list is: released cards come back with the next one."""
        if verdict is Verdict.BLOCKED:
            return Action.REFUSE
        if verdict is Verdict.SUSPECTED:
            return Action.ASK if can_ask else self.suspected
        if freshness is Freshness.TOO_OLD:
            return Action.ASK if can_ask else self.too_old
        return Action.ACCEPT


@dataclass(frozen=True, slots=True)
class Decision:
    verdict: Verdict
    freshness: Freshness
    action: Action

    @property
    def texts(self) -> tuple[Text, ...]:
        """For the screen: what the list says, what its age means, what happens now."""
        said = (_VERDICTS[self.verdict], _AGES.get(self.freshness), _ACTIONS[self.action])
        return tuple(text for text in said if text is not None)

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict.value,
            "freshness": self.freshness.value,
            "action": self.action.value,
            "texts": [text.to_json() for text in self.texts],
        }


def policies(path: Path = POLICY_FILE) -> Mapping[str, Policy]:
    """By kind of terminal. Raises BlockListError for a table that misses a line or has one too many."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _policy(table) for name, table in tables.items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError, KeyError, TypeError, ValueError) as exc:
        raise BlockListError(f"{path.name}: {exc}") from exc


def _policy(table: dict[str, Any]) -> Policy:
    wanted = {"due_after", "too_old_after", "can_ask", "suspected", "too_old"}
    if set(table) != wanted:
        raise ValueError(f"a terminal has exactly {', '.join(sorted(wanted))}")
    due, old = table["due_after"], table["too_old_after"]
    if type(due) is not int or type(old) is not int or not 0 < due < old or type(table["can_ask"]) is not bool:
        raise ValueError("0 < due_after < too_old_after in whole seconds, can_ask true or false")
    suspected, too_old = Action(table["suspected"]), Action(table["too_old"])
    if Action.ASK in (suspected, too_old):
        raise ValueError("suspected and too_old say what happens when nobody can be asked")
    return Policy(due, old, table["can_ask"], suspected, too_old)


_VERDICTS: Final = {
    Verdict.CLEAR: Text("不在黑名单中", "Not on the block list"),
    Verdict.BLOCKED: Text("已挂失或注销", "Reported lost, or cancelled"),
    Verdict.SUSPECTED: Text("可能在黑名单中，需核实", "Perhaps on the block list; to be confirmed"),
}
_AGES: Final = {
    Freshness.DUE: Text("黑名单该更新了", "The block list is due for an update"),
    Freshness.TOO_OLD: Text("黑名单太旧，或本机时钟不准", "The block list is too old, or this clock is wrong"),
}
_ACTIONS: Final = {
    Action.ACCEPT: Text("黑名单不拦这张卡", "The block list does not stop this card"),
    Action.ASK: Text("联网核实后再用", "Ask the centre first"),
    Action.REFUSE: Text(
        "不能用卡，请联系发卡地社保服务窗口或拨打12333", "Not accepted; ask the issuing office or call 12333"
    ),
    Action.CLERK: Text("由工作人员核验身份后决定", "A clerk checks the person's identity and decides"),
}
