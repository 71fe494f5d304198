"""What the block list says of one card, and what this kind of terminal does then."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from apps_catalog.block_list import Action, BlockList, Freshness, Kind, Policy, Verdict
from apps_catalog.errors import QueryError
from apps_catalog.question import Words

UNKNOWN: Final = "unknown"
_NO_LIST: Final = {"zh": "本机还没有黑名单", "en": "This terminal has no block list yet"}
_NOT_LISTED: Final = {"zh": "这种卡的号码不会在黑名单里", "en": "Numbers of this form are never on the block list"}

EXAMPLE: Final[dict[str, Any]] = {
    "verdict": "blocked",
    "freshness": "fresh",
    "action": "refuse",
    "texts": [
        {"zh": "已挂失或注销", "en": "Reported lost, or cancelled"},
        {
            "zh": "不能用卡，请联系发卡地社保服务窗口或拨打12333",
            "en": "Not accepted; ask the issuing office or call 12333",
        },
    ],
    "edition": 48,
    "age_s": 130,
}


class BlockView(BaseModel):
    """`unknown`: there is no list here; edition and age are null then. `action` ask: the centre has to be asked."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [EXAMPLE]})

    verdict: Verdict | Literal["unknown"]
    freshness: Freshness
    action: Action
    texts: list[Words]
    edition: int | None
    age_s: int | None


def judge(
    block_list: BlockList | None, policy: Policy, kind: Kind, number: str, *, now: float, online: bool
) -> BlockView:
    """Raises QueryError for a number no list can hold."""
    if block_list is None:
        return _unknown(policy, online=online)
    age_s = now - block_list.as_of
    decision = policy.decide(block_list.look(kind, number), age_s, online=online)
    return BlockView(**decision.to_json(), edition=block_list.edition, age_s=int(age_s))


def judge_card(block_list: BlockList | None, policy: Policy, number: str, *, now: float, online: bool) -> BlockView:
    """For a card that was read: one whose identification code has another form is left to people."""
    try:
        return judge(block_list, policy, Kind.CARD, number, now=now, online=online)
    except QueryError:
        return _unknown(policy, online=online, why=_NOT_LISTED)


def _unknown(policy: Policy, *, online: bool, why: dict[str, str] = _NO_LIST) -> BlockView:
    """No list is as good as one that is too old."""
    decision = policy.decide(Verdict.CLEAR, float("inf"), online=online)
    texts = [Words(**why), Words(**decision.texts[-1].to_json())]
    return BlockView(
        verdict=UNKNOWN, freshness=decision.freshness, action=decision.action, texts=texts, edition=None, age_s=None
    )
