"""What a terminal does with a verdict, by its profile and by the age of its list."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps_catalog.block_list import Action, BlockListError, Freshness, Verdict, policies

DAY_S = 86_400


@pytest.mark.parametrize(
    ("profile", "verdict", "age_s", "online", "action"),
    [
        ("kiosk", Verdict.CLEAR, 0, False, Action.ACCEPT),
        ("kiosk", Verdict.CLEAR, DAY_S + 1, True, Action.ASK),
        ("kiosk", Verdict.CLEAR, DAY_S + 1, False, Action.REFUSE),
        ("kiosk", Verdict.CLEAR, -301, False, Action.REFUSE),
        ("kiosk", Verdict.SUSPECTED, 0, True, Action.ASK),
        ("kiosk", Verdict.SUSPECTED, 0, False, Action.REFUSE),
        ("counter", Verdict.SUSPECTED, 0, False, Action.CLERK),
        ("counter", Verdict.CLEAR, 9 * DAY_S, False, Action.CLERK),
        ("transit", Verdict.CLEAR, 9 * DAY_S, True, Action.ACCEPT),
        ("transit", Verdict.SUSPECTED, 9 * DAY_S, True, Action.REFUSE),
    ],
)
def test_the_shipped_policy(profile: str, verdict: Verdict, age_s: int, online: bool, action: Action) -> None:
    decision = policies()[profile].decide(verdict, age_s, online=online)
    assert decision.action is action
    assert all(text.zh and text.en for text in decision.texts)


@pytest.mark.parametrize("profile", ["kiosk", "counter", "transit"])
def test_a_blocked_card_is_refused_at_any_age(profile: str) -> None:
    policy = policies()[profile]
    for age_s in (-DAY_S, 0, policy.due_after_s + 1, policy.too_old_after_s + 1):
        assert all(
            policy.decide(Verdict.BLOCKED, age_s, online=online).action is Action.REFUSE for online in (True, False)
        )
    assert policy.freshness(policy.due_after_s) is Freshness.FRESH
    assert policy.freshness(policy.due_after_s + 1) is Freshness.DUE
    assert policy.freshness(policy.too_old_after_s) is Freshness.DUE


@pytest.mark.parametrize(
    "line",
    ["due_after = 0", "too_old_after = 5", "can_ask = 1", 'suspected = "ask"', 'too_old = "no"', "more = 1", "x"],
)
def test_a_wrong_policy_is_refused(tmp_path: Path, line: str) -> None:
    good = {"due_after": "10", "too_old_after": "20", "can_ask": "true", "suspected": '"refuse"', "too_old": '"clerk"'}
    path = tmp_path / "policy.toml"
    path.write_text("[kiosk]\n" + "\n".join(f"{key} = {value}" for key, value in good.items()), encoding="utf-8")
    assert set(policies(path)) == {"kiosk"}
    key, _, value = line.partition(" = ")
    good[key] = value
    path.write_text("[kiosk]\n" + "\n".join(f"{key} = {value}" for key, value in good.items()), encoding="utf-8")
    with pytest.raises(BlockListError):
        policies(path)
